// The view of a source's rows as they change, with a filter that says the GraphQL it is.
import { button, count, el, empty, mood, notice, pill, rate, select } from "./dom.js";
import { coloured } from "./editor.js";
import { subscriptionText } from "./filter.js";
import { FilterForm } from "./filter_form.js";
import { Grid } from "./grid.js";

export class WatchView {
  #app;
  #schema = null;
  #source = null;
  #form = null;
  #grid = null;
  #unsubscribe = null;
  #ends = [];
  #query = "";
  #before = { at: 0, changes: 0 };
  #rate = null;

  constructor(app) {
    this.#app = app;
    this.pick = el("div");
    this.state = el("span");
    this.pause = button("Pause", () => this.togglePause(), { "aria-pressed": "false", title: "p" });
    this.counts = el("span", { class: "muted numbers", role: "status" });
    this.trouble = el("div");
    this.filter = el("div");
    this.text = el("pre", { class: "code", tabIndex: 0, "aria-label": "The GraphQL of this filter" });
    this.rows = el("div", { class: "rows" });
    this.element = el("div", { class: "watch" },
      el("div", { class: "bar standing" }, this.pick, this.state, this.pause, this.counts),
      el("details", { class: "panel", open: true }, el("summary", {}, "Filter"), el("div", { class: "filtering" }, this.filter,
        el("div", { class: "made" }, this.text, button("Open in the editor", () => app.openQuery(this.#query), { class: "quiet" })))),
      this.trouble, this.rows);
  }

  set schema(schema) {
    this.#schema = schema;
    if (this.#source && schema.sources.has(this.#source.name)) return;
    this.#source = null;
    this.#choose();
  }

  // `name` is of the source to show
  enter(name) {
    this.#ends = [this.#app.status.listen(() => this.#standing())];
    const timer = setInterval(() => this.#measure(), 1000);
    this.#ends.push(() => clearInterval(timer));
    this.wanted = name || this.wanted;
    this.#choose();
  }

  leave() {
    this.#ends.forEach((end) => end());
    this.#ends = [];
    this.#end();
    this.#source = null;
  }

  togglePause() {
    if (!this.#grid) return;
    this.#grid.paused = !this.#grid.paused;
    this.pause.textContent = this.#grid.paused ? "Resume" : "Pause";
    this.pause.setAttribute("aria-pressed", String(this.#grid.paused));
  }

  #choose() {
    if (!this.#schema || this.#ends.length === 0) return;
    const names = [...this.#schema.sources.keys()];
    if (names.length === 0) {
      this.rows.replaceChildren(empty("No sources", "schema.yaml names no source."));
      return;
    }
    const name = names.includes(this.wanted) ? this.wanted : names[0];
    if (this.#source?.name === name) return;
    this.#source = this.#schema.sources.get(name);
    this.pick.replaceChildren(select(names, name, (chosen) => this.#app.go("rows", chosen), { "aria-label": "Source" }));
    this.#form = new FilterForm({ columns: this.#source.columns, name: `Filter of ${name}`, onChange: (where) => this.#follow(where) });
    this.filter.replaceChildren(this.#form.element);
    this.#standing();
    this.#follow("");
  }

  #follow(where) {
    const query = subscriptionText(this.#source, where);
    if (query === this.#query && this.#unsubscribe) return;
    this.#end();
    this.#query = query;
    this.text.replaceChildren(...coloured(query));
    this.trouble.replaceChildren();
    const { name, key, columns } = this.#source;
    const grid = new Grid({ columns, key, name, onDraw: () => this.#words() });
    this.#grid = grid;
    this.rows.replaceChildren(grid.element);
    this.pause.textContent = "Pause";
    this.pause.setAttribute("aria-pressed", "false");
    this.#before = { at: performance.now(), changes: 0 };
    this.#rate = null;
    this.#words();
    this.#unsubscribe = this.#app.client.subscribe(query, {}, {
      next: (data) => grid.apply(data[name]),
      restart: () => grid.clear(),
      error: (errors) => this.#ended(errors.map((error) => error.message)),
      complete: () => this.#ended(["The service ended this subscription."]),
    });
  }

  #ended(messages) {
    this.#unsubscribe = null;
    const again = button("Try again", () => this.#follow(this.#form.where() ?? ""));
    this.trouble.replaceChildren(...messages.map((message) => notice("bad", message)), again);
  }

  #end() {
    this.#unsubscribe?.();
    this.#grid?.end();
    this.#unsubscribe = this.#grid = null;
  }

  #standing() {
    if (!this.#source) return;
    const { state, reason } = this.#app.status.sources.get(this.#source.name) ?? {};
    const words = `${state} ${reason}`;
    if (this.state.dataset.words === words) return;
    this.state.dataset.words = words;
    this.state.replaceChildren(pill((state ?? "unknown").toLowerCase(), mood(state)), reason ? ` ${reason}` : "");
  }

  #measure() {
    if (!this.#grid) return;
    const now = performance.now();
    const { at, changes } = this.#before;
    this.#rate = ((this.#grid.changes - changes) * 1000) / (now - at);
    this.#before = { at: now, changes: this.#grid.changes };
    this.#words();
  }

  #words() {
    if (!this.#grid) return;
    const speed = this.#rate === null ? "" : `, ${rate(this.#rate)} / s`;
    const paused = this.#grid.paused ? " – paused, still counting" : "";
    this.counts.textContent = `${this.#grid.words()}, ${count(this.#grid.changes)} changes${speed}${paused}`;
  }
}
