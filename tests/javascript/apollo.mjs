// Drives an Apollo client of either version.
import { drive } from "./drive.mjs";

// Apollo's cache takes each update for the whole row, and would overwrite what did not change with null
const fetchPolicy = "no-cache";
// Version 4 gives equal subscriptions one stream, in which the second one would get no rows
const context = { queryDeduplication: false };

export function apollo(client, gql, close) {
  drive({
    query: (query, variables) => client.query({ query: gql(query), variables, fetchPolicy }),
    subscribe(query, variables, observer) {
      const subscription = client.subscribe({ query: gql(query), variables, fetchPolicy, context }).subscribe(observer);
      return () => subscription.unsubscribe();
    },
    close() {
      client.stop();
      close();
    },
  });
}
