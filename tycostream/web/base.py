"""What all HTTP handlers share: one shape for errors, no traces, no version in the headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from tornado.web import RequestHandler

from tycostream.web.http import error_body


class BaseHandler(RequestHandler):
    """A handler whose errors are `{"errors": [{"message"}]}`."""

    def set_default_headers(self) -> None:
        self.set_header("Server", "tycostream")
        self.set_header("X-Content-Type-Options", "nosniff")

    def write_json(self, status: int, value: Mapping[str, Any]) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(orjson.dumps(value, default=str))

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        self.write_json(status_code, error_body(self._reason if status_code < 500 else "Internal error"))


class NotFoundHandler(BaseHandler):
    """Every other path."""

    def prepare(self) -> None:
        self.write_json(404, error_body("there is nothing here; GraphQL is at /graphql"))
