// Drives an Apollo client of either version.
import { drive } from "./drive.mjs";

// Apollo's cache takes each update for the whole row, and would overwrite what did not change with null
const fetchPolicy = "no-cache";

export function apollo(client, gql, close) {
  drive({
    query: (query, variables) => client.query({ query: gql(query), variables, fetchPolicy }),
    subscribe(query, variables, observer) {
      const subscription = client.subscribe({ query: gql(query), variables, fetchPolicy }).subscribe(observer);
      return () => subscription.unsubscribe();
    },
    close() {
      client.stop();
      close();
    },
  });
}
