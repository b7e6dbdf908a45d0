"""What all HTTP handlers share: one shape for errors, bounded bodies, no traces, no version in the headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tornado.web import HTTPError, RequestHandler, stream_request_body

from tycostream.errors import known
from tycostream.metrics import ClientCounts
from tycostream.metrics.clients import HTTP
from tycostream.web.http import BAD_REQUEST, error_body
from tycostream.web.json_text import dump
from tycostream.web.page import Page

MAX_HEADER_BYTES = 65536
"""Of the address and all headers of a request."""

NOT_FOUND = known("NOT_FOUND")
PAYLOAD_TOO_LARGE = known("PAYLOAD_TOO_LARGE")
INTERNAL = known("INTERNAL_SERVER_ERROR")
_CODES = {404: NOT_FOUND, 405: known("METHOD_NOT_ALLOWED"), 431: known("HEADERS_TOO_LARGE")}


@stream_request_body
class BaseHandler(RequestHandler):
    """A handler whose errors are `{"errors": [{"message", "extensions": {"code"}}]}`: see tycostream/errors.py.

    It keeps a request's body up to `max_body_bytes` and throws the rest away as it comes, so that the client is there
    to read the answer. Tornado would answer a body that is too long with an empty 400, and reset the connection.
    """

    max_body_bytes = 0

    @property
    def counts(self) -> ClientCounts:
        """Where the application counts what clients do."""
        counts: ClientCounts = self.settings["client_counts"]
        return counts

    def set_default_headers(self) -> None:
        self.set_header("Server", "tycostream")
        self.set_header("X-Content-Type-Options", "nosniff")

    def prepare(self) -> None:
        self._body = bytearray()
        self._body_bytes = 0
        headers = self.request.headers.get_all()
        if len(self.request.uri or "") + sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            raise HTTPError(431)

    def data_received(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes <= self.max_body_bytes:
            self._body += chunk

    def read_body(self) -> bytes | None:
        """The request's body; None where it was too long, which has been answered."""
        if self._body_bytes <= self.max_body_bytes:
            return bytes(self._body)
        self.write_json(413, error_body(f"the body may have {self.max_body_bytes} bytes at most", PAYLOAD_TOO_LARGE))
        return None

    def write_json(self, status: int, value: Mapping[str, Any]) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.counts.told(value.get("errors", ()), HTTP)
        self.finish(dump(value))

    def write_page(self, page: Page) -> None:
        """Answer with a page for people."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", page.policy)
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish(page.html.encode())

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.methods()))
        if status_code < 500:
            self.write_json(status_code, error_body(self._reason, _CODES.get(status_code, BAD_REQUEST)))
        else:
            self.write_json(status_code, error_body("Internal error", INTERNAL))

    def methods(self) -> list[str]:
        """The HTTP methods that are answered here."""
        return [
            name
            for name in self.SUPPORTED_METHODS
            if getattr(type(self), name.lower()) is not getattr(RequestHandler, name.lower())
        ]


class NotFoundHandler(BaseHandler):
    """Every other path."""

    def get(self) -> None:
        self.write_json(404, error_body("there is nothing here; GraphQL is at /graphql", NOT_FOUND))

    head = post = put = patch = delete = options = get

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        if status_code != 405:
            super().write_error(status_code)
        else:
            self.get()  # a method that nobody has heard of
