// Whether what is shown is live: the connection of this page, and behind it the service's own to the database.

import { $, setText } from "./dom.js";

const HAS_STATUS = `{ __type(name: "Subscription") { fields { name } } }`;
const STATUS = `subscription { source_status { source state reason } }`;
const LOOK_MS = 2000;
const BEHIND = new Set(["STALE", "FAILED"]);
const WORDS = { live: "Live", connecting: "Connecting", reconnecting: "Reconnecting", stale: "Stale", closed: "Disconnected" };

export class Badge {
  client = null;
  #following = false;
  #connection = { state: "connecting", reason: "" };
  #behind = new Map(); // source -> why its rows may be old

  constructor() {
    this.#show();
  }

  connection(told) {
    this.#connection = told;
    this.#show();
    if (told.state === "live" && !this.#following) this.#follow();
  }

  // Ask how the sources stand: by subscription where the service has one, or else of /health now and then
  async #follow() {
    this.#following = true;
    let fields;
    try {
      fields = (await this.client.request(HAS_STATUS)).__type.fields;
    } catch {
      this.#following = false; // lost again before the answer came
      return;
    }
    if (fields.some(({ name }) => name === "source_status")) {
      this.client.subscribe(STATUS, {}, {
        next: ({ source_status: { source, state, reason } }) => this.#source(source, state, reason),
        restart: () => this.#behind.clear(),
        error: () => {},
      });
    } else setInterval(() => this.#look(), LOOK_MS);
  }

  #source(name, state, reason) {
    if (BEHIND.has(state)) this.#behind.set(name, `${name}: ${reason ?? "not followed"}`);
    else this.#behind.delete(name);
    this.#show();
  }

  async #look() {
    if (this.#connection.state !== "live" || document.visibilityState !== "visible") return;
    try {
      const { sources } = await (await fetch("/health")).json();
      for (const [name, { state, reason }] of Object.entries(sources)) this.#source(name, state, reason);
    } catch {
      // The connection will say so
    }
  }

  #show() {
    const stale = this.#connection.state === "live" && this.#behind.size > 0;
    const state = stale ? "stale" : this.#connection.state;
    const badge = $("badge");
    badge.dataset.state = state;
    badge.title = stale ? [...this.#behind.values()].join("; ") : this.#connection.reason;
    setText(badge, WORDS[state]);
  }
}
