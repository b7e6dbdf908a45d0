// The view of all sources: how each stands, and what columns it has.
import { count, duration, el, empty, mood, notice, pill, plural, rate } from "./dom.js";
import { sparkline } from "./sparkline.js";

export class SourcesView {
  #app;
  #cards = new Map();
  #ends = [];

  constructor(app) {
    this.#app = app;
    this.note = el("div");
    this.list = el("div", { class: "cards" });
    this.element = el("div", {}, this.note, this.list);
  }

  set schema(schema) {
    this.#cards.clear();
    this.list.replaceChildren();
    for (const source of schema.sources.values()) {
      const card = new Card(source);
      this.#cards.set(source.name, card);
      this.list.append(card.element);
    }
    if (schema.sources.size === 0) this.list.append(empty("No sources", "schema.yaml names no source."));
    this.#draw();
  }

  enter() {
    this.#ends = [this.#app.status.listen(() => this.#draw()), this.#app.status.count()];
  }

  leave() {
    this.#ends.forEach((end) => end());
    this.#ends = [];
  }

  #draw() {
    const { refused, unknown, sources } = this.#app.status;
    const words = [unknown && `States are unknown: ${unknown}.`, refused && `Row counts and rates are not shown: ${refused}.`].filter(Boolean);
    if (this.note.textContent !== words.join("")) this.note.replaceChildren(...words.map((text) => notice("", text)));
    for (const [name, card] of this.#cards) card.show(sources.get(name) ?? {});
  }
}

class Card {
  constructor(source) {
    const { name, description, columns } = source;
    this.state = el("span", { class: "state" });
    this.reason = el("p", { class: "reason", hidden: true });
    this.line = sparkline();
    this.numbers = Object.fromEntries(["Rows", "Changes / s", "Lag", "Subscriptions"].map((label) => [label, el("dd", {}, "–")]));
    this.element = el("article", { class: "panel card", "aria-label": `Source ${name}` },
      el("header", {}, el("h3", {}, name), this.state, el("a", { class: "button", href: `#rows/${encodeURIComponent(name)}` }, "Watch rows")),
      description && el("p", { class: "muted words" }, description), this.reason,
      el("dl", { class: "metrics" }, Object.entries(this.numbers).map(([label, value]) => el("div", {}, el("dt", {}, label), value))),
      this.line.element,
      el("details", { open: columns.length <= 8 }, el("summary", {}, plural(columns.length, "column")), el("ul", { class: "columns" }, columns.map(column))));
  }

  show({ state, reason, since, rows, rate: changes, rates, lag_ms: lag, subscriptions }) {
    const words = state ?? "unknown";
    if (this.state.dataset.state !== words) this.state.replaceChildren(pill(words.toLowerCase(), mood(words)));
    this.state.dataset.state = words;
    this.state.title = since ? `for ${duration(Date.now() / 1000 - since)}` : "";
    this.reason.hidden = !reason;
    this.reason.textContent = reason ?? "";
    const shown = { Rows: count(rows), "Changes / s": rate(changes), Lag: lag === null || lag === undefined ? "–" : `${rate(lag)} ms`, Subscriptions: count(subscriptions) };
    for (const [label, text] of Object.entries(shown)) if (this.numbers[label].textContent !== text) this.numbers[label].textContent = text;
    this.line.show(rates ?? []);
  }
}

function column({ name, type, key, calculated, description, enum: values }) {
  const kind = values ? `${type}: ${values.join(", ")}` : type;
  return el("li", { title: description ?? "" }, el("code", {}, name), el("span", { class: "muted" }, kind), key && pill("key", "good"), calculated && pill("calculated"));
}
