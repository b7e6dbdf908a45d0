// The client of the older subprotocol, which is named graphql-ws, for subscriptions and queries alike.
import "../browser.mjs"; // first: the library looks for WebSocket as it is loaded
import transport from "subscriptions-transport-ws";
import { drive, say, socketUrl } from "../drive.mjs";

const client = new transport.SubscriptionClient(socketUrl, { reconnect: true });
client.onConnected(() => say({ event: "connected" }));
client.onReconnected(() => say({ event: "connected" }));
client.onDisconnected(() => say({ event: "closed" }));

drive({
  query: (query, variables) =>
    new Promise((resolve, reject) => {
      client.request({ query, variables }).subscribe({ next: resolve, error: reject });
    }),
  subscribe: (query, variables, observer) => client.request({ query, variables }).subscribe(observer).unsubscribe,
  close: () => client.close(),
});
