// The client of graphql-transport-ws of the pages, with a socket that does what it is told and a clock that is moved.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { createClient } from "../../../tycostream/web/static/lib/client.js";

class Socket {
  static all = [];
  static get last() {
    return Socket.all.at(-1);
  }

  readyState = 0;
  sent = [];
  closed = null;

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
    Socket.all.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closed = code;
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen();
    this.tell({ type: "connection_ack" });
  }

  tell(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

let states;
const make = (options = {}) =>
  createClient({
    url: "ws://here/graphql",
    WebSocket: Socket,
    random: () => 1,
    onState: (told) => states.push(told.state),
    ...options,
  });
const recorder = () => {
  const told = [];
  return {
    told,
    next: (data) => told.push(["next", data]),
    error: (errors) => told.push(["error", errors]),
    complete: () => told.push(["complete"]),
    restart: () => told.push(["restart"]),
  };
};

// In steps, since timers see the time at the end of a tick
const pass = (milliseconds) => {
  for (let passed = 0; passed < milliseconds; passed += 1000) mock.timers.tick(1000);
};

mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });

beforeEach(() => {
  Socket.all = [];
  states = [];
});

test("what is asked before the acknowledgement is sent after it", () => {
  const client = make({ connectionParams: { token: "x" } });
  const sink = recorder();
  client.subscribe("subscription { a }", { b: 1 }, sink);
  Socket.last.open();
  assert.deepEqual(Socket.last.sent, [
    { type: "connection_init", payload: { token: "x" } },
    { id: "1", type: "subscribe", payload: { query: "subscription { a }", variables: { b: 1 } } },
  ]);
  Socket.last.tell({ id: "1", type: "next", payload: { data: { a: 1 } } });
  Socket.last.tell({ id: "1", type: "complete" });
  assert.deepEqual(sink.told, [["next", { a: 1 }], ["complete"]]);
  assert.deepEqual(states, ["connecting", "live"]);
  client.close();
});

test("what is asked on hearing that it is live is sent once", () => {
  let client;
  client = make({ onState: ({ state }) => state === "live" && client.subscribe("subscription { a }", {}, recorder()) });
  Socket.last.open();
  assert.equal(Socket.last.sent.filter(({ type }) => type === "subscribe").length, 1);
  client.close();
});

test("an ended subscription tells the server once and hears nothing more", () => {
  const client = make();
  Socket.last.open();
  const sink = recorder();
  const end = client.subscribe("subscription { a }", {}, sink);
  end();
  end();
  Socket.last.tell({ id: "1", type: "next", payload: { data: { a: 1 } } });
  assert.deepEqual(sink.told, []);
  assert.equal(Socket.last.sent.filter(({ type }) => type === "complete").length, 1);
  client.close();
});

test("after a loss it comes back, later each time, and starts again behind a restart", () => {
  const client = make({ retryMinMs: 100, retryMaxMs: 300 });
  const sink = recorder();
  Socket.last.open();
  client.subscribe("subscription { a }", {}, sink);
  Socket.last.end(1006);
  assert.equal(client.state, "reconnecting");
  for (const [wait, count] of [[100, 2], [200, 3], [300, 4], [300, 5]]) {
    mock.timers.tick(wait - 1);
    assert.equal(Socket.all.length, count - 1);
    mock.timers.tick(1);
    assert.equal(Socket.all.length, count);
    assert.deepEqual(sink.told, [], "nothing is cleared before rows can come");
    if (count < 5) Socket.last.end(1006);
  }
  Socket.last.open();
  assert.deepEqual(sink.told, [["restart"]]);
  assert.equal(Socket.last.sent.at(-1).type, "subscribe");
  assert.equal(client.state, "live");
  Socket.last.end(1012);
  mock.timers.tick(100);
  assert.equal(Socket.all.length, 6, "the wait begins anew");
  client.close();
});

for (const code of [4400, 1009, 4401]) {
  test(`after ${code} it gives up, until it is told to retry`, () => {
    const client = make();
    Socket.last.open();
    client.subscribe("subscription { a }", {}, recorder());
    Socket.last.end(code, "so it is");
    mock.timers.tick(60_000);
    assert.deepEqual([client.state, Socket.all.length], ["closed", 1]);
    client.retry();
    Socket.last.open();
    assert.equal(Socket.last.sent.at(-1).type, "subscribe");
    client.close();
  });
}

test("silence after a ping is stale, then lost; an answer mends it", () => {
  const client = make({ pingMs: 5000, staleMs: 4000, lostMs: 15_000 });
  Socket.last.open();
  pass(5000);
  assert.deepEqual(Socket.last.sent.at(-1), { type: "ping" });
  pass(4000);
  assert.equal(client.state, "stale");
  Socket.last.tell({ type: "pong" });
  assert.equal(client.state, "live");
  pass(5000);
  const silent = Socket.last;
  pass(15_000);
  assert.notEqual(silent.closed, null);
  assert.deepEqual(states.slice(-3), ["live", "stale", "reconnecting"]);
  client.close();
});

test("a socket that is never acknowledged is given up", () => {
  const client = make({ ackMs: 1000 });
  mock.timers.tick(1000);
  assert.equal(client.state, "reconnecting");
  assert.notEqual(Socket.all[0].closed, null);
  client.close();
});

test("pings are answered with their payload", () => {
  const client = make();
  Socket.last.open();
  Socket.last.tell({ type: "ping", payload: { a: 1 } });
  assert.deepEqual(Socket.last.sent.at(-1), { type: "pong", payload: { a: 1 } });
  client.close();
});

test("a request is its result, or its errors", async () => {
  const client = make();
  Socket.last.open();
  const good = client.request("{ a }");
  Socket.last.tell({ id: "1", type: "next", payload: { data: { a: 1 } } });
  Socket.last.tell({ id: "1", type: "complete" });
  assert.deepEqual(await good, { a: 1 });
  const half = client.request("{ a }");
  Socket.last.tell({ id: "2", type: "next", payload: { data: null, errors: [{ message: "no" }] } });
  Socket.last.tell({ id: "2", type: "complete" });
  await assert.rejects(half, { message: "no", errors: [{ message: "no" }] });
  const refused = client.request("{ b }");
  Socket.last.tell({ id: "3", type: "error", payload: [{ message: "not that" }] });
  await assert.rejects(refused, { message: "not that" });
  client.close();
});

test("a request that was sent is not repeated, one that was not is sent later", async () => {
  const client = make({ retryMinMs: 100 });
  Socket.last.open();
  const sent = client.request("mutation { a }");
  Socket.last.end(1006);
  await assert.rejects(sent, /connection was lost/);
  const waits = client.request("{ b }");
  mock.timers.tick(100);
  Socket.last.open();
  assert.deepEqual(Socket.last.sent.slice(1).map(({ payload }) => payload.query), ["{ b }"]);
  Socket.last.tell({ id: "2", type: "next", payload: { data: { b: 2 } } });
  Socket.last.tell({ id: "2", type: "complete" });
  assert.deepEqual(await waits, { b: 2 });
  client.close();
  await assert.rejects(client.request("{ c }"), /closed/);
});
