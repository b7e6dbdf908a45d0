// A client of graphql-transport-ws that comes back soon, and says so.
import { createClient } from "graphql-ws";
import "./browser.mjs";
import { say, socketUrl } from "./drive.mjs";

export const socket = createClient({
  url: socketUrl,
  retryAttempts: 100,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 50)),
  on: {
    connected: () => say({ event: "connected" }),
    closed: ({ code }) => say({ event: "closed", code }),
  },
});
