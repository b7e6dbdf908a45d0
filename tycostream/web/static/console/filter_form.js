// The form in which a filter is put together.
import { button, el, select } from "./dom.js";
import { FilterError, emptyFilter, whereText } from "./filter.js";

const JOINS = [
  { value: "and", label: "all of" },
  { value: "or", label: "any of" },
  { value: "none", label: "none of" },
];
const DEEPEST = 3;
const WORDS = {
  _eq: "=", _neq: "≠", _gt: ">", _gte: "≥", _lt: "<", _lte: "≤", _in: "is in", _nin: "is not in", _is_null: "is null",
  _like: "like", _nlike: "not like", _ilike: "like, any case", _nilike: "not like, any case", _regex: "matches",
  _iregex: "matches, any case", _nregex: "does not match", _niregex: "does not match, any case",
};

export class FilterForm {
  filter = emptyFilter();
  #columns;
  #onChange;

  // `onChange(where)` gets the text of every filter that is whole
  constructor({ columns, name, onChange = () => {} }) {
    this.#columns = columns.filter((column) => column.operators.length > 0);
    this.#onChange = onChange;
    this.fault = el("p", { class: "fault", role: "alert" });
    this.place = el("div");
    this.element = el("div", { class: "filter", role: "group", "aria-label": name }, this.place, this.fault);
    this.#draw();
  }

  // The text of the filter; null where it is not whole, which the form then shows
  where() {
    try {
      this.#mark(null, "");
      return whereText(this.filter, this.#columns);
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      this.#mark(error.condition, error.message);
      return null;
    }
  }

  #mark(condition, message) {
    this.fault.textContent = message;
    for (const input of this.element.querySelectorAll("[data-value]")) {
      input.toggleAttribute("aria-invalid", false);
      if (condition && input.condition === condition) input.setAttribute("aria-invalid", "true");
    }
  }

  #tell() {
    const where = this.where();
    if (where !== null) this.#onChange(where);
  }

  // A control of the item takes the focus
  #draw(focused = null) {
    this.place.replaceChildren(this.#group(this.filter, 1, null));
    if (focused) [...this.element.querySelectorAll("select")].find((one) => one.item === focused)?.focus();
  }

  #group(group, depth, remove) {
    const join = select(JOINS, group.join, (value) => {
      group.join = value;
      this.#tell();
    }, { "aria-label": "How the conditions are joined" });
    join.item = group;
    const add = (item) => {
      group.items.push(item);
      this.#draw(item);
    };
    const items = group.items.map((item) => {
      const without = () => {
        group.items.splice(group.items.indexOf(item), 1);
        this.#draw(group);
        this.#tell();
      };
      return el("li", {}, item.items ? this.#group(item, depth + 1, without) : this.#condition(item, without));
    });
    return el("div", { class: "group" },
      el("div", { class: "bar" },
        el("span", { class: "muted" }, depth === 1 ? "Rows where" : "where"), join,
        button("Add condition", () => add(this.#fresh())),
        depth < DEEPEST && button("Add group", () => add({ ...emptyFilter(), join: "or" })),
        remove && button("Remove group", remove, { class: "quiet" })),
      items.length > 0 && el("ul", {}, items));
  }

  #fresh() {
    return { column: this.#columns[0].name, operator: "_eq", value: this.#start(this.#columns[0], "_eq") };
  }

  #start(column, operator) {
    const choices = this.#choices(column.operators.find(({ name }) => name === operator));
    return choices ? choices[0] : "";
  }

  #choices(operator) {
    if (operator.list) return null;
    return operator.type === "Boolean" ? ["true", "false"] : operator.enum;
  }

  #condition(condition, remove) {
    const column = this.#columns.find(({ name }) => name === condition.column);
    const operator = column.operators.find(({ name }) => name === condition.operator);
    const columns = select(this.#columns.map(({ name }) => name), condition.column, (name) => {
      const other = this.#columns.find((one) => one.name === name);
      condition.column = name;
      if (!other.operators.some((one) => one.name === condition.operator)) condition.operator = other.operators[0].name;
      condition.value = this.#start(other, condition.operator);
      this.#draw(condition);
      this.#tell();
    }, { "aria-label": "Column" });
    columns.item = condition;
    const known = column.operators.map(({ name }) => ({ value: name, label: WORDS[name] ?? name.slice(1).replaceAll("_", " ") }));
    const operators = select(known, condition.operator, (name) => {
      const kind = (one) => `${one.list} ${one.type}`;
      const next = column.operators.find((one) => one.name === name);
      if (kind(next) !== kind(operator)) condition.value = this.#start(column, name);
      condition.operator = name;
      this.#draw(condition);
      this.#tell();
    }, { "aria-label": "Operator" });
    return el("div", { class: "condition" }, columns, operators, this.#value(condition, operator),
      button("Remove", remove, { class: "quiet", "aria-label": `Remove the condition on ${condition.column}` }));
  }

  #value(condition, operator) {
    const choices = this.#choices(operator);
    const take = (value) => {
      condition.value = value;
      this.#tell();
    };
    const input = choices
      ? select(choices, condition.value, take, { "aria-label": "Value" })
      : el("input", {
          value: condition.value, autocomplete: "off", spellcheck: false, "aria-label": "Value",
          placeholder: operator.list ? "one, two, …" : operator.type === "Int" || operator.type === "Float" ? "number" : "text",
          onchange: (event) => take(event.target.value),
        });
    input.condition = condition;
    input.dataset.value = "";
    return input;
  }
}
