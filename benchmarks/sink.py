"""The clients of a measurement, in a process of their own: they read frames as fast as they come and count them.

Started as `python -m benchmarks.sink PORT CLIENTS MESSAGES QUERY`. Says `ready` once every client is acknowledged and
subscribed, and at the end one line of JSON: when the first and the last frame came (monotonic clock), how many there
were, and the latencies of rows that carry the time at which they were made.
"""

from __future__ import annotations

import base64
import json
import os
import re
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

MADE_AT = re.compile(rb'"made_at":"([1-9]\d+)"')


@dataclass(eq=False)
class Reader:
    """One WebSocket. Reads the headers of frames, and of a payload only the time it was made."""

    socket: socket.socket
    frames: int = 0
    latencies: list[float] = field(default_factory=list)
    last: bytes = b""
    _rest: bytes = b""

    def read(self) -> bool:
        """Take what is there; False once the socket is closed."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return True
        if not data:
            return False
        now = time.monotonic_ns()
        data = self._rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + length > end:
                break
            if data[at] == 0x81:
                self.frames += 1
                self.last = data[start : start + length]
                if self.frames % 16 == 0 and (found := MADE_AT.search(self.last)):
                    self.latencies.append((now - int(found[1])) / 1e6)
            at = start + length
        self._rest = data[at:]
        return True


def connect(port: int, query: str) -> Reader:
    """A client that is subscribed."""
    opened = socket.create_connection(("127.0.0.1", port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    opened.sendall(
        "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += opened.recv(4096)
    send(opened, {"type": "connection_init"})
    reader = Reader(opened)
    while not reader.frames:
        reader.read()
    reader.frames = 0
    send(opened, {"id": "1", "type": "subscribe", "payload": {"query": query}})
    opened.setblocking(False)
    return reader


def send(opened: socket.socket, message: dict[str, object]) -> None:
    """One masked text frame (the mask is zero)."""
    text = json.dumps(message).encode()
    size = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0x80 | 126,)) + len(text).to_bytes(2, "big")
    opened.sendall(b"\x81" + size + b"\0\0\0\0" + text)


def main(port: int, clients: int, messages: int, query: str) -> None:
    """Read until every client has had so many messages."""
    selector = selectors.DefaultSelector()
    readers = [connect(port, query) for _ in range(clients)]
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    print("ready", flush=True)
    first = last = 0
    open_readers = set(readers)
    while open_readers:
        for key, _ in selector.select(60):
            reader = key.data
            alive = reader.read()
            first = first or (time.monotonic_ns() if reader.frames else 0)
            if not alive or reader.frames >= messages:
                selector.unregister(reader.socket)
                open_readers.discard(reader)
                last = time.monotonic_ns()
    latencies = sorted(latency for reader in readers for latency in reader.latencies)
    result = {
        "first": first,
        "last": last,
        "frames": [min(reader.frames for reader in readers), max(reader.frames for reader in readers)],
        "last_payload": readers[0].last.decode(),
        "latencies": latencies[:: max(1, len(latencies) // 10_000)],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
