// The selected position: its figures, its price since it was selected, and its newest trades.

import { RowStore } from "/static/lib/rows.js";
import { $, eachFrame, make, setText } from "./dom.js";
import * as as from "./format.js";

const QUERY = `subscription ($symbol: String!) {
  trades(where: {symbol: {_eq: $symbol}}) {
    operation
    data { id side quantity price executed_at }
    fields
  }
}`;
const MOST_ROWS = 60;
const MOST_POINTS = 240;
const FIGURES = [
  ["net_position", "Position", as.units],
  ["average_cost", "Average cost", as.price],
  ["last_price", "Price", as.price],
  ["change_percent", "Change", as.percent],
  ["realized_pnl", "Realized", as.gain],
  ["unrealized_pnl", "Unrealized", as.gain],
];

export class Trades {
  #client;
  #rowOf;
  #onUpdate;
  #symbol = null;
  #store = new RowStore(["id"]);
  #points = [];
  #lines = new Map(); // id -> line of the table
  #end = () => {};
  #draw = eachFrame(() => this.#showTrades());
  #drawFigures = eachFrame(() => this.#showFigures());
  #values = new Map();
  #body = make("tbody");

  constructor(client, rowOf, { onUpdate }) {
    this.#client = client;
    this.#rowOf = rowOf;
    this.#onUpdate = onUpdate;
    for (const [name, title] of FIGURES) {
      const value = make("b", { textContent: "–" });
      this.#values.set(name, value);
      $("figures").append(make("div", {}, make("small", { textContent: title }), value));
    }
    const head = (title, className) => make("th", { scope: "col", textContent: title, className });
    const heads = [head("Time", ""), head("Side", ""), head("Quantity", "number"), head("Price", "number"), head("Value", "number wide")];
    $("trades").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), this.#body));
  }

  get symbol() {
    return this.#symbol;
  }

  select(symbol) {
    this.#end();
    this.#symbol = symbol;
    this.#clear();
    this.#points = [];
    this.moved(symbol);
    this.#end = this.#client.subscribe(QUERY, { symbol }, {
      next: ({ trades: update }) => {
        this.#onUpdate();
        this.#store.apply(update);
        this.#draw();
      },
      restart: () => this.#clear(),
      error: ([{ message }]) => setText($("trades-name"), message),
    });
  }

  // The position's row is new
  moved(symbol) {
    const row = symbol === this.#symbol ? this.#rowOf(symbol) : undefined;
    if (row === undefined) return;
    if (row.last_price !== this.#points.at(-1)) this.#points.push(row.last_price);
    if (this.#points.length > MOST_POINTS) this.#points.shift();
    this.#drawFigures();
  }

  #clear() {
    this.#store.clear();
    this.#draw();
  }

  #showTrades() {
    const rows = [...this.#store.rows.values()].sort((a, b) => b.id - a.id).slice(0, MOST_ROWS);
    const wanted = new Set(rows.map((row) => row.id));
    for (const [id, line] of this.#lines) if (!wanted.has(id)) (this.#lines.delete(id), line.remove());
    let at = null;
    for (const row of rows) {
      const line = this.#lines.get(row.id) ?? tradeLine(row);
      this.#lines.set(row.id, line);
      if (at === null ? this.#body.firstChild !== line : at.nextSibling !== line) {
        if (at === null) this.#body.prepend(line);
        else at.after(line);
      }
      at = line;
    }
  }

  #showFigures() {
    const row = this.#rowOf(this.#symbol);
    if (row === undefined) return;
    setText($("trades-name"), `${row.symbol} · ${row.name}`);
    for (const [name, , format] of FIGURES) {
      const value = this.#values.get(name);
      setText(value, format(row[name]));
      if (format === as.gain || format === as.percent) value.className = as.sign(row[name]);
    }
    drawLine(this.#points);
  }
}

function tradeLine({ id, side, quantity, price, executed_at: at }) {
  const cell = (textContent, className = "") => make("td", { textContent, className });
  return make(
    "tr",
    { className: "row", data: { id } },
    cell(as.time(at)),
    cell(side === "buy" ? "↑ buy" : "↓ sell", `side-${side}`),
    cell(as.units(quantity), "number"),
    cell(as.price(price), "number"),
    cell(as.money(quantity * price), "number wide"),
  );
}

function drawLine(points) {
  const [area, line] = $("spark").querySelectorAll("path");
  if (points.length < 2) {
    line.setAttribute("d", "M0 30H300");
    area.setAttribute("d", "");
    return;
  }
  const least = Math.min(...points);
  const span = Math.max(...points) - least || 1;
  const at = (value, place) => `${((place / (points.length - 1)) * 300).toFixed(1)} ${(55 - ((value - least) / span) * 50).toFixed(1)}`;
  const path = `M${points.map(at).join("L")}`;
  line.setAttribute("d", path);
  area.setAttribute("d", `${path}L300 60L0 60Z`);
}
