// urql: queries over HTTP, subscriptions over graphql-transport-ws.
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { drive, url } from "../drive.mjs";
import { socket } from "../socket.mjs";

const client = new Client({
  url,
  exchanges: [
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query, variables }) => ({
        subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
      }),
    }),
  ],
});

drive({
  query: (query, variables) => client.query(query, variables).toPromise(),
  subscribe: (query, variables, { next }) => client.subscription(query, variables).subscribe(next).unsubscribe,
  close: () => socket.dispose(),
});
