// Alerts: the rows that the demonstration's webhook has written, the newest first.

import { RowStore } from "/static/lib/rows.js";
import { $, eachFrame, make, setText } from "./dom.js";
import * as as from "./format.js";

const QUERY = `subscription {
  alerts {
    operation
    data { id kind trigger_name symbol detail received_at }
    fields
  }
}`;
const MOST = 40;

export class Alerts {
  #store = new RowStore(["id"]);
  #draw = eachFrame(() => this.#show());
  #items = new Map();

  constructor(client, { onAlert, onUpdate }) {
    client.subscribe(QUERY, {}, {
      next: ({ alerts: update }) => {
        onUpdate();
        this.#store.apply(update);
        this.#draw();
        onAlert();
      },
      restart: () => {
        this.#store.clear();
        this.#draw();
      },
      error: ([{ message }]) => setText($("alerts-count"), message),
    });
    this.#show();
  }

  #show() {
    const newest = [...this.#store.rows.values()].sort((a, b) => b.id - a.id).slice(0, MOST);
    const wanted = new Set(newest.map(({ id }) => id));
    for (const [id, item] of this.#items) if (!wanted.has(id)) (this.#items.delete(id), item.remove());
    for (const alert of newest.reverse()) {
      if (this.#items.has(alert.id)) continue;
      const item = alertItem(alert);
      this.#items.set(alert.id, item);
      $("alerts").prepend(item);
    }
    setText($("alerts-count"), this.#store.size ? as.units(this.#store.size) : "");
    const empty = $("alerts").querySelector(".empty");
    if (newest.length) empty?.remove();
    else if (!empty) $("alerts").append(make("li", { className: "empty", textContent: "Nothing has happened yet." }));
  }
}

function alertItem({ id, kind, trigger_name: name, symbol, detail, received_at: at }) {
  const values = Object.entries(JSON.parse(detail)).filter(([column]) => column !== "symbol");
  const words = values.map(([, value]) => (typeof value === "number" ? as.number(value) : value));
  return make(
    "li",
    { data: { id, trigger: name } },
    make("time", { textContent: as.time(at) }),
    make("b", { textContent: symbol ?? "example" }),
    make("span", { className: "kind", textContent: kind.toLowerCase(), data: { kind } }),
    make("small", { textContent: `${name}, now ${words.join(", ")}` }),
  );
}
