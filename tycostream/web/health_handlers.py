"""/health and /ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tycostream.web.base import BaseHandler
from tycostream.web.health import ServiceStatus

Judge = Callable[[ServiceStatus], tuple[int, dict[str, Any]]]


class StatusHandler(BaseHandler):
    """What `judge` (`health` or `readiness`) says of the service."""

    def initialize(self, status: Callable[[], ServiceStatus], judge: Judge) -> None:
        self._status = status
        self._judge = judge

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write_json(*self._judge(self._status()))

    head = get
