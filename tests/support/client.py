"""A GraphQL client over either WebSocket protocol that replays what a subscription is told, and judges it as it goes."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.support.long import LONG

WAIT_SECONDS = 240.0 if LONG else 20.0


@dataclass(frozen=True)
class Words:
    """How a protocol calls what both have."""

    protocol: str
    start: str
    stop: str
    result: str


TRANSPORT_WS = Words("graphql-transport-ws", "subscribe", "complete", "next")
LEGACY_WS = Words("graphql-ws", "start", "stop", "data")
BOTH = {words.protocol: words for words in (TRANSPORT_WS, LEGACY_WS)}


@dataclass(eq=False)
class ClientSubscription:
    """The rows of one subscription as its client knows them, by key. `states` are the rows after each timestamp."""

    key_fields: tuple[str, ...]
    keep_states: bool = False
    rows: dict[Any, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    completed: bool = False
    timestamp: int = 0
    states: list[tuple[int, dict[Any, dict[str, Any]]]] = field(default_factory=list)

    def hear(self, message: dict[str, Any]) -> None:
        """One protocol message for this subscription."""
        if message["type"] == "error":
            payload = message["payload"]
            self.errors = payload if isinstance(payload, list) else payload.get("errors", [payload])
        elif message["type"] == "complete":
            self.completed = True
        else:
            assert "errors" not in message["payload"], message
            (update,) = message["payload"]["data"].values()
            self.messages.append(update)
            self._replay(update)

    def _replay(self, update: dict[str, Any]) -> None:
        timestamp = int(update["timestamp"])
        assert timestamp >= self.timestamp, "timestamps went backwards"
        if self.keep_states and timestamp > self.timestamp and self.timestamp:
            self.states.append((self.timestamp, {key: dict(row) for key, row in self.rows.items()}))
        self.timestamp = timestamp
        data = update["data"]
        key = tuple(data[name] for name in self.key_fields)
        if update["operation"] == "INSERT":
            assert key not in self.rows, f"{key} inserted twice"
            self.rows[key] = data
        elif update["operation"] == "UPDATE":
            self.rows[key] |= {name: data[name] for name in update["fields"] if name in data}
        else:
            assert all(data[name] is None for name in data if name not in self.key_fields), data
            del self.rows[key]


class GraphQLClient:
    """One WebSocket. Read by a task of its own; `until` waits for what the caller wants to see."""

    def __init__(self, socket: WebSocketClientConnection, words: Words = TRANSPORT_WS) -> None:
        self.words = words
        self._socket = socket
        self._ids = itertools.count(1)
        self._subscriptions: dict[str, ClientSubscription] = {}
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._changed = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())
        self.acknowledged = False
        self.keep_alives = 0
        self.connection_errors: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.close_reason: str | None = None

    async def _read(self) -> None:
        while (text := await self._socket.read_message()) is not None:
            message = json.loads(text)
            if message["type"] == "connection_ack":
                self.acknowledged = True
            elif message["type"] == "ping":
                await self.send({"type": "pong"})
            elif message["type"] == "ka":
                self.keep_alives += 1
            elif message["type"] == "connection_error":
                self.connection_errors.append(message["payload"])
            elif message["id"] in self._subscriptions:
                self._subscriptions[message["id"]].hear(message)
            elif message["id"] in self._listeners:
                self._listeners[message["id"]](message)
            async with self._changed:
                self._changed.notify_all()
        self.close_code, self.close_reason = self._socket.close_code, self._socket.close_reason
        async with self._changed:
            self._changed.notify_all()

    async def send(self, message: dict[str, Any]) -> None:
        """Send any protocol message."""
        await self._socket.write_message(json.dumps(message))

    async def initialise(self) -> None:
        """connection_init and its acknowledgement."""
        await self.send({"type": "connection_init"})
        await self.until(lambda: self.acknowledged)

    async def subscribe(
        self,
        query: str,
        key: tuple[str, ...] = ("id",),
        variables: dict[str, Any] | None = None,
        *,
        keep_states: bool = False,
    ) -> ClientSubscription:
        """Start a subscription; the query must select operation, data with the key, fields and timestamp."""
        operation_id = str(next(self._ids))
        subscription = self._subscriptions[operation_id] = ClientSubscription(key, keep_states)
        await self.start(operation_id, {"query": query, "variables": variables})
        return subscription

    async def start(self, operation_id: str, payload: dict[str, Any]) -> None:
        """Start an operation of the caller's own; see `on_message`."""
        await self.send({"id": operation_id, "type": self.words.start, "payload": payload})

    def on_message(self, operation_id: str, listener: Callable[[dict[str, Any]], None]) -> None:
        """Hand the messages of an operation that was started with `start` or `send` to a function."""
        self._listeners[operation_id] = listener

    def owns(self, subscription: ClientSubscription) -> bool:
        """Whether the subscription is this client's."""
        return any(one is subscription for one in self._subscriptions.values())

    async def complete(self, subscription: ClientSubscription) -> None:
        """End a subscription."""
        for operation_id, one in list(self._subscriptions.items()):
            if one is subscription:
                del self._subscriptions[operation_id]
                await self.send({"id": operation_id, "type": self.words.stop})

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that the server sends makes the condition true, if only for a moment."""
        met = False

        def ended() -> bool:
            nonlocal met
            met = met or bool(condition())
            return met or self._reader.done()

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(ended), WAIT_SECONDS)
        if self._reader.done():
            self._reader.result()
        assert met, f"the connection was closed: {self.close_code} {self.close_reason}"

    async def closed(self) -> tuple[int | None, str | None]:
        """Wait for the server to close the connection."""
        await asyncio.wait_for(self._reader, WAIT_SECONDS)
        return self.close_code, self.close_reason

    @property
    def ended(self) -> asyncio.Future[None]:
        """Is done when the connection is gone, with the error of a listener that did not bear what it heard."""
        return self._reader

    async def close(self) -> None:
        """Leave."""
        self._socket.close()
        await asyncio.wait_for(asyncio.shield(self._reader), WAIT_SECONDS)


@asynccontextmanager
async def connected(
    port: int,
    *,
    initialise: bool = True,
    protocol: str = TRANSPORT_WS.protocol,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[GraphQLClient]:
    """A client of the service on this machine's port, over the protocol of this name."""
    request = HTTPRequest(f"ws://127.0.0.1:{port}/graphql", headers=headers)
    socket = await websocket_connect(request, subprotocols=[protocol], max_message_size=100_000_000)
    assert socket.selected_subprotocol == protocol
    client = GraphQLClient(socket, BOTH[protocol])
    try:
        if initialise:
            await client.initialise()
        yield client
    finally:
        await client.close()
