"""Several hosts of one database: which is tried next. One that failed is left alone for a while, longer each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 30.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; `host` may be the folder of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class _Breaker:
    failures: int = 0
    rests_until: float = 0.0


class Hosts:
    """The addresses of one database, and how they have fared. Shared by all that connect to it."""

    def __init__(self, addresses: Sequence[Address], clock: Callable[[], float] = time.monotonic) -> None:
        self._breakers = {address: _Breaker() for address in addresses}
        self._clock = clock
        self._last_good = addresses[0]

    def __str__(self) -> str:
        return ",".join(map(str, self._breakers))

    def to_try(self) -> list[Address]:
        """The addresses to try now, one after the other: the one that worked last, then the others as they are listed;
        without those that rest. Where all rest, the one that has rested for longest: somebody has to be asked."""
        now = self._clock()
        listed = sorted(self._breakers, key=lambda address: address != self._last_good)
        awake = [address for address in listed if self._breakers[address].rests_until <= now]
        return awake or [min(listed, key=lambda address: self._breakers[address].rests_until)]

    def failed(self, address: Address) -> None:
        """A connection could not be made."""
        breaker = self._breakers[address]
        breaker.failures += 1
        rest = min(LONGEST_SECONDS, SHORTEST_SECONDS * 2.0 ** min(breaker.failures - 1, 10))
        breaker.rests_until = self._clock() + rest

    def succeeded(self, address: Address) -> None:
        """A connection was made."""
        self._breakers[address] = _Breaker()
        self._last_good = address
