// Apollo Client 3 as older applications have it: subscriptions over the older subprotocol, which is named graphql-ws.
import "../browser.mjs"; // first: the library looks for WebSocket as it is loaded
import { ApolloClient, HttpLink, InMemoryCache, gql, split } from "apollo-client-3/core/index.js";
import { WebSocketLink } from "apollo-client-3/link/ws/index.js";
import { getMainDefinition } from "apollo-client-3/utilities/index.js";
import transport from "subscriptions-transport-ws";
import { apollo } from "../apollo.mjs";
import { say, socketUrl, url } from "../drive.mjs";

const socket = new transport.SubscriptionClient(socketUrl, { reconnect: true, lazy: true });
socket.onConnected(() => say({ event: "connected" }));
socket.onReconnected(() => say({ event: "connected" }));
socket.onDisconnected(() => say({ event: "closed" }));
const link = split(
  ({ query }) => getMainDefinition(query).operation === "subscription",
  new WebSocketLink(socket),
  new HttpLink({ uri: url }),
);

apollo(new ApolloClient({ link, cache: new InMemoryCache() }), gql, () => socket.close());
