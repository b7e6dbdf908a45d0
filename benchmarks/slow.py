"""One client that reads 1 kB a second of 20,000 updates a second: what it costs, and what the others notice."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from benchmarks.frames import masked, subscribe, unframed, upgrade
from benchmarks.harness import FedService, Meter, Result, clients, resident_mib, row, serving
from tycostream.model import Changes

HELD = 10_000
AT_ONCE = 20
EVERY_SECONDS = 0.001
WATCHED = 100
"""Rows that each of the other clients follows."""

OTHERS = 10
WATCH = (
    f"subscription {{ trades(where: {{id: {{_lt: {WATCHED}}}}}) {{ operation data {{ id price made_at }} fields }} }}"
)


def query(policy: str) -> str:
    """All rows, with the few columns that tell whether they are right."""
    return f"subscription {{ trades(on_slow: {policy}) {{ operation data {{ id price note }} fields timestamp }} }}"


class SlowReader:
    """A client that reads as much as it is told to, and knows the rows that this leads to."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self.prices: dict[int, float] = {}
        self.updates = 0
        self.dropped = 0
        self.closed: tuple[int, str] | None = None

    async def read(self, size: int) -> bool:
        """Take up to so many bytes; returns whether the connection is still there."""
        data = await self._loop.sock_recv(self._socket, size)
        self._rest += data
        end = 0
        for opcode, payload, at in unframed(self._rest):
            end = at
            if opcode == 1:
                self._hear(json.loads(payload))
            elif opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big"), payload[2:].decode()
        self._rest = self._rest[end:]
        return bool(data) and self.closed is None

    async def trickle(self, bytes_a_second: int) -> None:
        """Read at this pace, until cancelled or closed."""
        while await self.read(max(1, bytes_a_second // 10)):
            await asyncio.sleep(0.1)

    async def catch_up(self, prices: dict[int, float]) -> None:
        """Read everything, until these are the prices that it knows."""
        async with asyncio.timeout(60):
            while self.prices != prices:
                if not await self.read(1 << 20):
                    raise RuntimeError(f"the connection was closed: {self.closed}")

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] != "next":
            return
        update = message["payload"]["data"]["trades"]
        self.updates += 1
        self.dropped += message["payload"].get("extensions", {}).get("dropped", 0)
        if update["operation"] == "DELETE":
            del self.prices[update["data"]["id"]]
        else:
            self.prices[update["data"]["id"]] = update["data"]["price"]


@asynccontextmanager
async def slow_reader(port: int, text: str) -> AsyncIterator[SlowReader]:
    """A client that has subscribed and has read the first row. Its kernel takes little for it."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(opened, ("127.0.0.1", port))
        await loop.sock_sendall(opened, upgrade("localhost", "/graphql"))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += await loop.sock_recv(opened, 1)
        await loop.sock_sendall(opened, masked({"type": "connection_init"}) + subscribe("1", text))
        reader = SlowReader(opened)
        while not reader.updates:
            await reader.read(256)
        yield reader
    finally:
        opened.close()


async def feed(service: FedService, first: int, count: int) -> dict[int, float]:
    """So many updates, 20 to a transaction and one transaction a millisecond, from this timestamp on; the price of each
    row that has been changed."""
    prices: dict[int, float] = {}
    began = time.monotonic()
    for made in range(0, count, AT_ONCE):
        changes = []
        for number in range(made, made + AT_ONCE):
            which, price = (number * 7919) % HELD, 1.5 + number
            prices[which] = price
            changes.append((str(which), row(which, price, time.monotonic_ns())))
        service.feed.emit(Changes(first + made // AT_ONCE, changes))
        await asyncio.sleep(max(0.0, began + (made / AT_ONCE + 1) * EVERY_SECONDS - time.monotonic()))
    return prices


async def outbox(service: FedService) -> dict[str, Any]:
    """What is known of the connection for which the most waits."""
    found = [one["details"] for one in await service.actors("connection")]
    return max(found, key=lambda one: one["outbox_rows"])


async def slow(scale: float) -> list[Result]:
    """The others' latency beside no slow client, and beside one of each kind; and whether a merge ends in the rows."""
    updates = max(int(20_000 * 10 * scale), 2 * HELD) // AT_ONCE * AT_ONCE
    results = []
    for policy in (None, "CONFLATE", "DROP_OLDEST"):
        expected = WATCHED * (1 + updates // HELD)
        async with serving(HELD) as service, clients(service.port, OTHERS, expected, WATCH) as others:
            await asyncio.sleep(0.3)
            before = resident_mib()
            note = ""
            meter = Meter()
            if policy is None:
                await feed(service, 2, updates)
            else:
                async with slow_reader(service.port, query(policy)) as reader:
                    trickling = asyncio.create_task(reader.trickle(1024))
                    prices = await feed(service, 2, updates)
                    told = await outbox(service)
                    trickling.cancel()
                    with suppress(asyncio.CancelledError):
                        await trickling
                    note = (
                        f"{told['outbox_rows']:,} rows wait for it, {resident_mib() - before:.0f} MiB more than before"
                    )
                    if policy == "CONFLATE":
                        await reader.catch_up(prices)
                        note += ", ends in the right rows"
            seen = await others.seen()
            results.append(
                Result(
                    f"{OTHERS} clients beside {'no slow one' if policy is None else f'a slow one, {policy}'}",
                    rows_per_second=updates / (seen.last - meter.began),
                    p50=seen.percentile(0.5),
                    p99=seen.percentile(0.99),
                    resident=resident_mib(),
                    note=note,
                )
            )
    return results
