"""One connection to a running service, over graphql-transport-ws (rules: enisdenjo/graphql-ws, PROTOCOL.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, ObjectValueNode, parse_const_value
from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError, websocket_connect

from tycostream.settings.problems import did_you_mean

PROTOCOL = "graphql-transport-ws"
NO_SUCH_PROTOCOL = f"what answers there does not speak {PROTOCOL}"
CONNECT_SECONDS = 10.0
LEAVE_SECONDS = 1.0
PING_SECONDS = 15.0
MAX_MESSAGE_BYTES = 1 << 30

_FINAL = frozenset({1002, 4400, 4401, 4403, 4406, 4409, 4429, 4500})
"""Close codes after which coming back would end in the same way."""

_INTROSPECTION = """
query Shape($source: String!) {
  __schema { subscriptionType { fields { name type { ofType { name } } } } }
  __type(name: $source) { fields { name type { kind name ofType { kind name } } } }
}
"""


class LostError(Exception):
    """The connection is gone, or could not be made; trying again may help."""


class RefusedError(Exception):
    """The service does not accept what was asked; `reasons` has a line for each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of a source as introspection tells of it."""

    name: str
    type: str
    key: bool


def subscription(source: str, columns: Sequence[str], where: str | None) -> str:
    """The document of a subscription. Raises RefusedError where `where` is no GraphQL object."""
    condition = ""
    if where is not None:
        try:
            node = parse_const_value(where)
        except GraphQLError as error:
            raise RefusedError([f"--where: {error.message}"]) from None
        if not isinstance(node, ObjectValueNode):
            raise RefusedError(['--where: expected an object such as {symbol: {_eq: "AAPL"}}'])
        condition = f"(where: {where})"
    selected = " ".join(columns)
    return f"subscription {{ {source}{condition} {{ operation data {{ {selected} }} fields timestamp event_id }} }}"


class Client:
    """A connection that has been acknowledged. One operation at a time."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._operations = 0
        self._ended = False

    async def describe(self, source: str) -> list[SourceColumn]:
        """The columns of a source, in their order. Raises RefusedError where there is none of this name."""
        payload = {"query": _INTROSPECTION, "variables": {"source": source}}
        async with aclosing(self._results(payload)) as results:
            data = await anext(results)
        followed = data["__schema"]["subscriptionType"]
        told = followed["fields"] if followed else []  # other fields tell of many changes at once, or of no rows
        sources = [one["name"] for one in told if one["type"]["ofType"]["name"] == f"{one['name']}Update"]
        if source not in sources:
            hint = did_you_mean(source, sources) or f"; there are {', '.join(sources)}"
            raise RefusedError([f"there is no source {source}{hint}"])
        found = []
        for field in data["__type"]["fields"]:
            key = field["type"]["kind"] == "NON_NULL"
            named = field["type"]["ofType"] if key else field["type"]
            found.append(SourceColumn(field["name"], named["name"], key))
        return found

    async def updates(self, query: str) -> AsyncGenerator[dict[str, Any], None]:
        """The updates of a subscription, until the service ends it. Raises LostError, RefusedError."""
        async with aclosing(self._results({"query": query})) as results:
            async for data in results:
                (update,) = data.values()
                yield update

    async def _results(self, payload: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self._operations += 1
        operation = str(self._operations)
        await self.send({"id": operation, "type": "subscribe", "payload": payload})
        while True:
            message = await self.receive()
            if message.get("id") != operation:
                continue
            if message["type"] == "complete":
                return
            if message["type"] == "error":
                raise _failure(message["payload"])
            if errors := message["payload"].get("errors"):
                raise _failure(errors)
            yield message["payload"]["data"]

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message of the protocol. Raises LostError."""
        try:
            await self._socket.write_message(json.dumps(message))
        except (WebSocketClosedError, StreamClosedError):
            raise self._lost() from None

    async def receive(self) -> dict[str, Any]:
        """The next message that is no ping or pong. Raises LostError, RefusedError."""
        while True:
            text = await self._socket.read_message()
            if text is None:
                self._ended = True
                if self._socket.close_code in _FINAL:
                    raise RefusedError([f"the service closed the connection: {self._closed()}"])
                raise self._lost()
            try:
                message: dict[str, Any] = json.loads(text)
                kind = message["type"]
            except (ValueError, TypeError, KeyError):
                raise RefusedError([NO_SUCH_PROTOCOL]) from None
            if kind == "ping":
                await self.send({"type": "pong"})
            elif kind != "pong":
                return message

    async def leave(self) -> None:
        """Close, and let go of what still comes: Tornado reads on only while its messages are taken."""
        self._socket.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                while not self._ended:
                    self._ended = await self._socket.read_message() is None

    def _lost(self) -> LostError:
        return LostError(f"the connection was closed: {self._closed()}")

    def _closed(self) -> str:
        code, reason = self._socket.close_code, self._socket.close_reason
        return " ".join(str(part) for part in (code, reason) if part) or "without a word"


def _failure(errors: Sequence[dict[str, Any]]) -> LostError | RefusedError:
    if any(error.get("extensions", {}).get("code") == "SOURCE_UNAVAILABLE" for error in errors):
        return LostError(errors[0]["message"])
    return RefusedError([error["message"] for error in errors])


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """A client of the service at this address, closed at the end. Raises LostError, RefusedError."""
    try:
        socket = await websocket_connect(
            url,
            subprotocols=[PROTOCOL],
            connect_timeout=CONNECT_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            max_message_size=MAX_MESSAGE_BYTES,
        )
    except HTTPClientError as error:
        raise LostError(f"no WebSocket at {url}: {error}") from None
    except (OSError, StreamClosedError, WebSocketError) as error:
        raise LostError(f"can't connect to {url}: {getattr(error, 'strerror', None) or error}") from None
    client = Client(socket)
    try:
        if socket.selected_subprotocol != PROTOCOL:
            raise RefusedError([NO_SUCH_PROTOCOL])
        await client.send({"type": "connection_init"})
        if (await client.receive())["type"] != "connection_ack":
            raise RefusedError([NO_SUCH_PROTOCOL])
        yield client
    finally:
        await client.leave()
