"""One HTTP request on one connection of its own, which can be given up at any moment.

Tornado's own client can't: it has no way to cancel, it reads bodies to their end, it loses the status of an answer that
breaks off, and logs a traceback for one that is reset. This one stands on the same public parts (`TCPClient`,
`HTTP1Connection`). An answer counts once its head is complete; of the body a little is read, for the other side's sake,
and thrown away undecoded.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.tcpclient import TCPClient

LARGEST_HEAD = 16 * 1024
LARGEST_BODY = 64 * 1024
BODY_SECONDS = 1.0
"""How long a body may take once the head is there."""

_PARAMETERS = HTTP1ConnectionParameters(no_keep_alive=True, max_header_size=LARGEST_HEAD, max_body_size=LARGEST_BODY)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long connecting, and everything together, may take; in seconds."""

    connect: float
    request: float


class Client:
    """Sends requests, through connections that `tcp` makes; `tls` says whose certificates are trusted."""

    def __init__(self, tcp: TCPClient, patience: Patience, tls: ssl.SSLContext) -> None:
        self._tcp = tcp
        self._patience = patience
        self._tls = tls

    async def fetch(self, request: HTTPRequest) -> HTTPResponse:
        """The answer without its body, whatever its status; redirects are not followed.

        Raises OSError (TimeoutError is one) where there was no complete head of an answer, and what the resolver of
        `tcp` raises. Cancelling closes the connection.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience.request) as limit:

                def on_head() -> None:
                    limit.reschedule(min(limit.when() or 0.0, loop.time() + BODY_SECONDS))

                answer = _Answer(on_head)
                await self._exchange(request, answer)
        except TimeoutError as error:
            if not answer.complete:
                raise TimeoutError(str(error) or f"no answer within {self._patience.request:g} s") from None
        except StreamClosedError as error:
            if not answer.complete:
                raise _explained(error) from None
        if answer.line is None:
            raise OSError("what came was no answer in HTTP")
        return HTTPResponse(request, answer.line.code, answer.headers, reason=answer.line.reason)

    async def _exchange(self, request: HTTPRequest, answer: _Answer) -> None:
        parts = urlsplit(request.url)
        secure = parts.scheme == "https"
        host = parts.hostname or ""
        try:
            async with asyncio.timeout(self._patience.connect):
                stream = await self._tcp.connect(
                    host,
                    parts.port or (443 if secure else 80),
                    ssl_options=self._tls if secure else None,
                    max_buffer_size=LARGEST_HEAD + 2 * LARGEST_BODY,
                )
        except TimeoutError:
            raise TimeoutError(f"no connection within {self._patience.connect:g} s") from None
        try:
            stream.set_nodelay(True)
            connection = HTTP1Connection(stream, True, _PARAMETERS)
            body = request.body or b""
            headers = HTTPHeaders(request.headers)
            headers["Host"] = parts.netloc
            headers["Connection"] = "close"
            headers["Content-Length"] = str(len(body))
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.write_headers(RequestStartLine(request.method, path, ""), headers, body)
            connection.finish()
            await connection.read_response(answer)
        finally:
            stream.close()


def _explained(error: StreamClosedError) -> OSError:
    real = error.real_error
    if isinstance(real, OSError):
        return real
    if isinstance(real, UnsatisfiableReadError):
        return OSError(f"the head of the answer is larger than {LARGEST_HEAD} bytes")
    return OSError("the connection was closed before there was an answer")


class _Answer(HTTPMessageDelegate):
    """The head of the final answer; whatever 1xx comes before it is passed over."""

    def __init__(self, on_head: Callable[[], None]) -> None:
        self.line: ResponseStartLine | None = None
        self.headers = HTTPHeaders()
        self._on_head = on_head

    @property
    def complete(self) -> bool:
        return self.line is not None

    def headers_received(self, start_line: object, headers: HTTPHeaders) -> None:
        if isinstance(start_line, ResponseStartLine) and start_line.code >= 200:
            self.line = start_line
            self.headers = headers
            self._on_head()

    def data_received(self, chunk: bytes) -> None:
        """Thrown away."""

    def finish(self) -> None:
        """The body was read to its end."""

    def on_connection_close(self) -> None:
        """Whether a complete head was there is all that matters."""
