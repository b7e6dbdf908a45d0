// A client of graphql-transport-ws (enisdenjo/graphql-ws, PROTOCOL.md) that comes back when its connection is lost.
//
//   const client = createClient({ url: "ws://host/graphql", onState: ({ state, reason, retryMs }) => {} });
//   const unsubscribe = client.subscribe(query, variables, { next, error, complete, restart }, operationName);
//   const data = await client.request(query, variables);
//   client.retry();  client.close();  client.state
//
// State is one of
//   "connecting"    the first connection is on its way
//   "live"          connected, and the server answers
//   "stale"         connected, but the server has not answered for `staleMs`: what is shown may be old
//   "reconnecting"  the connection was lost; the next attempt begins in `retryMs`
//   "closed"        given up, `reason` says why (the server refuses what we send), or closed by the caller: see `retry`
//
// subscribe: `next(data)` for every result, `error(errors)` with a list of GraphQL errors, which is the end of it, and
// `complete()`. It outlives connections: after a loss it starts again by itself and is told all rows anew, so
// `restart()` is called before, for what is held to be cleared. What it returns ends it, without a further call.
//
// request: one result of a query or mutation; waits for a connection. Rejects with an Error: its `errors` are
// GraphQL's, or there are none where the connection was lost meanwhile; then nobody knows whether it was carried out.

const OPEN = 1; // WebSocket.OPEN

// After these a new connection would end in the same way (tycostream's docs/operations.md)
const FATAL = new Set([1002, 1003, 1007, 1008, 1009, 4400, 4401, 4406, 4409, 4429, 4500]);

const DEFAULTS = {
  onState: () => {},
  connectionParams: undefined, // the payload of connection_init
  retryMinMs: 250,
  retryMaxMs: 10_000,
  ackMs: 10_000, // to be acknowledged in
  pingMs: 5_000,
  staleMs: 4_000, // after a ping without an answer
  lostMs: 15_000, // after a ping without an answer the connection is given up
  random: Math.random,
  WebSocket: globalThis.WebSocket,
};

export function createClient(options) {
  return new Client({ ...DEFAULTS, ...options });
}

class Client {
  #options;
  #socket = null;
  #operations = new Map(); // id -> { query, variables, operationName, sink, once, started, again }
  #ids = 0;
  #wait;
  #retryTimer;
  #ackTimer;
  #pulseTimer;
  #pinged = null; // when a ping was sent that nothing has answered
  #online = () => this.#state === "reconnecting" && this.retry();
  #state = "closed";

