"""Who may open one more WebSocket: so many in total, and so many from one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tornado.httputil import HTTPServerRequest

from tycostream.limits import NearLimits
from tycostream.web.client_address import Network, client_address, counted_as


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a WebSocket is not opened, as HTTP tells it."""

    status: int
    message: str


class Admission:
    """Counts the WebSockets that are open. `per_address` 0: as many as there may be in total."""

    def __init__(self, total: int, per_address: int, proxies: Sequence[Network], near: NearLimits) -> None:
        self._total = total
        self._per_address = per_address
        self._proxies = proxies
        self._near = near
        self._open: Counter[str] = Counter()
        self._count = 0

    def address_of(self, request: HTTPServerRequest) -> str:
        """The client's address."""
        return client_address(request.remote_ip or "", request.headers.get_list("X-Forwarded-For"), self._proxies)

    def refusal(self, address: str) -> Refusal | None:
        """Why a client at this address may not open one more; None where it may."""
        if self._count >= self._total:
            return Refusal(503, f"there are {self._total} connections already")
        if self._per_address and self._open[counted_as(address)] >= self._per_address:
            return Refusal(429, f"there are {self._per_address} connections from your address already")
        return None

    def entered(self, address: str) -> None:
        """A client at this address has opened one."""
        key = counted_as(address)
        self._count += 1
        self._open[key] += 1
        self._near.note("MAX_CONNECTIONS", self._count, self._total)
        self._near.note("MAX_CONNECTIONS_PER_ADDRESS", self._open[key], self._per_address, key)

    def left(self, address: str) -> None:
        """It is closed."""
        key = counted_as(address)
        self._count -= 1
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]
