"""A real server with a real engine over one small source; raw and recording ends for its sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tycostream.filters import Filter
from tycostream.graphql import Engine, Limits, SubscriptionPlan
from tycostream.metrics import ClientCounts, Told
from tycostream.model import Catalog, Column, ColumnType, Relation, Row, Source
from tycostream.web.application import Services, WebConfig, listen, make_application
from tycostream.web.close_codes import CloseCode
from tycostream.web.health import ServiceStatus, SourceStatus
from tycostream.web.protocol import Request
from tycostream.web.transport import ConnectionInfo, SocketTransport

WAIT = 10.0
PROTOCOL = "graphql-transport-ws"
LEGACY = "graphql-ws"

TRADES = Source(
    "trades",
    Relation("trades"),
    (Column("id", ColumnType.INTEGER), Column("symbol", ColumnType.STRING), Column("price", ColumnType.FLOAT)),
    ("id",),
)


class Shelf:
    """The source's rows."""

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002
        return [row for row in [("1", "ACME", "2.5")] if filter.matches(row)]


def engine() -> Engine:
    return Engine(Catalog({"trades": TRADES}, {}), Limits(), Shelf())


@dataclass(eq=False)
class RecordingPeer:
    """What the protocol did to its socket, and what it asked to be carried out."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    closed: tuple[CloseCode, str] | None = None
    started: list[tuple[str, Request]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    errors: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self, text: str) -> None:
        assert self.closed is None, "sent after the close"
        self.sent.append(json.loads(text))

    def close(self, code: CloseCode, reason: str | None = None) -> None:
        assert self.closed is None, "closed twice"
        self.closed = code, code.reason if reason is None else reason

    def told(self, errors: Sequence[Mapping[str, Any]]) -> None:
        self.errors += errors

    def start_operation(self, operation_id: str, request: Request) -> None:
        self.started.append((operation_id, request))

    def stop_operation(self, operation_id: str) -> None:
        self.stopped.append(operation_id)


@dataclass(eq=False)
class RecordingInbox:
    """The actor's side of one socket. `busy`: what `received` returns."""

    transport: SocketTransport
    info: ConnectionInfo
    texts: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    end: asyncio.Future[tuple[int | None, str | None]] = field(default_factory=asyncio.Future)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    busy: Awaitable[None] | None = None

    def __post_init__(self) -> None:
        self.transport.on_drained = self.drained.set

    def received(self, text: str) -> Awaitable[None] | None:
        self.texts.put_nowait(text)
        return self.busy

    def closed(self, code: int | None, reason: str | None) -> None:
        self.end.set_result((code, reason))

    async def text(self) -> str:
        return await asyncio.wait_for(self.texts.get(), WAIT)

    async def ended(self) -> tuple[int | None, str | None]:
        return await asyncio.wait_for(asyncio.shield(self.end), WAIT)


@dataclass(eq=False)
class Server:
    """A running server. `inboxes` gets one for each WebSocket that is opened."""

    port: int = 0
    inboxes: asyncio.Queue[RecordingInbox] = field(default_factory=asyncio.Queue)
    open: list[RecordingInbox] = field(default_factory=list)
    status: ServiceStatus = ServiceStatus(True, (SourceStatus("trades", "LIVE", None, 1.0),))
    actors: list[dict[str, Any]] = field(default_factory=list)
    views: dict[str, Any] = field(default_factory=dict)
    refuse: Exception | None = None
    counts: ClientCounts = field(default_factory=ClientCounts)

    def open_connection(self, transport: SocketTransport, info: ConnectionInfo) -> RecordingInbox:
        if self.refuse is not None:
            raise self.refuse
        inbox = RecordingInbox(transport, info)
        self.open.append(inbox)
        self.inboxes.put_nowait(inbox)
        return inbox

    async def list_actors(self, kind: str | None, urn: str | None) -> list[dict[str, Any]]:
        return [one for one in self.actors if kind in (None, one["kind"]) and urn in (None, one["urn"])]

    async def metrics(self) -> Told:
        return {"service": list(self.counts.samples()), "worker 1": None}

    async def inbox(self) -> RecordingInbox:
        return await asyncio.wait_for(self.inboxes.get(), WAIT)

    async def fetch(self, path: str, **options: Any) -> HTTPResponse:
        url = f"http://127.0.0.1:{self.port}{path}"
        return await AsyncHTTPClient().fetch(url, raise_error=False, **options)


