// What was run, and what is being written, kept in this browser. Headers may hold secrets and are never kept.

const MOST = 50;
const RUN = "tycostream.history";
const DRAFT = "tycostream.draft";

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise; // not allowed, or not ours
  }
}

// Whether it could be kept
function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function history() {
  const found = read(RUN, []);
  return Array.isArray(found) ? found.filter((one) => typeof one?.query === "string") : [];
}

export function remember(query, variables) {
  const others = history().filter((one) => one.query !== query || one.variables !== variables);
  return write(RUN, [{ query, variables, at: Date.now() }, ...others].slice(0, MOST));
}

export function forget() {
  return write(RUN, []);
}

export function draft() {
  const { query, variables } = read(DRAFT, {});
  return { query: typeof query === "string" ? query : "", variables: typeof variables === "string" ? variables : "" };
}

export function keepDraft(query, variables) {
  return write(DRAFT, { query, variables });
}
