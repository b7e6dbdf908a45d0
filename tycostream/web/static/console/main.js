// The console: what all views share, and which of them is seen.
import { createClient } from "../lib/client.js";
import { ActorsView } from "./actors.js";
import { $, empty, mood, notice } from "./dom.js";
import { QueryView } from "./query.js";
import { INTROSPECTION, Schema } from "./schema.js";
import { Shortcuts } from "./shortcuts.js";
import { SourcesView } from "./sources.js";
import { Status } from "./status.js";
import { TriggersView } from "./triggers.js";
import { WatchView } from "./watch.js";

const address = (path) => new URL(path, location.href);

class App {
  schema = null;
  graphql = address("graphql");
  socket = Object.assign(address("graphql"), { protocol: location.protocol.replace("http", "ws") });
  #connection = { state: "connecting", reason: "" };
  #shown = null; // the name of the view
  #introspected = ""; // what the schema was made of

  constructor() {
    this.address = address;
    this.status = new Status(this);
    this.client = createClient({ url: this.socket, onState: (told) => this.#connected(told) });
    this.views = {
      sources: new SourcesView(this),
      rows: new WatchView(this),
      graphql: new QueryView(this),
      triggers: new TriggersView(this),
      actors: new ActorsView(this),
    };
    for (const [name, view] of Object.entries(this.views)) $(`view-${name}`).append(view.element);
    this.status.listen(() => this.#badge());
    $("connection").onclick = () => this.client.retry();
    new Shortcuts(this);
    addEventListener("hashchange", () => this.#route());
    this.#route();
  }

  // Go to a view, and to something in it
  go(name, what = "") {
    location.hash = what ? `${name}/${encodeURIComponent(what)}` : name;
  }

  openQuery(query) {
    this.views.graphql.open(query);
    this.go("graphql");
  }

  get view() {
    return this.views[this.#shown];
  }

  // What the debug page tells of all actors or those of a kind; `refused` says why it does not
  async actors(kind = null) {
    const url = address("debug/actors?format=json");
    if (kind) url.searchParams.set("kind", kind);
    try {
      const answer = await fetch(url);
      const told = await answer.json();
      if (answer.ok) return { actors: told.actors, refused: "" };
      return { actors: [], refused: told.errors?.[0]?.message ?? `${answer.status} ${answer.statusText}` };
    } catch {
      return { actors: [], refused: "/debug/actors can't be reached" };
    }
  }

  #route() {
    const [name, what = ""] = location.hash.slice(1).split("/").map(decodeURIComponent);
    const wanted = name in this.views ? name : "sources";
    if (wanted !== this.#shown) this.view?.leave?.();
    const before = this.#shown;
    this.#shown = wanted;
    for (const other of Object.keys(this.views)) {
      $(`view-${other}`).hidden = other !== wanted;
      const link = $(`to-${other}`);
      if (other === wanted) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${$(`to-${wanted}`).textContent} – tycostream`;
    if (before === wanted && wanted === "rows") this.view.leave();
    if (before !== wanted || wanted === "rows") this.view.enter?.(what);
  }

  #connected(told) {
    this.#connection = told;
    this.#badge();
    // After a reconnection it may be another service than before
    if (told.state === "live") this.#introspect();
  }

  async #introspect() {
    try {
      const told = await this.client.request(INTROSPECTION);
      const text = JSON.stringify(told);
      if (text === this.#introspected) return;
      this.#introspected = text;
      this.schema = new Schema(told);
      this.status.begin(this.schema);
      for (const view of Object.values(this.views)) if ("schema" in Object.getPrototypeOf(view)) view.schema = this.schema;
      $("trouble").replaceChildren();
    } catch (error) {
      if (this.#connection.state === "live") $("trouble").replaceChildren(notice("bad", `The schema could not be read: ${error.message}`));
    }
  }

  // What is shown is as old as its oldest part: the connection, or a source that has lost its database
  #badge() {
    const { state, reason } = this.#connection;
    const troubled = state === "live" ? this.status.troubled() : [];
    const shown = troubled.length > 0 ? "stale" : state;
    const words = troubled.length > 0 ? `stale: ${troubled.join(", ")}` : reason && state !== "live" ? `${state}: ${reason}` : state;
    const badge = $("connection");
    if (badge.title === words) return;
    badge.title = words;
    badge.className = `badge ${mood(shown)}`;
    badge.setAttribute("aria-label", `Connection ${words}${state === "live" ? "" : "; press to connect now"}`);
    badge.disabled = state === "live" || state === "connecting";
    $("state").textContent = shown;
    document.body.classList.toggle("old", state !== "live");
    $("closed").replaceChildren(...(state === "closed" ? [empty("Not connected", `${reason}. Press “closed” above to try again.`)] : []));
  }
}

new App();