@dataclass(frozen=True)
class _Explains:
    server: Server

    async def views(self, source: str | None) -> dict[str, Any]:
        return {name: told for name, told in self.server.views.items() if source in (None, name)}

    async def subscription(self, plan: SubscriptionPlan) -> dict[str, Any]:
        return {"source": plan.source.name, "filter": plan.filter.to_json()}


@asynccontextmanager
async def serving(config: WebConfig | None = None, of: Engine | None = None) -> AsyncIterator[Server]:
    """A server on a free port; every socket is gone at the end."""
    server = Server()
    config = config or WebConfig()
    services = Services(
        of or engine(),
        server.open_connection,
        lambda: server.status,
        server.list_actors,
        _Explains(server),
        server.metrics,
        server.counts,
    )
    http, server.port = listen(make_application(services, config), config, 0, "127.0.0.1")
    try:
        yield server
    finally:
        for inbox in server.open:
            inbox.transport.close(CloseCode.GOING_AWAY, "")
            await inbox.ended()
        http.stop()
        await http.close_all_connections()
        AsyncHTTPClient().close()


@dataclass(frozen=True)
class Frame:
    """A frame as it came over the wire."""

    opcode: int
    payload: bytes
    final: bool = True

    @property
    def close(self) -> tuple[int, str]:
        assert self.opcode == 8, self
        return struct.unpack("!H", self.payload[:2])[0], self.payload[2:].decode()


class RawClient:
    """A WebSocket client that sends whatever it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def handshake(self, **headers: str | None) -> tuple[int, str]:
        """Ask for the upgrade; status and head (and the body where it is refused). A header of None is left out."""
        wanted: dict[str, str | None] = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": PROTOCOL,
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
        self.writer.write("\r\n".join(["GET /graphql HTTP/1.1", *lines, "", ""]).encode())
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT)).decode()
        status = int(head.split()[1])
        for line in head.lower().split("\r\n") if status != 101 else ():
            if line.startswith("content-length:"):
                head += (await self.reader.readexactly(int(line.split(":")[1]))).decode()
        return status, head

    def send(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        final: bool = True,
        claim: int | None = None,
        reserved: int = 0,
        masked: bool = True,
    ) -> None:
        """A frame; `claim` is the length that its header tells instead of the true one, `reserved` its RSV bits."""
        length = len(payload) if claim is None else claim
        mask = os.urandom(4) if masked else b""
        head = bytes([(0x80 if final else 0) | reserved | opcode])
        if length < 126:
            head += bytes([0x80 * masked | length])
        elif length < 65536:
            head += struct.pack("!BH", 0x80 * masked | 126, length)
        else:
            head += struct.pack("!BQ", 0x80 * masked | 127, length)
        if masked:
            stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
            payload = (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(len(payload))
        self.writer.write(head + mask + payload)

    def text(self, text: str) -> None:
        self.send(1, text.encode())

    async def frame(self) -> Frame:
        return await asyncio.wait_for(self._frame(), WAIT)

    async def _frame(self) -> Frame:
        first, second = await self.reader.readexactly(2)
        assert not second & 0x80, "a server's frames are not masked"
        length = second
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return Frame(first & 0x0F, await self.reader.readexactly(length), bool(first & 0x80))

    async def eof(self, within: float = WAIT) -> bytes:
        """What the server still sends before it ends the connection."""
        return await asyncio.wait_for(self.reader.read(-1), within)


@asynccontextmanager
async def raw(
    port: int, *, upgraded: bool = True, limit: int = 2**16, protocol: str = PROTOCOL
) -> AsyncIterator[RawClient]:
    """A connection to the server, upgraded or fresh."""
    client = RawClient(*await asyncio.open_connection("127.0.0.1", port, limit=limit))
    try:
        if upgraded:
            status, head = await client.handshake(Sec_WebSocket_Protocol=protocol)
            assert status == 101, head
        yield client
    finally:
        client.writer.transport.abort()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition is true."""
    async with asyncio.timeout(WAIT):
        while not condition():  # no event marks it
            await asyncio.sleep(0)
