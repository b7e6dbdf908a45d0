"""`/metrics`: the numbers of all processes, for Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tycostream.metrics import Told, exposition
from tycostream.web.base import BaseHandler

CollectMetrics = Callable[[], Awaitable[Told]]
"""What each process tells of itself."""


class MetricsHandler(BaseHandler):
    """In OpenMetrics or Prometheus's text format, as the Accept header has it. It answers everybody, like /health:
    there is nothing of rows, filters or addresses in it."""

    def initialize(self, metrics: CollectMetrics) -> None:
        self._metrics = metrics

    async def get(self) -> None:
        told = await self._metrics()
        content_type, body = await exposition(told, self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", content_type)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Accept")
        self.finish(body)

    head = get
