"""Clients for a comparison of servers, in a process of their own: they read whole messages of whatever shape and look
for the times at which rows were changed.

Started as `python -m benchmarks.generic URL CLIENTS QUERY STAMP INIT`. Says `ready` once each client has had its first
message. JSON on stdin ends it: the stamps that rows end with, which every client has to see within a while. Then it
tells what was seen. A stamp is the wall clock in nanoseconds, in the column of that name.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.frames import masked, subscribe, unframed, upgrade

PATIENCE_SECONDS = 15.0
SHARES = (0.5, 0.9, 0.99, 0.999)
LONG_AGO = 10**18
"""Stamps are larger than this."""


@dataclass(eq=False)
class Client:
    """One subscribed WebSocket."""

    socket: socket.socket
    stamp: re.Pattern[bytes]
    messages: int = 0
    bytes: int = 0
    seen: set[bytes] = field(default_factory=set)
    latencies: list[float] = field(default_factory=list)
    _rest: bytes = b""

    def read(self) -> None:
        """Take what is there. Raises ConnectionError at its end, RuntimeError where the server tells of an error."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed a connection")
        now = time.time_ns()
        self.bytes += len(data)
        data, end = self._rest + data, 0
        for opcode, payload, at in unframed(data):
            end = at
            if opcode == 8:
                raise ConnectionError(f"the server closed a connection: {payload[2:].decode(errors='replace')}")
            if opcode == 9 and len(payload) < 126:
                self.socket.sendall(b"\x8a" + bytes((0x80 | len(payload),)) + b"\0\0\0\0" + payload)
            elif opcode == 1:
                self._hear(payload, now)
        self._rest = data[end:]

    def _hear(self, payload: bytes, now: int) -> None:
        if b'"next"' not in payload:
            kind = json.loads(payload).get("type")
            if kind == "ping":
                self.socket.sendall(masked({"type": "pong"}))
            elif kind in {"error", "complete"}:
                raise RuntimeError(f"the server ended the subscription: {payload.decode()}")
            return
        self.messages += 1
        for stamp in self.stamp.findall(payload):
            if stamp not in self.seen:
                self.seen.add(stamp)
                if (made := int(stamp)) > LONG_AGO:
                    self.latencies.append((now - made) / 1e6)


def connect(url: str, query: str, stamp: str, init: str) -> Client:
    """A client that has subscribed. `init` is the JSON of what it says of itself. Raises OSError, RuntimeError."""
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "http"} or parts.hostname is None:
        raise RuntimeError(f"{url} is not an address such as ws://localhost:4000/graphql (TLS is not measured)")
    opened = socket.create_connection((parts.hostname, parts.port or 80))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.sendall(upgrade(parts.netloc, parts.path or "/graphql"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        if not (data := opened.recv(1)):
            break
        answer += data
    if not answer.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(f"{url} answered {answer.splitlines()[0].decode() if answer else 'nothing'}")
    opened.sendall(masked({"type": "connection_init", "payload": json.loads(init)}))
    client = Client(opened, re.compile(rb'"%b":\s*"?(\d+)' % stamp.encode()))
    acknowledged = b""
    while b'"connection_ack"' not in acknowledged:
        if not (data := opened.recv(4096)):
            raise RuntimeError(f"{url} closed the connection before it acknowledged it")
        acknowledged += data
    opened.sendall(subscribe("1", query))
    return client


def main(url: str, count: int, query: str, stamp: str, init: str) -> None:
    """See the module."""
    selector = selectors.DefaultSelector()
    clients = [connect(url, query, stamp, init) for _ in range(count)]
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    ready, final, until = False, set[bytes](), 0.0
    line = b""
    selector.register(0, selectors.EVENT_READ)
    while not until or (time.monotonic() < until and any(not final <= client.seen for client in clients)):
        for key, _ in selector.select(0.2):
            if key.data is not None:
                key.data.read()
            elif data := os.read(0, 1 << 16):
                line += data
            else:
                selector.unregister(0)
                final, until = {b"%d" % one for one in json.loads(line)}, time.monotonic() + PATIENCE_SECONDS
        if not ready and all(client.messages for client in clients):
            ready = True
            for client in clients:
                client.latencies.clear()
                client.messages = client.bytes = 0
            print("ready", flush=True)
    latencies = sorted(latency for client in clients for latency in client.latencies)
    result = {
        "messages": sum(client.messages for client in clients),
        "bytes": sum(client.bytes for client in clients),
        "changes": min(len(client.latencies) for client in clients),
        "behind": sum(not final <= client.seen for client in clients),
        "latencies": [latencies[int(len(latencies) * share)] for share in SHARES] if latencies else [],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
    except (OSError, RuntimeError) as error:
        sys.exit(str(error))
