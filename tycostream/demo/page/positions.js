// The grid of positions: all rows of live_pnl, the totals over them, and which one is selected.

import { RowStore } from "/static/lib/rows.js";
import { $, eachFrame, make, setText, sparingly } from "./dom.js";
import * as as from "./format.js";
import { Table } from "./table.js";

const QUERY = `subscription {
  live_pnl {
    operation
    data {
      symbol name net_position average_cost last_price change_percent exposure realized_pnl unrealized_pnl total_pnl
    }
    fields
  }
}`;
const RESORT_MS = 1000; // rows change places this often at most, so that they can be read

const RANKS = { critical: 2, warning: 1 };
const right = "number";

const COLUMNS = [
  { name: "symbol", title: "Symbol", classes: "symbol", text: (row) => row.symbol },
  { name: "name", title: "Name", classes: "name wider", text: (row) => row.name },
  { name: "net_position", title: "Position", classes: `${right} wide`, text: (row) => as.units(row.net_position) },
  { name: "average_cost", title: "Avg cost", classes: `${right} wider`, text: (row) => as.price(row.average_cost) },
  { name: "last_price", title: "Price", classes: right, text: (row) => as.price(row.last_price), moves: true },
  { name: "exposure", title: "Exposure", classes: `${right} wide`, text: (row) => as.money(row.exposure) },
  { name: "total_pnl", title: "P&L", classes: right, text: (row) => as.gain(row.total_pnl), style: (row) => as.sign(row.total_pnl), moves: true },
  { name: "risk_level", title: "Risk", classes: "risk", fill: showLevel },
];

function showLevel(cell, { risk_level: level }) {
  const pill = cell.firstChild ?? cell.appendChild(make("span", { className: "pill" }));
  if (level === undefined) setText(pill, "");
  else {
    pill.dataset.level = level ?? "normal";
    setText(pill, level === null ? "normal" : level);
  }
}

export class Positions {
  rows = new Map(); // symbol -> row, with its risk_level
  #store = new RowStore(["symbol"]);
  #risks;
  #table;
  #sort = { name: "symbol", ascending: true };
  #sums = { total_pnl: 0, unrealized_pnl: 0, exposure: 0 };
  #onRow;
  #anew = false; // the next row is the first of all rows again; until then what was known stays in sight
  #reorder = sparingly(RESORT_MS, () => this.#order());
  #orderSoon = eachFrame(() => this.#order());
  #totals = sparingly(200, () => this.#showTotals());

  constructor(client, risks, { onSelect, onRow, onUpdate }) {
    this.#risks = risks;
    this.#onRow = onRow;
    this.#table = new Table($("positions"), COLUMNS, {
      rowOf: (key) => this.rows.get(key),
      onSelect,
      onSort: (name) => this.#sortBy(name),
    });
    this.#table.sorted("symbol", true);
    risks.exposures = () => Array.from(this.rows.values(), (row) => row.exposure);
    risks.onChange = (symbol, level) => this.#setLevel(symbol, level);
    $("search").oninput = () => this.#orderSoon();
    $("only-risky").onchange = () => this.#orderSoon();
    client.subscribe(QUERY, {}, {
      next: ({ live_pnl: update }) => {
        onUpdate();
        this.#apply(update);
      },
      restart: () => {
        this.#anew = true;
      },
      error: ([{ message }]) => setText($("positions-count"), message),
    });
  }

  get selected() {
    return this.#table.selected;
  }

  #clear() {
    this.#anew = false;
    this.#store.clear();
    this.rows.clear();
    for (const name of Object.keys(this.#sums)) this.#sums[name] = 0;
    this.#orderSoon();
  }

  #apply(update) {
    if (this.#anew) this.#clear();
    const { key, row, before } = this.#store.apply(update);
    for (const name of Object.keys(this.#sums)) this.#sums[name] += (row?.[name] ?? 0) - (before?.[name] ?? 0);
    this.#totals();
    if (row === undefined) {
      this.rows.delete(key);
      this.#orderSoon();
      return;
    }
    this.rows.set(key, { ...row, risk_level: this.#risks.of(key) });
    this.#table.changed(key);
    this.#onRow(key);
    if (before === undefined) this.#orderSoon();
    else if (row[this.#sort.name] !== before[this.#sort.name]) this.#reorder();
  }

  #setLevel(symbol, level) {
    const row = this.rows.get(symbol);
    if (row === undefined || row.risk_level === level) return;
    this.rows.set(symbol, { ...row, risk_level: level });
    this.#table.changed(symbol);
    if ($("only-risky").checked) this.#orderSoon();
    else if (this.#sort.name === "risk_level") this.#reorder();
  }

  #sortBy(name) {
    const again = this.#sort.name === name;
    const upwards = name === "symbol" || name === "name";
    this.#sort = { name, ascending: again ? !this.#sort.ascending : upwards };
    this.#table.sorted(name, this.#sort.ascending);
    this.#order();
  }

  #order() {
    const { name, ascending } = this.#sort;
    const wanted = $("search").value.trim().toLowerCase();
    const risky = $("only-risky").checked;
    const found = [...this.rows.values()].filter(
      (row) =>
        (!wanted || row.symbol.toLowerCase().includes(wanted) || row.name.toLowerCase().includes(wanted)) &&
        (!risky || row.risk_level),
    );
    const value = (row) => (name === "risk_level" ? (RANKS[row.risk_level] ?? 0) : (row[name] ?? -Infinity));
    const direction = ascending ? 1 : -1;
    found.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      return one < other ? -direction : one > other ? direction : a.symbol < b.symbol ? -1 : 1;
    });
    this.#table.show(found.map((row) => row.symbol));
    const all = as.units(this.rows.size);
    setText($("positions-count"), found.length === this.rows.size ? all : `${as.units(found.length)} of ${all}`);
    if (this.selected === null && found.length) this.#table.select(found[0].symbol);
  }

  #showTotals() {
    const { total_pnl: total, unrealized_pnl: unrealized, exposure } = this.#sums;
    for (const [id, amount] of [["total-pnl", total], ["total-unrealized", unrealized]]) {
      setText($(id), as.gain(amount));
      $(id).className = as.sign(amount);
    }
    setText($("total-exposure"), as.money(exposure));
  }
}
