"""/health and /ready."""

from __future__ import annotations

from collections.abc import Callable

from tycostream.web.base import BaseHandler
from tycostream.web.health import ServiceStatus, health, readiness


class HealthHandler(BaseHandler):
    """What `health` says of the service."""

    def initialize(self, status: Callable[[], ServiceStatus]) -> None:
        self._status = status

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write_json(*health(self._status()))


class ReadyHandler(HealthHandler):
    """What `readiness` says of it."""

    def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write_json(*readiness(self._status()))
