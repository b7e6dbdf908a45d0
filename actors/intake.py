"""Between a driver and its source: what the driver reports through, and where it waits while the source is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tycostream.model import Changes, Event, SnapshotRows

INTAKE_ROWS = 20_000
"""Rows that may wait in the source's inbox before the driver is asked to wait."""


class Intake:
    """One run of a driver. `send` hands an event to the source's inbox."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._rows = 0
        self._caught_up = asyncio.Event()
        self._caught_up.set()

    def emit(self, event: Event) -> None:
        """Hand an event on. Never blocks."""
        self._rows += _size(event)
        if self._rows > INTAKE_ROWS:
            self._caught_up.clear()
        self._send(event)

    async def ready(self) -> None:
        """Wait until the source has handled most of what it was handed."""
        await self._caught_up.wait()

    def handled(self, event: Event) -> None:
        """The source has handled an event."""
        self._rows -= _size(event)
        if self._rows <= INTAKE_ROWS:
            self._caught_up.set()

    def close(self) -> None:
        """The run is over: nobody waits any more."""
        self._caught_up.set()


def _size(event: Event) -> int:
    if isinstance(event, Changes):
        return len(event.changes) + 1
    return len(event.rows) if isinstance(event, SnapshotRows) else 1
