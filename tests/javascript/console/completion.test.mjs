// Completion by the service's own schema, which the environment variable INTROSPECTION names.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { complete } from "../../../tycostream/web/static/console/completion.js";
import { Schema } from "../../../tycostream/web/static/console/schema.js";
import { operations, tokens } from "../../../tycostream/web/static/console/tokens.js";

const schema = new Schema(JSON.parse(readFileSync(process.env.INTROSPECTION, "utf8")));

// What is offered where the text has a |
function offered(text) {
  const at = text.indexOf("|");
  return complete(schema, text.replace("|", ""), at).options.map((one) => one.text);
}

test("the schema's sources have their columns, types and keys", () => {
  const { columns, key, description } = schema.sources.get("trades");
  assert.deepEqual([...schema.sources.keys()], ["trades"]);
  assert.deepEqual(key, ["id"]);
  assert.equal(description, null);
  assert.deepEqual(columns.map(({ name, type }) => [name, type]), [["id", "Int"], ["symbol", "String"], ["price", "Float"]]);
  assert.ok(columns[0].operators.find(({ name, list, type }) => name === "_in" && list && type === "Int"));
  assert.equal(schema.tellsStatus, schema.field("Subscription", "source_status") !== undefined);
});

for (const [text, all] of [
  ["|", ["query", "mutation", "subscription", "fragment"]],
  ["qu|", ["query"]],
  ["subscription { trades { data { | } } }", ["id", "symbol", "price", "__typename"]],
  ["subscription { trades { data { sy| } } }", ["symbol"]],
  ["subscription { trades { data { id sy| } fields } }", ["symbol"]],
  ["subscription S { x: trades { data { id } op| } }", ["operation"]],
  ["{ trades(wh|) { id } }", ["where"]],
  ["{ trades(where: {|}) { id } }", ["id", "symbol", "price", "_and", "_or", "_not"]],
  ["{ trades(where: {id: {_eq: 1}, pr|}) { id } }", ["price"]],
  ["{ trades(where: {_or: [{pri|}]}) { id } }", ["price"]],
  ["{ trades(where: {id: {_is_null: |}}) { id } }", ["true", "false"]],
  ["{ trades(order_by: [{id: asc_n|}]) { id } }", ["asc_nulls_first", "asc_nulls_last"]],
  ["query ($m: Int) { trades(limit: $|) { id } }", ["$m"]],
  ["query ($m: In|) { trades { id } }", ["Int"], "some"],
  ["{ trades { ...F } } fragment F on trades { pr| }", ["price"]],
  ["{ trades { id @in| } }", ["@include"]],
  ["{ a: trades(limit: 1) { id } trades_by_pk(i|) { id } }", ["id"]],
  ["{ trades # sy|\n }", []],
  ['{ trades(where: {symbol: {_eq: "i|"}}) { id } }', []],
  ["{ unknown { | } }", []],
]) {
  test(`at ${text}`, () => {
    const found = offered(text);
    if (text.includes("($m: In|")) assert.ok(found.includes("Int") && found.includes("IntComparison"), found.join());
    else assert.deepEqual(found, all);
  });
}

test("what begins like it comes before what has it inside", () => {
  const found = offered("mutation { t| }");
  const inside = found.findIndex((name) => !name.startsWith("t"));
  assert.ok(inside > 0 && found.slice(inside).every((name) => !name.startsWith("t")), found.join());
});

test("all of a text is in its tokens, whatever it is", () => {
  for (const text of ['{ a(b: "c', '"""x\n""" é \u{1F600} $ @ -1.5e3 ...on', "\\ # comment"]) {
    assert.equal(tokens(text).map((token) => token.text).join(""), text);
  }
});

test("operations and their first fields are found", () => {
  assert.deepEqual(operations("{ a { b } }"), [{ kind: "query", name: "", field: "a", key: "a" }]);
  const text = `fragment F on T { x } subscription S($v: I = {a: 1}) @d(x: {y: 1}) { k: trades(where: {a: {b: 1}}) { id } }
    # query No { z }
    mutation M { n }`;
  assert.deepEqual(operations(text), [
    { kind: "subscription", name: "S", field: "trades", key: "k" },
    { kind: "mutation", name: "M", field: "n", key: "n" },
  ]);
});
