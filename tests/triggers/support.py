"""A courier for a test, and what it says of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tycostream.triggers import Courier, CourierConfig, Outcome, Patience, Result, Schedule, WebhookEvent

WAIT = 10.0
QUICK = Schedule(attempts=4, least=0.002, most=0.05, max_age=60.0)
PATIENCE = Patience(connect=5.0, request=5.0)


@dataclass(eq=False)
class Told:
    """The outcomes of events, in the order they were told."""

    outcomes: list[tuple[WebhookEvent, Outcome]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: WebhookEvent, outcome: Outcome) -> None:
        self.outcomes.append((event, outcome))
        self._changed.set()

    async def until(self, number: int) -> list[Outcome]:
        """The outcomes once there are so many."""
        async with asyncio.timeout(WAIT):
            while len(self.outcomes) < number:
                self._changed.clear()
                await self._changed.wait()
        assert len({id(event) for event, _ in self.outcomes}) == len(self.outcomes), "an event was told of twice"
        return [outcome for _, outcome in self.outcomes]

    async def one(self) -> Outcome:
        (outcome,) = await self.until(1)
        return outcome

    def results(self) -> list[Result]:
        return [outcome.result for _, outcome in self.outcomes]

    def bodies(self, result: Result) -> list[bytes]:
        return [event.body for event, outcome in self.outcomes if outcome.result is result]

    def event(self, url: str, body: bytes = b"{}", key: Hashable = None, owner: Hashable = "owner") -> WebhookEvent:
        """An event whose outcome is told here; it has an order key of its own where none is given."""
        return WebhookEvent(url, body, "id", object() if key is None else key, owner, self)


@asynccontextmanager
async def couriers(tls: Any = None, look_up: Any = None, **config: Any) -> AsyncIterator[Courier]:
    """A courier that is quick to try again; closed without patience at the end."""
    courier = Courier(CourierConfig(**({"schedule": QUICK, "patience": PATIENCE} | config)), tls=tls, look_up=look_up)
    try:
        yield courier
    finally:
        async with asyncio.timeout(WAIT):
            await courier.close(0)
