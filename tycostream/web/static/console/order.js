// How the page sorts rows: as the database would, as far as text that has come over GraphQL tells.

const exact = (text) => {
  try {
    return BigInt(text);
  } catch {
    return text;
  }
};

// Numbers of any size are compared as such; NaN is above them all
const number = (value) => {
  const parsed = Number(value);
  return Number.isNaN(parsed) ? Infinity : parsed;
};

const READ = {
  Int: number,
  Float: number,
  Numeric: number,
  BigInt: exact,
  Integer: number,
  Boolean: Number,
};

// Compares two rows by a column; NULL counts as greater than every value
export function comparator(column, descending) {
  const { name } = column;
  const places = column.enum && new Map(column.enum.map((value, index) => [value, index]));
  const read = places ? (value) => places.get(value) : (READ[column.type] ?? ((value) => value));
  const sign = descending ? -1 : 1;
  return (left, right) => {
    const a = left[name];
    const b = right[name];
    if (a === b) return 0;
    if (a === null || a === undefined) return sign;
    if (b === null || b === undefined) return -sign;
    const one = read(a);
    const other = read(b);
    return one < other ? -sign : one > other ? sign : 0;
  };
}