  constructor(options) {
    this.#options = options;
    this.#wait = options.retryMinMs;
    globalThis.addEventListener?.("online", this.#online);
    this.#tell("connecting");
    this.#connect();
  }

  get state() {
    return this.#state;
  }

  subscribe(query, variables, sink, operationName = undefined) {
    return this.#add({ query, variables, operationName, sink, once: false, started: false });
  }

  request(query, variables) {
    return new Promise((resolve, reject) => {
      let result = null;
      const fail = (message, errors) => reject(Object.assign(new Error(message), errors && { errors }));
      const sink = {
        payload: (payload) => {
          result = payload;
        },
        error: (errors) => fail(errors[0]?.message ?? "refused", errors),
        complete: () => {
          if (result === null) fail("the server gave no result");
          else if (result.errors) fail(result.errors[0].message, result.errors);
          else resolve(result.data);
        },
        lost: (reason) => fail(reason),
      };
      if (this.#state === "closed") fail("the connection is closed");
      else this.#add({ query, variables, sink, once: true, started: false });
    });
  }

  // Try again now, also after it was given up
  retry() {
    clearTimeout(this.#retryTimer);
    this.#leave();
    this.#loseRequests("the connection was lost", false);
    this.#tell("reconnecting", "", 0);
    this.#connect();
  }

  // For good, unless `retry` is called
  close() {
    clearTimeout(this.#retryTimer);
    globalThis.removeEventListener?.("online", this.#online);
    this.#leave();
    this.#tell("closed", "closed here");
    this.#loseRequests("the connection was closed", true);
  }

  #add(operation) {
    const id = String(++this.#ids);
    this.#operations.set(id, operation);
    if (this.#acknowledged()) this.#start(id, operation);
    return () => {
      if (this.#operations.delete(id) && operation.started) this.#send({ id, type: "complete" });
    };
  }

  #acknowledged() {
    return this.#state === "live" || this.#state === "stale";
  }

  #start(id, operation) {
    operation.started = true;
    const { query, variables = {}, operationName } = operation;
    this.#send({ id, type: "subscribe", payload: { query, variables, operationName } });
  }

  #send(message) {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify(message));
  }

  #tell(state, reason = "", retryMs = null) {
    this.#state = state;
    this.#options.onState({ state, reason, retryMs });
  }

  #connect() {
    let socket;
    try {
      socket = new this.#options.WebSocket(this.#options.url, "graphql-transport-ws");
    } catch (error) {
      this.#tell("closed", error.message);
      this.#loseRequests(error.message, true);
      return;
    }
    this.#socket = socket;
    this.#ackTimer = setTimeout(() => this.#lost(0, "the server does not answer"), this.#options.ackMs);
    socket.onopen = () => this.#send({ type: "connection_init", payload: this.#options.connectionParams });
    socket.onmessage = ({ data }) => this.#hear(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => {}; // a close follows, and says more
  }

  #hear(message) {
    this.#pinged = null;
    if (this.#state === "stale") this.#tell("live");
    if (message.type === "connection_ack") this.#begin();
    else if (message.type === "ping") this.#send({ type: "pong", payload: message.payload });
    else if (message.type === "next" || message.type === "error" || message.type === "complete") this.#pass(message);
  }

  #begin() {
    clearTimeout(this.#ackTimer);
    this.#wait = this.#options.retryMinMs;
    this.#pulseTimer = setInterval(() => this.#pulse(), Math.min(1_000, this.#options.pingMs));
    this.#lastPing = Date.now();
    this.#tell("live");
    for (const [id, operation] of this.#operations) {
      if (operation.started) continue; // by whoever was just told
      if (operation.again) operation.sink.restart?.();
      this.#start(id, operation);
    }
  }

  #lastPing = 0;

  // A ping every `pingMs`, and how long the last one has waited for anything to be heard
  #pulse() {
    const now = Date.now();
    if (this.#pinged !== null) {
      const silent = now - this.#pinged;
      if (silent >= this.#options.lostMs) this.#lost(0, "the server does not answer");
      else if (silent >= this.#options.staleMs && this.#state === "live") {
        this.#tell("stale", "the server does not answer");
      }
    } else if (now - this.#lastPing >= this.#options.pingMs) {
      this.#lastPing = this.#pinged = now;
      this.#send({ type: "ping" });
    }
  }

  #pass({ id, type, payload }) {
    const operation = this.#operations.get(id);
    if (!operation) return; // ended here; its last messages were on their way
    if (type !== "next") this.#operations.delete(id);
    const { sink } = operation;
    if (type === "complete") sink.complete?.();
    else if (type === "error") sink.error?.(payload);
    else if (operation.once) sink.payload(payload);
    else if (payload.errors) {
      this.#operations.delete(id);
      this.#send({ id, type: "complete" });
      sink.error?.(payload.errors);
    } else sink.next?.(payload.data);
  }

  // `code` 0: it was given up here
  #lost(code, reason) {
    this.#leave();
    const why = reason || (code === 1006 ? "the server can't be reached" : `closed with ${code}`);
    const fatal = FATAL.has(code);
    if (fatal) this.#tell("closed", why);
    else {
      const wait = this.#wait * (0.5 + this.#options.random() / 2);
      this.#wait = Math.min(this.#wait * 2, this.#options.retryMaxMs);
      this.#retryTimer = setTimeout(() => this.#connect(), wait);
      this.#tell("reconnecting", why, wait);
    }
    this.#loseRequests(`the connection was lost: ${why}`, fatal);
  }

  // Requests may have been carried out, so they are not repeated; those that were not sent go on waiting, unless `all`
  #loseRequests(reason, all) {
    for (const [id, operation] of this.#operations) {
      if (operation.once && (operation.started || all)) {
        this.#operations.delete(id);
        operation.sink.lost(reason);
      } else if (operation.started) {
        operation.started = false;
        operation.again = true;
      }
    }
  }

  // Nothing more is heard of this socket
  #leave() {
    clearTimeout(this.#ackTimer);
    clearInterval(this.#pulseTimer);
    const socket = this.#socket;
    this.#pinged = this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000, "");
  }
}
