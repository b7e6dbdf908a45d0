// What may stand at a place of a document, by the schema.
import { named, written } from "./schema.js";
import { tokens } from "./tokens.js";

const KEYWORDS = ["query", "mutation", "subscription", "fragment"];
const unwrapList = (reference) => {
  const bare = reference.kind === "NON_NULL" ? reference.ofType : reference;
  return bare.kind === "LIST" ? bare.ofType : bare;
};

// { from, prefix, options: [{ text, detail, description }] } for a cursor's place in the text
export function complete(schema, text, cursor) {
  const before = tokens(text.slice(0, cursor)).filter(({ kind }) => kind !== "space");
  const last = before.at(-1);
  if (last?.kind === "comment" || (last?.kind === "string" && !closed(last.text))) return { from: cursor, prefix: "", options: [] };
  const partial = last && ["name", "variable", "directive"].includes(last.kind) && last.at + last.text.length === cursor;
  const prefix = partial ? before.pop().text : "";
  const variables = [...new Set(tokens(text).filter(({ kind }) => kind === "variable").map((token) => token.text))];
  const words = before.filter(({ kind }) => kind !== "comment");
  const found = prefix.startsWith("@")
    ? [option("@include", "(if: Boolean!)"), option("@skip", "(if: Boolean!)")]
    : options(schema, place(schema, words), variables);
  const like = prefix.toLowerCase();
  const matching = found.filter((one) => one.text.toLowerCase().includes(like) && one.text !== prefix);
  matching.sort((a, b) => Number(b.text.toLowerCase().startsWith(like)) - Number(a.text.toLowerCase().startsWith(like)));
  return { from: cursor - prefix.length, prefix, options: matching };
}

const closed = (text) => (text.startsWith('"""') ? text.length >= 6 && text.endsWith('"""') : text.length > 1 && /[^\\]"$|^""$/.test(text));
const option = (text, detail = "", description = "") => ({ text, detail, description: description ?? "" });

// Where the words lead to: the innermost open bracket, and what is expected in it
function place(schema, words) {
  const stack = [{ kind: "document" }];
  let previous = null;
  for (const { kind, text } of words) {
    const here = stack.at(-1);
    if (kind === "mark" && "{([".includes(text)) stack.push(opened(schema, here, text));
    else if (kind === "mark" && "})]".includes(text)) {
      if (stack.length > 1) closing(stack.pop(), stack.at(-1));
    } else step(schema, here, { kind, text }, previous);
    previous = text;
  }
  return { ...stack.at(-1), previous };
}

function opened(schema, here, bracket) {
  if (here.kind === "document") {
    if (bracket === "(") return { kind: "definitions" };
    return { kind: "selection", type: here.on ?? schema.roots[here.root ?? "query"] };
  }
  if (here.kind === "selection") {
    if (bracket === "(") return { kind: "arguments", args: here.field?.args ?? [] };
    return { kind: "selection", type: here.on ?? (here.field && named(here.field.type)) };
  }
  if (bracket === "[") return { kind: "list", expected: here.expected && unwrapList(here.expected) };
  return { kind: "object", type: here.expected && named(here.expected) };
}

function closing(ended, here) {
  if (here.kind === "document" && ended.kind === "selection") here.root = here.on = undefined;
  else if (here.kind === "selection" && ended.kind === "selection") here.field = here.on = undefined;
  else if (here.kind === "arguments" || here.kind === "object") here.expected = undefined;
}

function step(schema, here, { kind, text }, previous) {
  if (here.kind === "document") {
    if (previous === "on") here.on = text;
    else if (KEYWORDS.includes(text) && here.root === undefined) here.root = text;
  } else if (here.kind === "selection") {
    if (previous === "on" && here.spread) here.on = text;
    else if (text === "...") here.spread = true;
    else if (kind === "name" && text !== "on") {
      here.field = schema.field(here.type, text);
      here.on = undefined;
      here.spread = false;
    }
  } else if (here.kind === "arguments" || here.kind === "object") {
    const known = here.args ?? schema.fields(here.type);
    if (text === ":") here.expected = here.name && known.find((one) => one.name === here.name)?.type;
    else if (here.expected) here.expected = undefined;
    else if (kind === "name") here.name = text;
  }
}

function options(schema, here, variables) {
  if (here.kind === "document") {
    if (here.previous === "on") return typeNames(schema, (type) => type.kind === "OBJECT");
    return here.root === undefined ? KEYWORDS.map((word) => option(word)) : [];
  }
  if (here.kind === "definitions") {
    if (here.previous !== ":" && here.previous !== "[") return [];
    return typeNames(schema, (type) => ["SCALAR", "ENUM", "INPUT_OBJECT"].includes(type.kind));
  }
  if (here.kind === "selection") {
    if (here.previous === "on" && here.spread) return [option(here.type)];
    if (!here.type) return [];
    const fields = schema.fields(here.type).map((field) => option(field.name, written(field.type), field.description));
    return [...fields, option("__typename", "String!", "The name of the type.")];
  }
  if (here.kind === "list" || here.expected) return values(schema, here.expected, variables);
  const known = here.args ?? schema.fields(here.type);
  return known.map((one) => option(one.name, written(one.type), one.description));
}

function values(schema, expected, variables) {
  if (!expected) return [];
  const name = named(expected);
  const type = schema.type(name);
  const known = (type?.enumValues ?? []).map((value) => option(value.name, name, value.description));
  if (name === "Boolean") known.push(option("true", name), option("false", name));
  return [...known, ...variables.map((variable) => option(variable, "variable"))];
}

function typeNames(schema, wanted) {
  const found = [...schema.types.values()].filter((type) => wanted(type) && !type.name.startsWith("__"));
  return found.map((type) => option(type.name, type.kind.toLowerCase().replace("_", " "), type.description));
}
