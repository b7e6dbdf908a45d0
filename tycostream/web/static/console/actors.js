// The view of actors: who runs below whom, and what the chosen one knows.
import { button, count, duration, el, empty, every, mood, notice, pill, plural, rate } from "./dom.js";

const POLL_MS = 1_000;
const MOST = 100; // of one kind
const ORDER = ["supervisor", "feed", "source", "triggers", "trigger", "connection"];

const place = (kind) => (ORDER.includes(kind) ? ORDER.indexOf(kind) : ORDER.length);

export class ActorsView {
  #app;
  #end = null;
  #chosen = null; // a key
  #lines = new Map(); // key -> { row, cells, open }
  #kinds = new Map(); // kind -> { row, words }
  #before = new Map();

  constructor(app) {
    this.#app = app;
    this.note = el("div");
    const heads = ["Actor", "State", "Up", "Restarts", "Inbox", "Handled", "/ s"];
    this.body = el("tbody");
    this.table = el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Actors" }, el("table", { class: "list tree" },
      el("thead", {}, el("tr", {}, heads.map((text, index) => el("th", { scope: "col", class: index > 1 ? "number" : "" }, text)))), this.body));
    this.detail = el("section", { class: "panel detail", "aria-label": "What the actor knows" });
    this.element = el("div", { class: "actors" }, this.note, el("div", { class: "split" }, this.table, this.detail));
    this.#describe(null);
  }

  enter() {
    this.#end = every(POLL_MS, () => this.#poll());
  }

  leave() {
    this.#end?.();
  }

  async #poll() {
    const { actors, refused } = await this.#app.actors();
    this.element.lastChild.hidden = Boolean(refused);
    if (refused) {
      this.note.replaceChildren(empty("The actors are not shown", `The service says: ${refused}`));
      return;
    }
    this.note.replaceChildren();
    this.#draw(actors);
  }

  #draw(actors) {
    const kinds = new Map();
    for (const actor of actors) kinds.set(actor.kind, [...(kinds.get(actor.kind) ?? []), actor]);
    const wanted = [];
    const present = new Set();
    for (const [kind, those] of [...kinds].sort(([a], [b]) => place(a) - place(b))) {
      if (kind !== "supervisor") wanted.push(this.#kind(kind, those.length));
      for (const actor of those.slice(0, MOST)) {
        const key = `${actor.kind} ${actor.name}`;
        present.add(key);
        wanted.push(this.#line(key, actor));
        if (key === this.#chosen) this.#describe(actor);
      }
    }
    for (const key of this.#lines.keys()) if (!present.has(key)) this.#lines.delete(key);
    // Moves only what is not in its place, so that what has the focus keeps it
    wanted.forEach((row, index) => {
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
    });
    while (this.body.childElementCount > wanted.length) this.body.lastChild.remove();
  }

  #kind(kind, many) {
    if (!this.#kinds.has(kind)) {
      const words = el("th", { colSpan: 7, scope: "colgroup" });
      this.#kinds.set(kind, { row: el("tr", { class: "kind" }, words), words });
    }
    const { row, words } = this.#kinds.get(kind);
    const text = `${kind === "triggers" ? "triggers" : plural(many, kind)}${many > MOST ? `, the first ${MOST}` : ""}`;
    if (words.textContent !== text) words.textContent = text;
    return row;
  }

  #line(key, actor) {
    if (!this.#lines.has(key)) {
      const open = button(actor.name, () => {
        this.#chosen = key;
        this.#describe(this.#lines.get(key).actor);
        this.#mark();
        if (!matchMedia("(min-width: 48rem)").matches) this.detail.scrollIntoView({ block: "nearest" });
      }, { class: "link" });
      const cells = Array.from({ length: 6 }, (_, index) => el("td", { class: index > 0 ? "number" : "" }));
      this.#lines.set(key, { row: el("tr", { class: actor.parent ? "child" : "" }, el("td", {}, open), cells), cells, open });
    }
    const line = this.#lines.get(key);
    line.actor = actor;
    const now = performance.now();
    const before = this.#before.get(key);
    const speed = before && actor.messages_handled >= before.handled ? ((actor.messages_handled - before.handled) * 1000) / (now - before.at) : null;
    this.#before.set(key, { at: now, handled: actor.messages_handled });
    if (line.state !== actor.state) line.cells[0].replaceChildren(pill(actor.state, mood(actor.state)));
    line.state = actor.state;
    const words = [duration(actor.uptime_seconds), count(actor.restarts), count(actor.inbox_depth), count(actor.messages_handled), rate(speed)];
    words.forEach((text, index) => (line.cells[index + 1].textContent = text));
    return line.row;
  }

  #mark() {
    for (const [key, { row, open }] of this.#lines) {
      row.classList.toggle("chosen", key === this.#chosen);
      if (key === this.#chosen) open.setAttribute("aria-current", "true");
      else open.removeAttribute("aria-current");
    }
  }

  #describe(actor) {
    if (!actor) {
      this.detail.replaceChildren(empty("Nothing chosen", "Choose an actor to see what it knows."));
      return;
    }
    const json = JSON.stringify(actor.details, null, 2);
    const shown = JSON.stringify([actor.kind, actor.name, actor.last_error, json]);
    if (this.shown === shown) return;
    this.shown = shown;
    this.detail.replaceChildren(el("h3", {}, `${actor.kind} ${actor.name === actor.kind ? "" : actor.name}`),
      actor.last_error ? notice("bad", actor.last_error) : "", el("pre", { class: "json" }, json));
  }
}
