// A text field for GraphQL: its words coloured by a layer behind it, and completion from the schema.
import { el } from "./dom.js";
import { complete } from "./completion.js";
import { tokens } from "./tokens.js";

const KEYWORDS = new Set(["query", "mutation", "subscription", "fragment", "on", "true", "false", "null"]);
const MOST = 60; // suggestions
let numbers = 0;

// GraphQL as coloured text
export function coloured(text) {
  return tokens(text).map(({ kind, text: word }) => {
    if (kind === "space") return word;
    return el("span", { class: `t-${kind === "name" && KEYWORDS.has(word) ? "keyword" : kind}` }, word);
  });
}

export class Editor {
  schema = null;
  #options = [];
  #chosen = 0;
  #from = 0;

  constructor({ value = "", label, onchange = () => {} }) {
    const id = `suggestions-${++numbers}`;
    this.layer = el("pre", { class: "layer", "aria-hidden": "true" });
    this.area = el("textarea", {
      value, spellcheck: false, autocomplete: "off", autocapitalize: "off", wrap: "off", "aria-label": label,
      "aria-autocomplete": "list", "aria-controls": id, "aria-expanded": "false", role: "combobox", "aria-haspopup": "listbox",
      oninput: (event) => {
        this.#paint();
        onchange(this.area.value);
        if (event.inputType === "insertText" && /[\w$@]/.test(event.data ?? "")) this.#suggest(false);
        else if (!this.list.hidden) this.#suggest(false);
      },
      onkeydown: (event) => this.#key(event),
      onscroll: () => this.#follow(),
      onblur: () => this.#close(),
      onclick: () => this.#close(),
    });
    this.list = el("ul", { id, class: "suggestions", role: "listbox", "aria-label": "Suggestions", hidden: true });
    this.element = el("div", { class: "editor" }, this.layer, this.area, this.list);
    this.onchange = onchange;
    this.#paint();
  }

  get value() {
    return this.area.value;
  }

  set value(text) {
    this.area.value = text;
    this.#close();
    this.#paint();
    this.onchange(text);
  }

  #paint() {
    // What follows the last line break has a height of its own in the layer too
    this.layer.replaceChildren(...coloured(this.area.value), "\n");
    this.#follow();
  }

  #follow() {
    this.layer.scrollTop = this.area.scrollTop;
    this.layer.scrollLeft = this.area.scrollLeft;
  }

  #key(event) {
    const open = !this.list.hidden;
    const act = (what) => {
      event.preventDefault();
      event.stopPropagation();
      what();
    };
    if (event.key === " " && event.ctrlKey) act(() => this.#suggest(true));
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (open && event.key === "ArrowDown") act(() => this.#choose(this.#chosen + 1));
    else if (open && event.key === "ArrowUp") act(() => this.#choose(this.#chosen - 1));
    else if (open && (event.key === "Enter" || event.key === "Tab")) act(() => this.#accept(this.#options[this.#chosen]));
    else if (open && event.key === "Escape") act(() => this.#close());
    else if (event.key === "Enter" && !event.shiftKey) act(() => this.#newline());
  }

  // As far in as the line before, and further behind an open bracket
  #newline() {
    const { value, selectionStart: at } = this.area;
    const line = value.slice(value.lastIndexOf("\n", at - 1) + 1, at);
    const indent = /^ */.exec(line)[0];
    const deeper = /[{([]\s*$/.test(line);
    const closes = deeper && /^\s*[})\]]/.test(value.slice(at));
    this.#insert(`\n${indent}${deeper ? "  " : ""}`);
    if (!closes) return;
    const here = this.area.selectionStart;
    this.#insert(`\n${indent}`);
    this.area.setSelectionRange(here, here);
  }

  // As if it were typed, so that it can be undone
  #insert(text) {
    if (!document.execCommand("insertText", false, text)) {
      this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
      this.area.dispatchEvent(new Event("input"));
    }
  }

  #suggest(asked) {
    if (!this.schema || this.area.selectionStart !== this.area.selectionEnd) return this.#close();
    const { from, prefix, options } = complete(this.schema, this.area.value, this.area.selectionStart);
    if (options.length === 0 || (!asked && prefix === "")) return this.#close();
    this.#options = options.slice(0, MOST);
    this.#from = from;
    this.list.replaceChildren(...this.#options.map((one, index) => this.#option(one, index)));
    this.list.hidden = false;
    this.area.setAttribute("aria-expanded", "true");
    this.#position();
    this.#choose(0);
  }

  #option(one, index) {
    return el("li", {
      id: `${this.list.id}-${index}`, role: "option", title: one.description,
      onmousedown: (event) => {
        event.preventDefault();
        this.#accept(one);
      },
    }, el("span", {}, one.text), el("span", { class: "muted" }, one.detail));
  }

  #choose(index) {
    const count = this.#options.length;
    this.#chosen = (index + count) % count;
    [...this.list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === this.#chosen)));
    const chosen = this.list.children[this.#chosen];
    this.area.setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  }

  #accept({ text }) {
    this.area.setSelectionRange(this.#from, this.area.selectionStart);
    this.#close();
    this.#insert(text);
    this.#close();
  }

  #close() {
    this.list.hidden = true;
    this.area.setAttribute("aria-expanded", "false");
    this.area.removeAttribute("aria-activedescendant");
  }

  // Under the word that is written: all letters have the same width, and lines are not broken
  #position() {
    const before = this.area.value.slice(0, this.#from).split("\n");
    const style = getComputedStyle(this.area);
    const canvas = (Editor.canvas ??= document.createElement("canvas").getContext("2d"));
    canvas.font = `${style.fontSize} ${style.fontFamily}`;
    const left = parseFloat(style.paddingLeft) + before.at(-1).length * canvas.measureText("m").width - this.area.scrollLeft;
    const top = parseFloat(style.paddingTop) + before.length * parseFloat(style.lineHeight) - this.area.scrollTop;
    const most = this.element.clientWidth - this.list.offsetWidth - 8;
    this.list.style.left = `${Math.max(8, Math.min(left, most))}px`;
    this.list.style.top = `${Math.min(top, this.element.clientHeight)}px`;
  }
}
