// The rows of one subscription, as its updates tell them.
//
//   const store = new RowStore(["id"], { limit: 100_000 });   // the columns of the key, which `data` must select
//   const change = store.apply({ operation, data, fields });  // one update of tycostream
//   store.rows                                                // Map: key as text -> row; in the order of arrival
//   store.size                                                // of all rows, also those that were beyond the limit
//   store.clear()                                             // before a subscription starts again
//
// `apply` returns { operation, key, row, before, changed }: `changed` names the columns whose values are new (of an
// INSERT all), `row` is undefined after a DELETE and `before` where there was no row. Rows are never written to: a
// change makes a new object, so whoever keeps one keeps a moment. Rows beyond `limit` are counted and not held; then
// `row` is undefined too.

export function keyOf(columns, data) {
  return columns.length === 1 ? String(data[columns[0]]) : JSON.stringify(columns.map((column) => data[column]));
}

export class RowStore {
  rows = new Map();
  #key;
  #limit;
  #beyond = new Set();

  constructor(key, { limit = Infinity } = {}) {
    this.#key = key;
    this.#limit = limit;
  }

  get size() {
    return this.rows.size + this.#beyond.size;
  }

  clear() {
    this.rows.clear();
    this.#beyond.clear();
  }

  apply({ operation, data, fields }) {
    const key = keyOf(this.#key, data);
    const before = this.rows.get(key);
    if (operation === "DELETE") {
      this.rows.delete(key);
      this.#beyond.delete(key);
      return { operation, key, row: undefined, before, changed: [] };
    }
    if (before === undefined) {
      if (this.#beyond.has(key) || this.rows.size >= this.#limit) {
        this.#beyond.add(key);
        return { operation, key, row: undefined, before, changed: [] };
      }
      const row = { ...data };
      this.rows.set(key, row);
      return { operation, key, row, before, changed: Object.keys(row) };
    }
    const row = { ...before };
    const changed = [];
    for (const [column, value] of Object.entries(data)) {
      // An UPDATE shows what did not change as null. `fields` tells the two apart; without it, null changes nothing
      const told = operation === "INSERT" || (fields ? fields.includes(column) : value !== null);
      if (told && row[column] !== value) {
        row[column] = value;
        changed.push(column);
      }
    }
    this.rows.set(key, row);
    return { operation, key, row, before, changed };
  }
}
