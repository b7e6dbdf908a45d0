// Filters as the page's forms hold them, and the GraphQL that they are.
//
// A filter is a group { join: "and" | "or" | "none", items }; an item is a group or a condition { column, operator,
// value }, its value as it was typed. A group without items is no condition.

export const emptyFilter = () => ({ join: "and", items: [] });

export class FilterError extends Error {
  constructor(condition, message) {
    super(message);
    this.condition = condition;
  }
}

// The filter as the value of a `where` argument; "" where it admits everything. Throws a FilterError
export function whereText(group, columns) {
  const items = group.items.map((item) => (item.items ? whereText(item, columns) : conditionText(item, columns)));
  const told = items.filter((item) => item !== "");
  if (told.length === 0) return "";
  if (group.join === "none") return `{_not: ${told.length === 1 ? told[0] : `{_or: [${told.join(", ")}]}`}}`;
  if (told.length === 1) return told[0];
  if (group.join === "or") return `{_or: [${told.join(", ")}]}`;
  const names = group.items.map((item) => (item.items ? null : item.column));
  const distinct = new Set(names).size === names.length && !names.includes(null);
  return distinct ? `{${told.map((item) => item.slice(1, -1)).join(", ")}}` : `{_and: [${told.join(", ")}]}`;
}

function conditionText(condition, columns) {
  const column = columns.find(({ name }) => name === condition.column);
  const operator = column?.operators.find(({ name }) => name === condition.operator);
  if (!operator) throw new FilterError(condition, `${condition.column} has no ${condition.operator}`);
  const literal = operator.list ? list(condition, operator) : scalar(condition, operator, condition.value);
  return `{${column.name}: {${operator.name}: ${literal}}}`;
}

function list(condition, operator) {
  const text = condition.value.trim();
  if (text === "") return "[]";
  return `[${split(condition, text).map((item) => scalar(condition, operator, item)).join(", ")}]`;
}

// Texts with commas in them can be given as a JSON list
function split(condition, text) {
  if (!text.startsWith("[")) return text.split(",").map((item) => item.trim());
  try {
    return JSON.parse(text).map(String);
  } catch {
    throw new FilterError(condition, "a list that begins with [ must be JSON");
  }
}

function scalar(condition, operator, text) {
  const trimmed = text.trim();
  const refuse = (wanted) => {
    throw new FilterError(condition, trimmed === "" ? "a value is missing" : `${trimmed} is not ${wanted}`);
  };
  if (operator.enum) return operator.enum.includes(trimmed) ? trimmed : refuse(`one of ${operator.enum.join(", ")}`);
  switch (operator.type) {
    case "Boolean":
      return trimmed === "true" || trimmed === "false" ? trimmed : refuse("true or false");
    case "Int":
      return /^-?\d+$/.test(trimmed) ? String(BigInt(trimmed)) : refuse("a whole number");
    case "Float":
      return trimmed !== "" && Number.isFinite(Number(trimmed)) ? String(Number(trimmed)) : refuse("a number");
    default:
      return JSON.stringify(text);
  }
}

export function subscriptionText(source, where) {
  const argument = where ? `(where: ${where})` : "";
  const names = source.columns.map((column) => column.name).join(" ");
  return [
    "subscription {",
    `  ${source.name}${argument} {`,
    "    operation fields timestamp",
    `    data { ${names} }`,
    "  }",
    "}",
  ].join("\n");
}
