// Whether what is shown is live: the connection of this page, and behind it the service's own to the database.

import { $, setText } from "./dom.js";

const LOOK_MS = 2000;
const WORDS = { live: "Live", connecting: "Connecting", reconnecting: "Reconnecting", stale: "Stale", closed: "Disconnected" };

export class Badge {
  #connection = { state: "connecting", reason: "" };
  #sources = null; // why what is shown may be old

  constructor() {
    setInterval(() => this.#look(), LOOK_MS);
    this.#show();
  }

  connection(told) {
    this.#connection = told;
    if (told.state !== "live") this.#sources = null;
    this.#show();
  }

  async #look() {
    if (this.#connection.state !== "live" || document.visibilityState !== "visible") return;
    try {
      const { sources } = await (await fetch("/health")).json();
      const behind = Object.entries(sources).filter(([, { state }]) => state === "STALE" || state === "FAILED");
      this.#sources = behind.length ? behind.map(([name, { reason }]) => `${name}: ${reason ?? "not followed"}`).join("; ") : null;
    } catch {
      return; // the connection will say so
    }
    this.#show();
  }

  #show() {
    const stale = this.#connection.state === "live" && this.#sources !== null;
    const state = stale ? "stale" : this.#connection.state;
    const badge = $("badge");
    badge.dataset.state = state;
    badge.title = stale ? this.#sources : this.#connection.reason;
    setText(badge, WORDS[state]);
  }
}
