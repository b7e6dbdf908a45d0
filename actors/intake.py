"""Between a driver and its source: what the driver reports through, and where it waits while the source is behind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tycostream.model import Changes, Event, SnapshotRows

INTAKE_ROWS = 20_000
"""Rows that may wait for the source before the driver is asked to wait."""


SLICE_ROWS = 2000
"""Rows that are handled before the loop has its turn: what has more takes several slices."""

TURN_EVENTS = 256
TURN_ROWS = 2000
"""What a source takes of its driver's events before others have their turn."""


class Run(list[Changes]):
    """Transactions that came one after the other: a turn's worth at most, or a single one. `weight`: in rows, and each
    transaction counts as one too."""

    __slots__ = ("weight",)

    def __init__(self, first: Changes, weight: int) -> None:
        self.append(first)
        self.weight = weight

    @property
    def changes(self) -> int:
        """Of all transactions."""
        return self.weight - len(self)


class Intake:
    """One run of a driver. `wake` is called when there are events for the source to take, and it does not know that."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._events: deque[Event | Run] = deque()
        self._growing: Run | None = None
        """The last of them, where it is a run."""
        self._awake = False
        self._left_events, self._left_rows = TURN_EVENTS, TURN_ROWS
        self._caught_up = asyncio.Event()
        self._caught_up.set()

    def emit(self, event: Event) -> None:
        """Hand an event on. Never blocks."""
        if event.__class__ is Changes:
            weight = len(event.changes) + 1
            run = self._growing
            if run is not None and run.weight + weight <= TURN_ROWS and len(run) < TURN_EVENTS:
                run.append(event)
                run.weight += weight
                return  # the source knows that there is something to take
            self._growing = Run(event, weight)
            self._events.append(self._growing)
        else:
            self._growing = None
            self._events.append(event)
        if not self._awake:
            self._awake = True
            self._wake()

    @property
    def waiting(self) -> bool:
        """Whether there are events to take."""
        return bool(self._events)

    def next(self) -> Event | Run | None:
        """The next event, or those that are next if they are changes: what is done for all of them together costs a
        third. None where there is nothing, or a turn's worth has been taken. Then it is time for `rest`."""
        events = self._events
        if not events:
            return None
        event = events[0]
        count, weight = len(event) if event.__class__ is Run else 1, _weight(event)
        left = self._left_rows
        if left < TURN_ROWS and (weight > left or count > self._left_events):
            return None
        events.popleft()
        if not events:
            self._growing = None
        self._left_events -= count
        self._left_rows = left - weight
        return event

    def rest(self) -> None:
        """The source has had its turn: it is woken again for what is left."""
        self._left_events, self._left_rows = TURN_EVENTS, TURN_ROWS
        if self._events:
            self._wake()
        else:
            self._awake = False
        if not self._caught_up.is_set() and self._unhandled <= INTAKE_ROWS:
            self._caught_up.set()

    @property
    def _unhandled(self) -> int:
        """Rows that wait, or have been taken in this turn, which may be a long one."""
        return sum(map(_weight, self._events)) + TURN_ROWS - self._left_rows

    async def ready(self) -> None:
        """Wait until the source has handled most of what it was handed."""
        if self._unhandled > INTAKE_ROWS:
            self._caught_up.clear()
        await self._caught_up.wait()

    def close(self) -> None:
        """The run is over: nobody waits any more."""
        self._caught_up.set()


def _weight(event: Event | Run) -> int:
    """In rows; what has none counts as one."""
    if isinstance(event, Run):
        return event.weight
    return max(1, len(event.rows)) if isinstance(event, SnapshotRows) else 1
