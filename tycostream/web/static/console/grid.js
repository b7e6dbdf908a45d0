// A table of live rows: only those in view are in the page, so that it bears as many as come.
import { RowStore } from "../lib/rows.js";
import { count, el, plural } from "./dom.js";
import { comparator } from "./order.js";
import { isNumber } from "./schema.js";

export const MOST_ROWS = 200_000; // that are held; more are counted
const ROW = 30; // px, as in the style sheet
const AROUND = 12; // rows above and below those in view
const WIDEST = 40; // characters
const SPACE = 5; // characters: a cell's padding, and the arrow of the column that sorts

export function show(value) {
  if (value === null || value === undefined) return "NULL";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

export class Grid {
  #columns;
  #store;
  #order = []; // keys as they are shown
  #stale = true; // #order is to be made anew
  #sort; // { column, descending }, or null
  #lines = new Map(); // key -> the row's <tr> in the page
  #flashes = new Map(); // key -> columns that changed since the last drawing
  #widths = new Map();
  #frame = null;
  #timer = null;
  #sorted = { at: 0, took: 0 };
  #frozen = null; // { order, rows }: what is shown while paused
  #first = null; // the timestamp of the rows that were there at the start
  changes = 0;

  // `name` is what a screen reader calls the table; `onDraw` is called after what is shown has changed
  constructor({ columns, key, name, onDraw = () => {} }) {
    this.#columns = columns;
    this.#store = new RowStore(key, { limit: MOST_ROWS });
    this.#sort = { column: columns.find((column) => column.name === key[0]), descending: false };
    this.onDraw = onDraw;
    this.above = el("tr", { class: "space", "aria-hidden": "true" });
    this.below = el("tr", { class: "space", "aria-hidden": "true" });
    this.body = el("tbody", {}, this.above, this.below);
    this.widths = el("colgroup", {}, columns.map(() => el("col")));
    this.heads = columns.map((column) => this.#head(column));
    this.table = el("table", { class: "grid", "aria-label": name }, this.widths, el("thead", {}, el("tr", {}, this.heads)), this.body);
    this.element = el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": `${name}, rows` }, this.table);
    this.element.addEventListener("scroll", () => this.#later(), { passive: true });
    this.observer = new ResizeObserver(() => this.#later());
    this.observer.observe(this.element);
    columns.forEach((column) => this.#widths.set(column.name, column.name.length + SPACE));
    this.#measure();
    this.#markSort();
  }

  get size() {
    return this.#store.size;
  }

  get paused() {
    return this.#frozen !== null;
  }

  set paused(wanted) {
    if (wanted === this.paused) return;
    this.#flashes.clear();
    this.#frozen = wanted ? { order: this.#order, rows: new Map(this.#store.rows) } : null;
    this.#stale = !wanted;
    this.#later();
  }

  words() {
    const held = this.#store.rows.size;
    return held < this.size ? `${count(held)} of ${plural(this.size, "row")} held` : plural(this.size, "row");
  }

  clear() {
    this.#store.clear();
    this.#flashes.clear();
    this.#first = null;
    this.#changed();
  }

  apply(update) {
    const { operation, key, row, before, changed } = this.#store.apply(update);
    this.#first ??= update.timestamp ?? "";
    // Rows of the first moment were there; what comes later is news
    const news = operation !== "INSERT" || before !== undefined || update.timestamp !== this.#first;
    if (news) this.changes += 1;
    if (news && row && !this.paused) this.#flash(key, changed);
    const moved = (row === undefined) !== (before === undefined) || (this.#sort && changed.includes(this.#sort.column.name));
    if (moved) this.#stale = true;
    if (!this.paused) this.#later();
    else this.onDraw();
  }

  end() {
    this.observer.disconnect();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
  }

  #flash(key, columns) {
    const known = this.#flashes.get(key);
    if (known) columns.forEach((column) => known.add(column));
    else this.#flashes.set(key, new Set(columns));
  }

  #changed() {
    this.#stale = true;
    this.#later();
  }

  #later() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw();
    });
  }

  #head(column) {
    const label = el("span", {}, column.name);
    const sorts = el("button", { type: "button", class: "sorts", title: column.type ?? "", onclick: () => this.#sortBy(column) }, label);
    return el("th", { scope: "col", class: isNumber(column) ? "number" : "", "aria-sort": "none" }, sorts);
  }

  // Rising, falling, then as they came
  #sortBy(column) {
    const now = this.#sort?.column === column ? this.#sort : null;
    this.#sort = now === null ? { column, descending: false } : now.descending ? null : { column, descending: true };
    this.#markSort();
    if (this.#frozen) this.#frozen.order = this.#arrange(this.#frozen.rows);
    this.#sorted.at = 0;
    this.#changed();
  }

  #markSort() {
    this.heads.forEach((head, index) => {
      const by = this.#sort?.column === this.#columns[index];
      head.setAttribute("aria-sort", by ? (this.#sort.descending ? "descending" : "ascending") : "none");
    });
  }

  #arrange(rows) {
    if (!this.#sort) return [...rows.keys()];
    const compare = comparator(this.#sort.column, this.#sort.descending);
    return [...rows].sort(([, left], [, right]) => compare(left, right)).map(([key]) => key);
  }

  // Sorting takes a fifth of the time at most, however many rows there are
  #reorder() {
    const now = performance.now();
    const { at, took } = this.#sorted;
    if (now - at < 4 * took) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#later();
      }, 4 * took);
      return;
    }
    this.#order = this.#arrange(this.#store.rows);
    this.#stale = false;
    this.#sorted = { at: performance.now(), took: performance.now() - now };
  }

  #draw() {
    if (this.#stale && !this.#frozen) this.#reorder();
    const { order, rows } = this.#frozen ?? { order: this.#order, rows: this.#store.rows };
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW) - AROUND);
    const shown = order.slice(first, first + Math.ceil(Math.max(this.element.clientHeight, 600) / ROW) + 2 * AROUND);
    this.table.setAttribute("aria-rowcount", order.length + 1);
    this.above.style.height = `${first * ROW}px`;
    this.below.style.height = `${Math.max(0, order.length - first - shown.length) * ROW}px`;
    const wanted = new Set(shown);
    for (const [key, line] of this.#lines) {
      if (wanted.has(key)) continue;
      line.element.remove();
      this.#lines.delete(key);
    }
    let place = this.above.nextSibling;
    let wider = false;
    shown.forEach((key, index) => {
      const row = rows.get(key);
      if (row === undefined) return; // gone, and the order is made anew later
      const line = this.#lines.get(key) ?? this.#line(key);
      if (line.element === place) place = place.nextSibling;
      else this.body.insertBefore(line.element, place);
      line.element.setAttribute("aria-rowindex", first + index + 2);
      wider = this.#fill(line, row, this.#flashes.get(key)) || wider;
    });
    this.#flashes.clear();
    if (wider) this.#measure();
    this.onDraw();
  }

  #line(key) {
    const cells = this.#columns.map((column) => el("td", { class: isNumber(column) ? "number" : "" }));
    const line = { element: el("tr", {}, cells), cells, row: null };
    this.#lines.set(key, line);
    return line;
  }

  // Whether a column has to be wider
  #fill(line, row, flashes) {
    if (line.row === row) return false;
    let wider = false;
    this.#columns.forEach(({ name }, index) => {
      const value = row[name];
      const cell = line.cells[index];
      if (line.row === null || line.row[name] !== value) {
        const text = show(value);
        cell.textContent = text;
        cell.title = text.length > WIDEST ? text : "";
        cell.classList.toggle("null", value === null || value === undefined);
        if (text.length + SPACE > this.#widths.get(name) && this.#widths.get(name) < WIDEST) {
          this.#widths.set(name, Math.min(text.length + SPACE, WIDEST));
          wider = true;
        }
      }
      // Two names for the same animation: the other one makes it begin again
      if (flashes?.has(name)) {
        const again = cell.classList.contains("flash-a");
        cell.classList.toggle("flash-a", !again);
        cell.classList.toggle("flash-b", again);
      }
    });
    line.row = row;
    return wider;
  }

  #measure() {
    let sum = 0;
    this.#columns.forEach(({ name }, index) => {
      const width = this.#widths.get(name);
      sum += width;
      this.widths.children[index].style.width = `${width}ch`;
    });
    this.table.style.minWidth = `${sum}ch`;
  }
}
