"""How late the event loop runs its timers: what everything that is served waits for, whatever keeps the loop."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator

from tycostream.metrics.families import FAMILIES
from tycostream.metrics.samples import Sample, sample

DELAY = "tycostream_loop_delay_seconds"

EVERY_SECONDS = 0.5


class LoopDelay:
    """Sets a timer again and again, from `start` until `stop`."""

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self._bounds = FAMILIES[DELAY].bounds
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0
        self._highest = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure from now on, on the loop that runs."""
        loop = asyncio.get_running_loop()
        self._set(loop, loop.time() + self._every)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._timer = loop.call_at(due, self._on_time, loop, due)

    def _on_time(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        now = loop.time()
        self.note(max(0.0, now - due))
        self._set(loop, now + self._every)

    def note(self, delay: float) -> None:
        """A timer was so late, in seconds."""
        self._counts[bisect_left(self._bounds, delay)] += 1
        self._total += delay
        self._highest = max(self._highest, delay)

    def samples(self) -> Iterator[Sample]:
        """What it has seen."""
        yield sample(DELAY, [*self._counts, self._total])
        yield sample("tycostream_loop_delay_highest_seconds", self._highest)
