"""`/graphql`: a WebSocket where the client asks for one, GraphQL over HTTP otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from tornado.httputil import HTTPHeaders
from tornado.websocket import WebSocketHandler, WebSocketProtocol13

from tycostream.errors import known
from tycostream.graphql import Engine
from tycostream.metrics.clients import HTTP, NO_CODE
from tycostream.web.admission import Admission
from tycostream.web.base import BaseHandler
from tycostream.web.close_codes import CloseCode, fit_reason
from tycostream.web.cors import cors_headers
from tycostream.web.debug import is_local
from tycostream.web.http import Answer, answer_get, answer_post, error_body
from tycostream.web.page import Page
from tycostream.web.subprotocols import select_protocol
from tycostream.web.transport import ConnectionInfo, SocketTransport
from tycostream.web.websocket import PatientProtocol

TOO_MANY_CONNECTIONS = known("TOO_MANY_CONNECTIONS")
HANDSHAKE_REFUSED = known("HANDSHAKE_REFUSED")


class Inbox(Protocol):
    """Where a socket's frames go."""

    def received(self, text: str) -> Awaitable[None] | None:
        """A text frame. While what is returned is not done, no more is read from the socket."""

    def closed(self, code: int | None, reason: str | None) -> None:
        """The socket is gone."""


OpenConnection = Callable[[SocketTransport, ConnectionInfo], Inbox]


@dataclass(eq=False, slots=True)
class SocketRules:
    """Who may open a WebSocket. `origins` is empty where any page may. `debug_open`: everybody may see what the debug
    pages show."""

    origins: frozenset[str]
    admission: Admission
    debug_open: bool


class SpelledHeaders(HTTPHeaders):
    """Writes the protocol's header as RFC 6455 spells it: Python's gql client looks for exactly that, and Tornado would
    write Sec-Websocket-Protocol."""

    def get_all(self) -> Iterable[tuple[str, str]]:
        return [(name.replace("Sec-Websocket-", "Sec-WebSocket-"), value) for name, value in super().get_all()]


class GraphQLHandler(WebSocketHandler, BaseHandler):
    """A client's WebSocket until it is handed to its connection; or one request over HTTP."""

    def initialize(
        self, engine: Engine, rules: SocketRules, open_connection: OpenConnection, page: Page | None, max_body: int
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._open_connection = open_connection
        self._page = page
        self.max_body_bytes = max_body
        self._inbox: Inbox | None = None
        self._address = ""
        self._transport: SocketTransport | None = None
        self._connection: PatientProtocol | None = None
        self._protocol: str | None = None

    # HTTP

    def prepare(self) -> None:
        self._open_to_pages()
        super().prepare()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self._open_to_pages()
        super().write_error(status_code, **kwargs)

    def _open_to_pages(self) -> None:
        methods, origins = ", ".join(self.methods()), self._rules.origins
        cors = cors_headers(self.request.headers, methods, origins, ui=self._page is not None)
        for name, value in cors.items():
            self.set_header(name, value)

    def options(self) -> None:
        self.set_status(204)
        self.set_header("Allow", ", ".join(self.methods()))
        self.finish()

    async def post(self) -> None:
        body = self.read_body()
        if body is not None:
            headers = self.request.headers
            content_type, accept = headers.get("Content-Type", ""), headers.get("Accept", "")
            self._answer(await answer_post(self._engine, content_type, accept, body))

    async def get(self, *args: Any, **kwargs: Any) -> None:
        accept = self.request.headers.get("Accept", "")
        if self.request.method == "GET" and self.request.headers.get("Upgrade", "").lower() == "websocket":
            await self._upgrade(*args, **kwargs)
        elif self._page is not None and "text/html" in accept and not self.request.query:
            self.write_page(self._page)
        else:
            self._answer(await answer_get(self._engine, self.request.query_arguments, accept))

    head = get

    def _answer(self, answer: Answer) -> None:
        if answer.operation is not None:
            self.counts.operations[answer.operation, HTTP] += 1
        self.counts.told(answer.errors, HTTP)
        self.set_status(answer.status)
        self.set_header("Content-Type", answer.content_type)
        self.set_header("Cache-Control", "no-store")
        self.add_header("Vary", "Accept")
        if answer.allow is not None:
            self.set_header("Allow", answer.allow)
        self.finish(answer.body)

    # WebSocket

    async def _upgrade(self, *args: Any, **kwargs: Any) -> None:
        self._address = self._rules.admission.address_of(self.request)
        if (refusal := self._rules.admission.refusal(self._address)) is not None:
            self.set_header("Retry-After", "5")
            self.write_json(refusal.status, error_body(refusal.message, TOO_MANY_CONNECTIONS))
            return
        await super().get(*args, **kwargs)

    def finish(self, chunk: str | bytes | dict[Any, Any] | None = None) -> Any:
        if isinstance(chunk, str):  # Tornado's words for a handshake that it refuses
            return self.write_json(self.get_status(), error_body(chunk, HANDSHAKE_REFUSED))
        return super().finish(chunk)

    def check_origin(self, origin: str) -> bool:
        return not self._rules.origins or origin.lower() in self._rules.origins

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        self._protocol = select_protocol(subprotocols)
        self._headers = SpelledHeaders(self._headers)
        return self._protocol

    def get_websocket_protocol(self) -> PatientProtocol | None:
        protocol = super().get_websocket_protocol()
        return PatientProtocol(self, False, protocol.params) if isinstance(protocol, WebSocketProtocol13) else None

    def open(self, *_args: str, **_kwargs: str) -> None:
        self._rules.admission.entered(self._address)
        self.counts.opened += 1
        connection = self.ws_connection
        assert isinstance(connection, PatientProtocol)
        self._connection = connection
        if self._protocol is None:
            self._shut(CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE.reason)
            return
        self._transport = SocketTransport(connection.stream, self._shut, connection.progressed, self.counts)
        connection.written = self._transport.wait_for
        connection.closing = self._transport.abandon
        agent = self.request.headers.get("User-Agent")
        debugs = self._rules.debug_open or is_local(self.request)
        info = ConnectionInfo(self._address, self._protocol, agent, debugs)
        self._forget_request()
        try:
            self._inbox = self._open_connection(self._transport, info)
        except Exception:
            self.on_connection_close()  # Tornado ends the connection, but tells nobody
            raise

    def _forget_request(self) -> None:
        """Let go of what is of no use for as long as the client stays: a fifth of what an idle one takes."""
        self.request.headers = HTTPHeaders()
        self.request.connection = None
        self.request.server_connection = None

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        if self._inbox is None:
            return None
        if isinstance(message, bytes):
            assert self._transport is not None
            self._transport.close(
                CloseCode.BAD_REQUEST, "Invalid message: only text frames of valid UTF-8 are understood"
            )
            return None
        return self._inbox.received(message)

    def on_close(self) -> None:
        self._rules.admission.left(self._address)
        self._count_end()
        if self._transport is not None:
            self._transport.abandon()
            self._transport = None
        if self._inbox is not None:
            self._inbox.closed(self.close_code, self.close_reason)
            self._inbox = None

    def _count_end(self) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        theirs = self.close_code or (NO_CODE if connection.client_closed else None)
        self.counts.left(connection.closed_with, theirs)

    def on_connection_close(self) -> None:
        if self.get_status() == 101:
            super().on_connection_close()
        else:  # WebSocketHandler's knows nothing of requests that are cut off
            BaseHandler.on_connection_close(self)

    def _shut(self, code: int, reason: str) -> None:
        self.close(code, fit_reason(reason))
