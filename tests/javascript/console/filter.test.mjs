// Filters as GraphQL, and the order of rows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { FilterError, subscriptionText, whereText } from "../../../tycostream/web/static/console/filter.js";
import { comparator } from "../../../tycostream/web/static/console/order.js";

const operators = (type, values = null) => [
  { name: "_eq", type, list: false, enum: values },
  { name: "_in", type, list: true, enum: values },
  { name: "_is_null", type: "Boolean", list: false, enum: null },
];
const COLUMNS = [
  { name: "id", operators: operators("Int") },
  { name: "price", operators: operators("Float") },
  { name: "symbol", operators: operators("String") },
  { name: "side", operators: operators("side", ["buy", "sell"]) },
];
const is = (column, value, operator = "_eq") => ({ column, operator, value });
const group = (join, ...items) => ({ join, items });
const text = (...given) => whereText(group(...given), COLUMNS);

test("no condition is no filter, in groups within groups too", () => {
  assert.equal(text("and"), "");
  assert.equal(text("none", group("or"), group("and", group("or"))), "");
});

test("values are written as their types are", () => {
  assert.equal(text("and", is("id", " 007 ")), "{id: {_eq: 7}}");
  assert.equal(text("and", is("price", "1e2")), "{price: {_eq: 100}}");
  assert.equal(text("and", is("side", "buy")), "{side: {_eq: buy}}");
  assert.equal(text("and", is("id", "true", "_is_null")), "{id: {_is_null: true}}");
  assert.equal(text("and", is("symbol", ' a"\\\n}')), String.raw`{symbol: {_eq: " a\"\\\n}"}}`, "text is taken as it is");
});

test("lists are typed with commas, or as JSON", () => {
  assert.equal(text("and", is("id", "1, 2 ,3", "_in")), "{id: {_in: [1, 2, 3]}}");
  assert.equal(text("and", is("symbol", '["a, b", "c"]', "_in")), '{symbol: {_in: ["a, b", "c"]}}');
  assert.equal(text("and", is("symbol", " ", "_in")), "{symbol: {_in: []}}");
});

test("columns that differ share one object, others are joined", () => {
  assert.equal(text("and", is("id", "1"), is("side", "buy")), "{id: {_eq: 1}, side: {_eq: buy}}");
  assert.equal(text("and", is("id", "1"), is("id", "2")), "{_and: [{id: {_eq: 1}}, {id: {_eq: 2}}]}");
  assert.equal(text("or", is("id", "1"), is("side", "buy")), "{_or: [{id: {_eq: 1}}, {side: {_eq: buy}}]}");
  assert.equal(text("none", is("id", "1")), "{_not: {id: {_eq: 1}}}");
  assert.equal(text("none", is("id", "1"), is("id", "2")), "{_not: {_or: [{id: {_eq: 1}}, {id: {_eq: 2}}]}}");
  const nested = text("and", is("id", "1"), group("or", is("side", "buy"), group("none", is("side", "sell"))));
  assert.equal(nested, "{_and: [{id: {_eq: 1}}, {_or: [{side: {_eq: buy}}, {_not: {side: {_eq: sell}}}]}]}");
});

for (const [column, value, operator, message] of [
  ["id", "1.5", "_eq", "1.5 is not a whole number"],
  ["id", "", "_eq", "a value is missing"],
  ["id", "1,x", "_in", "x is not a whole number"],
  ["price", "Infinity", "_eq", "Infinity is not a number"],
  ["side", "hold", "_eq", "hold is not one of buy, sell"],
  ["symbol", "[1,", "_in", "a list that begins with [ must be JSON"],
  ["id", "1", "_like", "id has no _like"],
  ["gone", "1", "_eq", "gone has no _eq"],
]) {
  test(`${column} ${operator} ${value} is refused`, () => {
    const condition = is(column, value, operator);
    assert.throws(() => text("or", condition), (error) => error instanceof FilterError && error.message === message && error.condition === condition);
  });
}

test("a subscription selects all columns", () => {
  const source = { name: "trades", columns: COLUMNS };
  assert.match(subscriptionText(source, "{id: {_eq: 1}}"), /trades\(where: {id: {_eq: 1}}\) {[^]*data { id price symbol side }/);
  assert.match(subscriptionText(source, ""), /^subscription {\n {2}trades {/);
});

function sorted(column, descending, ...values) {
  const compare = comparator({ name: "v", ...column }, descending);
  return values.map((v) => ({ v })).sort(compare).map(({ v }) => v);
}

test("rows sort as the database sorts them, NULL above all", () => {
  assert.deepEqual(sorted({ type: "BigInt" }, false, null, "9007199254740993", "9007199254740992", "-10", "9"), ["-10", "9", "9007199254740992", "9007199254740993", null]);
  assert.deepEqual(sorted({ type: "Float" }, true, 2, null, 10, -1), [null, 10, 2, -1]);
  assert.deepEqual(sorted({ type: "Numeric" }, false, "NaN", "10.5", "9.25"), ["9.25", "10.5", "NaN"]);
  assert.deepEqual(sorted({ type: "String" }, false, "b", "B", "a", "é"), ["B", "a", "b", "é"]);
  assert.deepEqual(sorted({ type: "side", enum: ["sell", "buy"] }, false, "buy", "sell"), ["sell", "buy"]);
  assert.deepEqual(sorted({ type: "Boolean" }, true, false, true, null), [null, true, false]);
});
