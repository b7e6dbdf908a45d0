// The GraphQL schema as introspection tells it, and the sources that it serves.

export const INTROSPECTION = `query Introspection {
  __schema {
    queryType { name }
    mutationType { name }
    subscriptionType { name }
    types {
      kind
      name
      description
      fields { name description args { ...Input } type { ...Reference } }
      inputFields { ...Input }
      enumValues { name description }
    }
  }
}
fragment Input on __InputValue { name description defaultValue type { ...Reference } }
fragment Reference on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

// The name within lists and non-null
export function named(reference) {
  return reference.ofType ? named(reference.ofType) : reference.name;
}

// As GraphQL writes it: [Int!]!
export function written(reference) {
  if (reference.kind === "NON_NULL") return `${written(reference.ofType)}!`;
  return reference.kind === "LIST" ? `[${written(reference.ofType)}]` : reference.name;
}

const inner = (reference) => (reference.kind === "NON_NULL" ? reference.ofType : reference);

export class Schema {
  types = new Map();
  sources = new Map(); // name -> { name, description, columns, key }

  constructor({ __schema: told }) {
    for (const type of told.types) this.types.set(type.name, type);
    this.roots = {
      query: told.queryType?.name,
      mutation: told.mutationType?.name,
      subscription: told.subscriptionType?.name,
    };
    for (const field of this.fields(this.roots.subscription)) {
      const source = this.#source(field);
      if (source) this.sources.set(field.name, source);
    }
  }

  type(name) {
    return this.types.get(name);
  }

  // The fields of an object, or of an input object
  fields(name) {
    const type = this.types.get(name);
    return type?.fields ?? type?.inputFields ?? [];
  }

  field(typeName, name) {
    return this.fields(typeName).find((field) => field.name === name);
  }

  get tellsStatus() {
    return this.field(this.roots.subscription, "source_status") !== undefined;
  }

  // A subscription's field is a source if it tells rows, `operation` and `data`, one at a time
  #source({ name, type, args }) {
    const data = this.field(named(type), "data");
    if (!data || inner(type).kind === "LIST" || !this.field(named(type), "operation")) return null;
    const where = args.find((arg) => arg.name === "where");
    const derived = new Set(args.filter((arg) => arg.name.startsWith("derive_")).map((arg) => arg.name.slice(7)));
    const columns = this.fields(named(data.type)).map((column) => ({
      name: column.name,
      description: column.description,
      key: column.type.kind === "NON_NULL",
      calculated: derived.has(column.name),
      enum: this.types.get(named(column.type))?.enumValues?.map((value) => value.name) ?? null,
      ...this.#comparison(where && this.field(named(where.type), column.name), named(column.type)),
    }));
    const key = columns.filter((column) => column.key).map((column) => column.name);
    return { name, description: this.types.get(named(data.type)).description, columns, key };
  }

  // A column's type in the schema file, which the name of its comparison tells better than GraphQL's type does, and the
  // operators that it can be asked with
  #comparison(input, type) {
    const comparison = input && named(input.type);
    const operators = this.fields(comparison).map((operator) => ({
      name: operator.name,
      type: named(operator.type),
      list: inner(operator.type).kind === "LIST",
      enum: this.types.get(named(operator.type))?.enumValues?.map((value) => value.name) ?? null,
    }));
    return { type: comparison?.replace(/Comparison$/, "") ?? type, operators };
  }
}

const NUMBERS = new Set(["Integer", "Int", "Float", "BigInt", "Numeric"]);

export function isNumber(column) {
  return NUMBERS.has(column.type);
}
