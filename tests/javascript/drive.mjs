// What all clients share. Commands come as JSON lines on standard input, and what the client hears goes out as JSON lines:
//
//   {"do": "query", "name", "query", "variables"}      -> {"name", "next": result} or {"name", "error": [message]}
//   {"do": "subscribe", "name", "query", "variables"}  -> any number of such lines, and {"name", "complete": true}
//   {"do": "stop", "name"}                             -> {"name", "stopped": true}
//
// The end of standard input closes the client.
import { createInterface } from "node:readline";

export const [, , url] = process.argv; // http://host:port/graphql
export const socketUrl = url.replace("http", "ws");

export function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

// The texts in whatever a client reports: GraphQL errors, an error of its own around them, or the event of a socket's close.
function messages(error) {
  const inner = [error, error.graphQLErrors, error.errors].find((list) => Array.isArray(list) && list.length);
  if (inner) return inner.flatMap(messages);
  return [error.message || `closed with ${error.code} ${error.reason}`];
}

// `query` resolves to a result; `subscribe` calls `next`, `error` and `complete`, and returns the function that ends it.
export function drive({ query, subscribe, close }) {
  const stops = new Map();

  function observer(name) {
    return {
      next(result) {
        const error = result.error ?? result.errors;
        say(error ? { name, error: messages(error) } : { name, next: { data: result.data } });
      },
      error: (error) => say({ name, error: messages(error) }),
      complete: () => say({ name, complete: true }),
    };
  }

  const commands = {
    query({ name, query: document, variables }) {
      const { next, error } = observer(name);
      query(document, variables).then(next, error);
    },
    subscribe({ name, query: document, variables }) {
      stops.set(name, subscribe(document, variables, observer(name)));
    },
    stop({ name }) {
      stops.get(name)();
      say({ name, stopped: true });
    },
  };

  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  });
  lines.on("close", close);
}
