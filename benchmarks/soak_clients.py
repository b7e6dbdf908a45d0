"""Clients for the soak: they follow for a while, or for ever, read slowly, are cut, and come back with a cursor."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tornado.websocket import WebSocketClientConnection, WebSocketError, websocket_connect

Row = dict[str, Any]

WISHES: tuple[tuple[str, str, str, dict[str, Any] | None, str], ...] = (
    ("trades", "id", "id symbol price note", None, "true"),
    ("trades", "id", "id price", {"symbol": {"_eq": "AAPL"}}, "symbol = 'AAPL'"),
    ("trades", "id", "id symbol price", {"price": {"_gte": 500}}, "price >= 500"),
    ("trades", "id", "id price", {"id": {"_in": [1, 2, 3, 500]}}, "id IN (1, 2, 3, 500)"),
    ("orders", "id", "id quantity", None, "true"),
    ("orders", "id", "id quantity", {"quantity": {"_lt": 50}}, "quantity < 50"),
    ("totals", "symbol", "symbol many", None, "true"),
)
"""Source, key, columns, filter, and the filter in SQL."""


def a_wish(number: int) -> tuple[str, str, str, dict[str, Any] | None, str]:
    """One that hardly anybody else has, every other time."""
    if number % 2:
        return WISHES[number % len(WISHES)]
    low = random.randrange(1000)
    return ("trades", "id", "id price note", {"price": {"_gte": low, "_lt": low + 50}}, "")


@dataclass(eq=False)
class Following:
    """One subscription and the rows that its client knows."""

    source: str
    key: str
    columns: str
    where: dict[str, Any] | None
    condition: str
    rows: dict[Any, Row] = field(default_factory=dict)
    cursor: str | None = None
    messages: int = 0
    resets: int = 0
    error: str | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """The operation."""
        query = (
            f"subscription ($where: {self.source}Expression, $cursor: String) {{ {self.source}(where: $where,"
            f" resume_from: $cursor) {{ operation data {{ {self.columns} }} fields cursor snapshot }} }}"
        )
        return {"query": query, "variables": {"where": self.where, "cursor": self.cursor}}

    def hear(self, update: dict[str, Any]) -> None:
        """Apply an update, as docs/clients.md says."""
        self.messages += 1
        self.cursor = update["cursor"]
        if update["snapshot"] == "RESET":
            self.resets += 1
            self.rows.clear()
        data = update["data"]
        if data is None:
            return
        key = data[self.key]
        if update["operation"] == "INSERT":
            self.rows[key] = data
        elif update["operation"] == "DELETE":
            self.rows.pop(key, None)
        else:
            self.rows[key] |= {name: data[name] for name in update["fields"] if name in data}


class Client:
    """One socket at a time. `run` follows until `seconds` have passed, or the socket is closed."""

    def __init__(self, port: int, following: list[Following]) -> None:
        self.port = port
        self.following = following
        self._ids = itertools.count(1)

    async def run(self, seconds: float, *, pause: float = 0.0, cut: bool = False) -> None:
        """`pause` after each message; `cut` ends without a word, otherwise each subscription is completed."""
        socket = await websocket_connect(
            f"ws://127.0.0.1:{self.port}/graphql",
            subprotocols=["graphql-transport-ws"],
            max_message_size=1 << 26,
            connect_timeout=10,
        )
        try:
            await self._follow(socket, seconds, pause)
        finally:
            if cut:
                socket.protocol.stream.close() if socket.protocol is not None else socket.close()
            else:
                socket.close()

    async def _follow(self, socket: WebSocketClientConnection, seconds: float, pause: float) -> None:
        await socket.write_message(json.dumps({"type": "connection_init"}))
        by_id: dict[str, Following] = {}
        for one in self.following:
            by_id[str(next(self._ids))] = one
        deadline = asyncio.get_running_loop().time() + seconds
        reading: asyncio.Future[Any] | None = None
        while True:
            reading = reading or asyncio.ensure_future(socket.read_message())
            left = deadline - asyncio.get_running_loop().time()
            await asyncio.wait({reading}, timeout=max(0.0, left))
            if left <= 0 or not reading.done():
                reading.cancel()
                for operation_id in by_id:
                    await socket.write_message(json.dumps({"type": "complete", "id": operation_id}))
                return
            text, reading = reading.result(), None
            if text is None:
                return
            message = json.loads(text)
            if message["type"] == "connection_ack":
                for operation_id, one in by_id.items():
                    await socket.write_message(
                        json.dumps({"type": "subscribe", "id": operation_id, "payload": one.payload})
                    )
            elif message["type"] == "ping":
                await socket.write_message(json.dumps({"type": "pong"}))
            elif message["type"] == "next":
                by_id[message["id"]].hear(next(iter(message["payload"]["data"].values())))
            elif message["type"] == "error":
                by_id[message["id"]].error = json.dumps(message["payload"])[:300]
            if pause:
                await asyncio.sleep(pause)


GONE = (OSError, WebSocketError, asyncio.TimeoutError)


async def long_lived(client: Client, stopping: Callable[[], bool]) -> None:
    """Follow for ever: cut now and then, and back with the cursor."""
    while not stopping():
        try:
            await client.run(random.uniform(5, 40), cut=random.random() < 0.5)
        except GONE:
            await asyncio.sleep(0.2)


async def passing(port: int, number: int) -> None:
    """Somebody who comes for a moment."""
    client = Client(port, [Following(*a_wish(number + one)) for one in range(random.randint(1, 3))])
    slow = random.random() < 0.2
    try:
        for _ in range(random.choice((1, 1, 2))):
            await client.run(random.uniform(0.1, 6), pause=0.05 if slow else 0.0, cut=random.random() < 0.5)
    except GONE:
        pass
