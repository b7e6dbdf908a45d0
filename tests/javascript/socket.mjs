// A client of graphql-transport-ws that comes back soon, and says so.
import { createClient } from "graphql-ws";
import "./browser.mjs";
import { say, socketUrl } from "./drive.mjs";

export const socket = createClient({
  url: socketUrl,
  retryAttempts: 100,
  shouldRetry: () => true, // a service that is not up yet too, which a WebSocket of Node tells as an error
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 50)),
  on: {
    connected: () => say({ event: "connected" }),
    closed: ({ code }) => say({ event: "closed", code }),
  },
});
