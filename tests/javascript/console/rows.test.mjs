// The row store of the pages.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RowStore } from "../../../tycostream/web/static/lib/rows.js";

const insert = (data) => ({ operation: "INSERT", data, fields: Object.keys(data) });

test("an update changes what its fields name, null included, and nothing else", () => {
  const store = new RowStore(["id"]);
  store.apply(insert({ id: 1, symbol: "AAPL", price: 1.5, note: "x" }));
  const kept = store.rows.get("1");
  const update = { operation: "UPDATE", data: { id: 1, symbol: null, price: 2.5, note: null }, fields: ["price", "note"] };
  const change = store.apply(update);
  assert.deepEqual(change.changed, ["price", "note"]);
  assert.deepEqual(store.rows.get("1"), { id: 1, symbol: "AAPL", price: 2.5, note: null });
  assert.deepEqual(kept, { id: 1, symbol: "AAPL", price: 1.5, note: "x" }, "a row that is kept is a moment");
  assert.equal(change.before, kept);
});

test("without fields, null changes nothing", () => {
  const store = new RowStore(["id"]);
  store.apply(insert({ id: 1, symbol: "AAPL", price: 1.5 }));
  store.apply({ operation: "UPDATE", data: { id: 1, symbol: null, price: 3 } });
  assert.deepEqual(store.rows.get("1"), { id: 1, symbol: "AAPL", price: 3 });
});

test("keys of several columns do not run into one another", () => {
  const store = new RowStore(["a", "b"]);
  store.apply(insert({ a: "1,2", b: "3" }));
  store.apply(insert({ a: "1", b: "2,3" }));
  assert.equal(store.size, 2);
  store.apply({ operation: "DELETE", data: { a: "1", b: "2,3" }, fields: ["a", "b"] });
  assert.deepEqual([...store.rows.values()], [{ a: "1,2", b: "3" }]);
});

test("a delete tells what was there", () => {
  const store = new RowStore(["id"]);
  store.apply(insert({ id: 1 }));
  const change = store.apply({ operation: "DELETE", data: { id: 1 }, fields: ["id"] });
  assert.deepEqual([change.row, change.before, store.size], [undefined, { id: 1 }, 0]);
});

test("rows beyond the limit are counted and not held", () => {
  const store = new RowStore(["id"], { limit: 2 });
  for (const id of [1, 2, 3]) store.apply(insert({ id, v: 1 }));
  assert.deepEqual([store.size, store.rows.size], [3, 2]);
  assert.equal(store.apply({ operation: "UPDATE", data: { id: 3, v: 2 }, fields: ["v"] }).row, undefined);
  store.apply({ operation: "DELETE", data: { id: 1, v: null }, fields: ["id", "v"] });
  // Room now, but what is known of row 3 is not the whole of it
  store.apply({ operation: "UPDATE", data: { id: 3, v: 3 }, fields: ["v"] });
  assert.deepEqual([store.size, store.rows.size], [2, 1]);
  store.clear();
  assert.equal(store.size, 0);
});
