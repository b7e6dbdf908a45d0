// A table of any number of rows, of which only those in sight are in the document.
//
//   const table = new Table(container, columns, { rowOf, onSelect, onSort })
//   table.show(keys)      // which rows there are, in this order
//   table.changed(key)    // the row has new values: drawn with the next frame
//
// A column is { name, title, classes, text(row), style?(row), moves?, shade?(row) }. Where `moves` is set, a cell whose
// number has changed flashes and keeps an arrow: the direction can be seen without the colour.

import { eachFrame, make, setText } from "./dom.js";

const AROUND = 4; // rows beyond the edges, so that a short scroll shows no gap
const FLASH_MS = 700;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Table {
  #container;
  #columns;
  #rowOf;
  #onSelect;
  #body;
  #above;
  #below;
  #table;
  #slots = []; // { line, cells, key, row } in the order of the document
  #keys = [];
  #places = new Map();
  #dirty = new Set();
  #moved = true;
  #rowHeight = 33;
  #selected = null;
  #draw = eachFrame(() => this.#render());

  constructor(container, columns, { rowOf, onSelect, onSort }) {
    this.#container = container;
    this.#columns = columns;
    this.#rowOf = rowOf;
    this.#onSelect = onSelect;
    this.#build(onSort);
    container.addEventListener("scroll", () => this.#touch(), { passive: true });
    container.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#touch()).observe(container);
  }

  get selected() {
    return this.#selected;
  }

  show(keys) {
    this.#keys = keys;
    this.#places = new Map(keys.map((key, place) => [key, place]));
    this.#table.setAttribute("aria-rowcount", keys.length + 1);
    this.#touch();
  }

  changed(key) {
    this.#dirty.add(key);
    this.#draw();
  }

  sorted(name, ascending) {
    for (const head of this.#table.tHead.rows[0].cells) {
      if (head.dataset.name === name) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  select(key, { scroll = false } = {}) {
    if (key === undefined || key === this.#selected) return;
    this.#selected = key;
    if (scroll) this.#bring(this.#places.get(key) ?? 0);
    this.#touch();
    this.#onSelect(key);
  }

  #build(onSort) {
    const heads = this.#columns.map(({ name, title, classes = "" }) => {
      const button = make("button", { type: "button", textContent: title });
      button.onclick = () => onSort(name);
      return make("th", { scope: "col", className: classes, data: { name } }, button);
    });
    // One cell: how many columns there are is for the head alone to say, some of which a narrow screen hides
    const space = () => make("tr", { className: "space", aria: { hidden: "true" } }, make("td"));
    this.#above = space();
    this.#below = space();
    this.#body = make("tbody", {}, this.#above, this.#below);
    this.#table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), this.#body);
    this.#table.setAttribute("role", "presentation");
    this.#container.replaceChildren(this.#table);
  }

  #slot() {
    const cells = this.#columns.map(({ classes = "", moves }) =>
      make("td", { className: moves ? `${classes} moves` : classes }),
    );
    for (const cell of cells) cell.setAttribute("role", "gridcell");
    const line = make("tr", { className: "row" }, ...cells);
    line.setAttribute("role", "row");
    const slot = { line, cells, key: null, row: null };
    line.onclick = () => this.select(slot.key);
    return slot;
  }

  #touch() {
    this.#moved = true;
    this.#draw();
  }

  #render() {
    if (this.#moved) this.#place();
    for (const slot of this.#slots) if (slot.key !== null && this.#dirty.has(slot.key)) this.#fill(slot);
    this.#dirty.clear();
  }

  // Give every row in sight a slot; those that keep theirs keep what is drawn
  #place() {
    this.#moved = false;
    const measured = this.#slots[0]?.line.offsetHeight;
    if (measured) this.#rowHeight = measured;
    const height = this.#rowHeight;
    const room = Math.ceil(this.#container.clientHeight / height) + 2 * AROUND;
    const first = Math.max(0, Math.min(Math.floor(this.#container.scrollTop / height) - AROUND, this.#keys.length - room));
    const shown = this.#keys.slice(first, first + room);
    const kept = new Map(this.#slots.map((slot) => [slot.key, slot]));
    const wanted = new Set(shown);
    const free = this.#slots.filter((slot) => !wanted.has(slot.key));
    this.#slots = shown.map((key) => kept.get(key) ?? free.pop() ?? this.#slot());
    for (const slot of free) slot.line.remove();
    let at = this.#above;
    for (const [place, slot] of this.#slots.entries()) {
      if (at.nextSibling !== slot.line) at.after(slot.line);
      at = slot.line;
      if (slot.key !== shown[place]) {
        slot.key = shown[place];
        slot.row = null;
        this.#fill(slot);
      }
      slot.line.setAttribute("aria-rowindex", first + place + 2);
      slot.line.setAttribute("aria-selected", slot.key === this.#selected);
      slot.line.id = `position-${slot.key}`;
    }
    this.#above.cells[0].style.height = `${first * height}px`;
    this.#below.cells[0].style.height = `${Math.max(0, this.#keys.length - first - shown.length) * height}px`;
    if (wanted.has(this.#selected)) this.#container.setAttribute("aria-activedescendant", `position-${this.#selected}`);
    else this.#container.removeAttribute("aria-activedescendant");
  }

  #fill(slot) {
    const row = this.#rowOf(slot.key);
    if (row === undefined) return;
    const before = slot.row;
    slot.row = row;
    for (const [place, column] of this.#columns.entries()) {
      const cell = slot.cells[place];
      const value = row[column.name];
      const old = before?.[column.name];
      if (before !== null && value === old) continue;
      column.fill ? column.fill(cell, row) : setText(cell, column.text(row));
      if (column.style) cell.className = `${column.classes ?? ""} ${column.moves ? "moves" : ""} ${column.style(row)}`;
      if (!column.moves) continue;
      if (before === null || typeof old !== "number" || typeof value !== "number") delete cell.dataset.moved;
      else flash(cell, value > old ? "up" : "down");
    }
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.#container.clientHeight / this.#rowHeight) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined || event.target !== this.#container || !this.#keys.length) return;
    event.preventDefault();
    const place = this.#places.get(this.#selected) ?? (step > 0 ? -1 : this.#keys.length);
    this.select(this.#keys[Math.max(0, Math.min(this.#keys.length - 1, place + step))], { scroll: true });
  }

  #bring(place) {
    const head = this.#table.tHead.offsetHeight;
    const top = place * this.#rowHeight;
    const room = this.#container.clientHeight - head;
    if (top < this.#container.scrollTop) this.#container.scrollTop = top;
    else if (top + this.#rowHeight > this.#container.scrollTop + room) {
      this.#container.scrollTop = top + this.#rowHeight - room;
    }
  }
}

function flash(cell, direction) {
  cell.dataset.moved = direction;
  if (calm.matches) return;
  for (const running of cell.getAnimations()) running.cancel();
  const colour = `color-mix(in srgb, var(--${direction}) 26%, transparent)`;
  // From this colour to what the cell's own is, which a selected row changes
  cell.animate([{ backgroundColor: colour, offset: 0 }], { duration: FLASH_MS, easing: "ease-out" });
}
