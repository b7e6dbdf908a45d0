// The schema's documentation: type by type, and a search over all of it.
import { button, el, empty } from "./dom.js";
import { named, written } from "./schema.js";

const MOST = 60;

export class Docs {
  #schema;
  #path = []; // names of types

  constructor() {
    this.search = el("input", { type: "search", placeholder: "Search types and fields", "aria-label": "Search the schema", oninput: () => this.#draw() });
    this.place = el("div", { class: "docs-body" });
    this.element = el("div", { class: "docs" }, this.search, this.place);
  }

  set schema(schema) {
    this.#schema = schema;
    this.#path = [];
    this.#draw();
  }

  #go(path) {
    this.#path = path;
    this.search.value = "";
    this.#draw();
    this.place.querySelector("button")?.focus();
  }

  #draw() {
    if (!this.#schema) return;
    const wanted = this.search.value.trim().toLowerCase();
    if (wanted) this.place.replaceChildren(...this.#found(wanted));
    else if (this.#path.length === 0) this.place.replaceChildren(...this.#roots());
    else this.place.replaceChildren(this.#crumbs(), ...this.#type(this.#path.at(-1)));
  }

  #roots() {
    const roots = Object.values(this.#schema.roots).filter(Boolean);
    const others = [...this.#schema.types.keys()].filter((name) => !roots.includes(name) && !name.startsWith("__"));
    return [
      el("h4", {}, "Operations"), el("ul", {}, roots.map((name) => el("li", {}, this.#link(name)))),
      el("h4", {}, "Types"), el("ul", {}, others.sort().map((name) => el("li", {}, this.#link(name)))),
    ];
  }

  #link(name, text = name) {
    return button(text, () => this.#go([...this.#path, name]), { class: "link" });
  }

  #crumbs() {
    const steps = this.#path.map((name, index) => [" / ", button(name, () => this.#go(this.#path.slice(0, index + 1)), { class: "link" })]);
    return el("p", { class: "crumbs" }, button("Schema", () => this.#go([]), { class: "link" }), steps.flat());
  }

  #type(name) {
    const type = this.#schema.type(name);
    const values = (type.enumValues ?? []).map((value) => el("li", {}, el("code", {}, value.name), this.#words(value)));
    const fields = this.#schema.fields(name).map((field) => this.#field(field));
    const kind = type.kind.toLowerCase().replaceAll("_", " ");
    return [
      el("h4", {}, el("code", {}, name), " ", el("small", { class: "muted" }, kind)),
      this.#words(type), el("ul", { class: "fields" }, fields, values),
    ];
  }

  #field(field) {
    const args = field.args ?? [];
    return el("li", {}, el("code", {}, field.name), args.length > 0 && el("ul", {}, args.map((arg) => this.#field(arg))),
      ": ", this.#link(named(field.type), written(field.type)), field.defaultValue && ` = ${field.defaultValue}`, this.#words(field));
  }

  #words({ description }) {
    return description ? el("p", { class: "muted words" }, description) : null;
  }

  #found(wanted) {
    const found = [];
    for (const [name, type] of this.#schema.types) {
      if (name.startsWith("__")) continue;
      if (name.toLowerCase().includes(wanted)) found.push(el("li", {}, this.#link(name)));
      for (const { name: field } of [...this.#schema.fields(name), ...(type.enumValues ?? [])]) {
        if (field.toLowerCase().includes(wanted)) found.push(el("li", {}, this.#link(name), `.${field}`));
      }
    }
    if (found.length === 0) return [empty("Nothing found", `No type or field has “${wanted}” in its name.`)];
    const more = found.length > MOST ? el("p", { class: "muted" }, `and ${found.length - MOST} more`) : "";
    return [el("ul", {}, found.slice(0, MOST)), more];
  }
}
