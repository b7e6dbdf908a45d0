"""Receivers of webhooks on real sockets: one that answers as it is told, and one that breaks the rules of HTTP."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

WAIT = 10.0


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    uri: str
    headers: HTTPHeaders
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to answer; once `gate` is set, where there is one."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    gate: asyncio.Event | None = None


Script = Callable[[Received], Answer]


@dataclass(eq=False)
class Recorder:
    """Requests in the order they came, and how many there were at one time."""

    port: int = 0
    scheme: str = "http"
    requests: list[Received] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    @property
    def bodies(self) -> list[bytes]:
        return [one.body for one in self.requests]

    async def until(self, number: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(WAIT), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= number)

    async def began(self, request: Received) -> None:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        async with self._changed:
            self._changed.notify_all()

    def ended(self) -> None:
        self.in_flight -= 1


@dataclass(eq=False)
class Receiver(Recorder):
    """Answers what `script` says, 200 without one."""

    script: Script = lambda _request: Answer()


class _Handler(RequestHandler):
    SUPPORTED_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")

    def initialize(self, receiver: Receiver) -> None:
        self.receiver = receiver

    async def prepare(self) -> None:
        request: HTTPServerRequest = self.request
        received = Received(request.method or "", request.uri or "", request.headers, request.body)
        await self.receiver.began(received)
        try:
            answer = self.receiver.script(received)
            if answer.gate is not None:
                await answer.gate.wait()
        finally:
            self.receiver.ended()
        self.set_status(answer.status)
        self.clear_header("Content-Type")
        for name, value in answer.headers:
            self.add_header(name, value)
        if answer.body:
            self.write(answer.body)
        await self.finish()

    def compute_etag(self) -> str | None:
        return None


@asynccontextmanager
async def receiving(script: Script | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port of 127.0.0.1; every connection is gone at the end."""
    receiver = Receiver(scheme="https" if tls else "http")
    if script is not None:
        receiver.script = script
    (bound,) = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    receiver.port = bound.getsockname()[1]
    server = HTTPServer(
        Application([(".*", _Handler, {"receiver": receiver})], log_function=lambda _: None), ssl_options=tls
    )
    server.add_sockets([bound])
    try:
        yield receiver
    finally:
        server.stop()
        await server.close_all_connections()


class Wire:
    """One connection of a client to the breaker, its request read up to the head."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection off with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the client has closed the connection."""
        async with asyncio.timeout(WAIT):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass


Fault = Callable[[Wire, Received], Awaitable[None]]


@dataclass(eq=False)
class Breaker(Recorder):
    """Does to each connection what `fault` says. With `reads_body` false it has read the head alone by then."""

    fault: Fault | None = None
    reads_body: bool = True


@asynccontextmanager
async def breaking(fault: Fault, *, reads_body: bool = True) -> AsyncIterator[Breaker]:
    """A breaker on a free port of 127.0.0.1; every connection is gone at the end."""
    breaker = Breaker(fault=fault, reads_body=reads_body)
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, _, rest = head.partition("\r\n")
            method, uri, _version = line.split(" ")
            headers = HTTPHeaders.parse(rest)
            body = await reader.readexactly(int(headers["Content-Length"])) if breaker.reads_body else b""
            received = Received(method, uri, headers, body)
            await breaker.began(received)
            try:
                assert breaker.fault is not None
                await breaker.fault(Wire(reader, writer), received)
            finally:
                breaker.ended()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    breaker.port = server.sockets[0].getsockname()[1]
    try:
        yield breaker
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def certificates(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate for these names, and a client's side that trusts who made it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def refusing() -> AsyncIterator[int]:
    """A port of 127.0.0.1 where connections are refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
