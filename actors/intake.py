"""Between a driver and its source: what the driver reports through, and where it waits while the source is behind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from tycostream.model import Changes, Event, SnapshotRows

INTAKE_ROWS = 20_000
"""Rows that may wait for the source before the driver is asked to wait."""


SLICE_ROWS = 2000
"""Rows that are handled before the loop has its turn: what has more takes several slices."""

TURN_EVENTS = 256
TURN_ROWS = 2000
"""What a source takes of its driver's events before others have their turn."""


class Intake:
    """One run of a driver. `wake` is called when there are events for the source to take, and it does not know that."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._events: deque[tuple[Event, int]] = deque()
        self._taken = 0
        self._awake = False
        self._left_events, self._left_rows = TURN_EVENTS, TURN_ROWS
        self._rows = 0
        self._caught_up = asyncio.Event()
        self._caught_up.set()

    def emit(self, event: Event) -> None:
        """Hand an event on. Never blocks."""
        size = len(event.changes) + 1 if event.__class__ is Changes else _size(event)
        self._rows += size
        if self._rows > INTAKE_ROWS:
            self._caught_up.clear()
        self._events.append((event, size))
        if not self._awake:
            self._awake = True
            self._wake()

    @property
    def waiting(self) -> bool:
        """Whether there are events to take."""
        return bool(self._events)

    def next(self) -> Event | list[Changes] | None:
        """The next event, or those that are next if they are changes: what is done for all of them together costs a
        third. None where there is nothing, or a turn's worth has been taken. Then it is time for `rest`."""
        events, rows = self._events, self._left_rows
        if not events or self._left_events <= 0 or rows <= 0:
            return None
        event, taken = events.popleft()
        if event.__class__ is not Changes:
            self._left_events -= 1
            self._taken, self._left_rows = taken, rows - taken
            return event
        changes: list[Any] = [event]
        most = self._left_events
        while events and len(changes) < most:
            event, size = events[0]
            if event.__class__ is not Changes or taken + size > rows:
                break
            taken += size
            changes.append(event)
            events.popleft()
        self._left_events -= len(changes)
        self._taken, self._left_rows = taken, rows - taken
        return changes

    def rest(self) -> None:
        """The source has had its turn: it is woken again for what is left."""
        self._left_events, self._left_rows = TURN_EVENTS, TURN_ROWS
        if self._events:
            self._wake()
        else:
            self._awake = False

    async def ready(self) -> None:
        """Wait until the source has handled most of what it was handed."""
        await self._caught_up.wait()

    def handled(self) -> None:
        """The source has handled what it took."""
        behind = self._rows > INTAKE_ROWS
        self._rows -= self._taken
        if behind and self._rows <= INTAKE_ROWS:
            self._caught_up.set()

    def close(self) -> None:
        """The run is over: nobody waits any more."""
        self._caught_up.set()


def _size(event: Event) -> int:
    return len(event.rows) if isinstance(event, SnapshotRows) else 1
