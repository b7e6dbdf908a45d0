"""The clients of a measurement, in a process of their own. They obey lines of JSON on stdin and answer with such lines.

They are lean, because on a small machine they share its cores with what is measured: what they read they only count (by
the ends of messages) and sum up (CRC); of a read, the oldest row's time is looked at. One client of a group keeps its
bytes, and so do all whose operation ids are their own; afterwards these are read message by message, and all others
must have had the very same bytes.

    connect   clients of a group: see `Group`. Answered once each has had `first` messages.
    reach     wait until each client of a group has had so many messages.
    replay    the rows that a group ends with, as a digest.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.frames import masked, subscribe, upgrade
from benchmarks.replay import ReplayError, digest, replay

END = b"]}}}}"
"""Ends each message: `fields`, which each query selects last, the update, data, payload and message."""
MADE_AT = b'"made_at":"'
SHARES = (0.5, 0.9, 0.99, 0.999)

_buffer = bytearray(1 << 18)
_view = memoryview(_buffer)


class Client:
    """One connection. `plain` ones speak no WebSocket: they only read."""

    def __init__(self, group: Group, number: int) -> None:
        self.group = group
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ids = [group.operation_id(number, one) for one in range(group.subscriptions)]
        self.messages = 0
        self.crc = 0
        self.kept: list[bytes] | None = [] if number == 0 or group.own_ids else None
        self.asked_at = self.first_at = 0
        self.segments = 0
        self.take: Callable[[bytes, int], None] = self._take if group.plain else self._upgraded
        self._tail = b""

    def connected(self) -> None:
        """The socket is there: ask for the upgrade."""
        if not self.group.plain:
            self.socket.send(upgrade("localhost", "/graphql"))

    def read(self) -> bool:
        """Take what is there; False once the socket is closed."""
        try:
            size = self.socket.recv_into(_view)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if size:
            self.take(bytes(_view[:size]), time.monotonic_ns())
        return size > 0

    def new_segments(self) -> int:
        """How many segments with data have come since it was asked last: on a loopback, with how many calls they were
        sent (tcpi_data_segs_in of Linux)."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
        before, self.segments = self.segments, int(struct.unpack_from("I", info, 152)[0])
        return self.segments - before

    def _upgraded(self, data: bytes, _now: int) -> None:
        self._tail += data
        if b"\r\n\r\n" in self._tail:
            if b" 101 " not in self._tail:
                raise RuntimeError(f"refused: {self._tail!r}")
            self._tail, self.take = b"", self._acknowledged
            self.socket.send(masked({"type": "connection_init"}))

    def _acknowledged(self, data: bytes, now: int) -> None:
        self._tail += data
        if b'"connection_ack"' in self._tail:
            self._tail, self.take, self.asked_at = b"", self._take, now
            self.socket.send(b"".join(subscribe(one, self.group.query) for one in self.ids))

    def _take(self, data: bytes, now: int) -> None:
        group = self.group
        found = (self._tail + data).count(END)
        self._tail = data[-4:] if len(data) >= 4 else (self._tail + data)[-4:]
        if self.kept is None:
            self.crc = zlib.crc32(data, self.crc)
        else:
            self.kept.append(data)
        if not self.first_at and found:
            self.first_at = now
        self.messages += found
        group.messages += found
        group.last = now
        group.first = group.first or now
        at = data.find(MADE_AT)
        if at >= 0 and (end := data.find(b'"', at + 11)) > at + 11 and data[at + 11] != 48:
            group.latencies.append(now - int(data[at + 11 : end]))


@dataclass(eq=False)
class Group:
    """Clients that were connected together, with the same query."""

    port: int
    count: int
    query: str = ""
    own_ids: bool = False
    """Whether no two operations have the same id."""
    subscriptions: int = 1
    """How many each client has."""
    plain: bool = False
    clients: list[Client] = field(default_factory=list)
    messages: int = 0
    closed: int = 0
    first: int = 0
    last: int = 0
    latencies: list[int] = field(default_factory=list)

    def operation_id(self, client: int, subscription: int) -> str:
        """As long for each."""
        return f"{client * self.subscriptions + subscription if self.own_ids else subscription:05}"

    def told(self) -> dict[str, Any]:
        """What was seen since it was told last."""
        latencies = sorted(self.latencies)
        found = {
            "first": self.first / 1e9,
            "last": self.last / 1e9,
            "messages": [min(one.messages for one in self.clients), max(one.messages for one in self.clients)],
            "segments": max(client.new_segments() for client in self.clients),
            "latencies": {share: latencies[int(len(latencies) * share)] / 1e6 for share in SHARES} if latencies else {},
            "first_after": max(client.first_at - client.asked_at for client in self.clients) / 1e6,
        }
        self.first, self.latencies = 0, []
        return found

    def replayed(self) -> dict[str, Any]:
        """The rows that all have in the end, and how many messages each had."""
        witness = self.clients[0]
        assert witness.kept is not None
        data = b"".join(witness.kept)
        followers = list(replay(data).values())
        for client in self.clients[1:]:
            if client.kept is not None:
                followers += replay(b"".join(client.kept)).values()
            elif client.crc != zlib.crc32(data):
                raise ReplayError("a client had other bytes than the first one")
        if self.own_ids and len(followers) != self.count * self.subscriptions:
            raise ReplayError(f"{len(followers)} of {self.count * self.subscriptions} operations were told something")
        digests = {digest(follower.rows) for follower in followers}
        if len(digests) != 1:
            raise ReplayError("clients ended with different rows")
        counts = {follower.messages for follower in followers}
        return {"digest": digests.pop(), "messages": [min(counts), max(counts)]}


class Sink:
    """Obeys the commands."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._groups: list[Group] = []
        self._waiting: list[tuple[int, Group, int]] = []

    def run(self) -> None:
        """Until the end of stdin."""
        self._selector.register(0, selectors.EVENT_READ)
        rest = b""
        while True:
            for key, events in self._selector.select():
                if key.data is not None:
                    self._move(key.data, events)
                elif data := os.read(0, 65536):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._obey(**json.loads(line))
                else:
                    return
            for wish in [wish for wish in self._waiting if wish[1].messages >= wish[2] or wish[1].closed]:
                self._waiting.remove(wish)
                number, group, messages = wish
                if group.messages >= messages and not group.closed:
                    self._answer(number, **group.told())
                else:
                    self._answer(number, error=f"{group.closed} connections were refused or closed")

    def _move(self, client: Client, events: int) -> None:
        if events & selectors.EVENT_WRITE and not client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._selector.modify(client.socket, selectors.EVENT_READ, client)
            client.connected()
        elif events & selectors.EVENT_WRITE or not client.read():
            self._selector.unregister(client.socket)
            client.socket.close()
            client.group.closed += 1

    def _obey(self, do: str, number: int, group: int, messages: int = 0, **wanted: Any) -> None:
        if do == "connect":
            made = Group(**wanted)
            self._groups.append(made)
            for one in range(made.count):
                client = Client(made, one)
                made.clients.append(client)
                client.socket.connect_ex(("127.0.0.1", made.port))
                self._selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        found = self._groups[group]
        if do == "replay":
            try:
                self._answer(number, **found.replayed())
            except ReplayError as error:
                self._answer(number, error=str(error))
            return
        self._waiting.append((number, found, messages * found.count * found.subscriptions))

    def _answer(self, number: int, **found: Any) -> None:
        print(json.dumps({"number": number, **found}), flush=True)


if __name__ == "__main__":
    Sink().run()
