// The reference client of graphql-transport-ws, for subscriptions and queries alike.
import { drive } from "../drive.mjs";
import { socket } from "../socket.mjs";

drive({
  query: (query, variables) =>
    new Promise((resolve, reject) => {
      let result;
      socket.subscribe({ query, variables }, { next: (value) => (result = value), error: reject, complete: () => resolve(result) });
    }),
  subscribe: (query, variables, observer) => socket.subscribe({ query, variables }, observer),
  close: () => socket.dispose(),
});
