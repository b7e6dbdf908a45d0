"""What a source's driver reports becomes the source's rows, and news for those who follow them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from itertools import islice
from typing import Any

from actors import first_rows
from actors.attempts import Attempts
from actors.intake import SLICE_ROWS, Run
from actors.source_condition import SourceCondition
from actors.source_memory import SourceMemory
from actors.source_messages import State
from actors.tap import Tap
from tycostream.model import (
    Change,
    Changes,
    Event,
    Position,
    Progress,
    ReadBy,
    Resumed,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Waiting,
)
from tycostream.views import Applied, Reload

Work = Coroutine[Any, Any, None]
"""What takes several turns of the loop. Meanwhile the source's inbox waits."""


class Ingest:
    """The source's side of a driver's run.

    `flush` tells everybody what has been noted. `serve` is called when there are rows, and they are up to date: those
    who waited for them are to have them as of this timestamp.
    """

    def __init__(
        self,
        memory: SourceMemory,
        condition: SourceCondition,
        attempts: Attempts,
        tap: Tap,
        flush: Callable[[], None],
        serve: Callable[[int], Work],
    ) -> None:
        self._memory, self._cache = memory, memory.cache
        self._condition = condition
        self._attempts = attempts
        self._tap = tap
        self._flush, self._serve = flush, serve
        self._reload: Reload | None = None
        self._relation: str | None = None
        self.reader_pid: int | None = None
        """The process that reads from the database, where there is one."""

    def stop(self) -> None:
        """The run is over. A snapshot that was being read is of no use."""
        self._reload = None
        self.reader_pid = None
        self._memory.lag.lost()

    def position(self) -> Position | None:
        """From where a driver may go on; None: it begins with a snapshot."""
        return self._memory.position or self._returning()

    def _returning(self) -> Position | None:
        return self._memory.returning(self._tap.returning())

    def event(self, event: Event) -> Work | None:
        """One of them that is no change."""
        if isinstance(event, SnapshotComplete):
            return self._finish_reload(event)
        if isinstance(event, SnapshotStarted):
            returning = self._cache.timestamp is None and self._returning() is not None
            self._reload = Reload(self._cache.source, event.timestamp, self._memory.limits.rows if returning else 0)
            self._relation = event.relation
        elif isinstance(event, Resumed):
            self._on_resumed()
        elif isinstance(event, Progress):
            self._on_progress(event)
        elif isinstance(event, SnapshotRows):
            if self._reload is not None:
                self._reload.add(event.rows)
        elif isinstance(event, ReadBy):
            self.reader_pid = event.pid
        elif isinstance(event, Waiting):
            self._on_waiting(event)
        return None

    def changes(self, run: Run) -> Work | None:
        """Transactions that came one after the other."""
        last = run[-1]
        self._tap.committed_at = last.committed_at
        self._memory.counts.changes += run.changes
        if self._reload is not None:
            for event in run:
                self._reload.hold(event.timestamp, event.changes)
            return None
        self._memory.lag.changed(last.committed_at)
        now = self._cache.timestamp
        if now is None:
            return None
        if len(run) == 1 and len(last.changes) > SLICE_ROWS:
            return self._apply_in_slices(last.changes, last.timestamp) if last.timestamp > now else None
        self._cache.timestamp = self._apply(run, now)
        return None

    def _on_resumed(self) -> None:
        self._memory.counts.resumptions += 1
        self._attempts.forget()
        self._condition.trouble = None
        self._condition.become(State.LIVE, self._condition.note)
        self._flush()
        self._tap.live()

    def _on_progress(self, event: Progress) -> None:
        self._memory.lag.known(event.closed_at)
        self._tap.closed_at = event.closed_at
        if self._reload is not None:
            self._reload.progress(event.timestamp)
        elif self._cache.timestamp is not None and event.timestamp > self._cache.timestamp:
            self._cache.timestamp = event.timestamp

    async def _finish_reload(self, event: SnapshotComplete) -> None:
        reload = self._reload
        if reload is None:
            return
        self._memory.counts.snapshots += 1
        self._condition.trouble = None
        self._tap.committed_at = None
        self._condition.announce(State.LIVE, time.time())  # with the first difference
        if self._cache.timestamp is None:
            await self._load(reload, event)
        else:
            reload.finish()
            await self._apply_in_slices(reload.differences(self._cache.rows), reload.timestamp)
        self._reload = None
        self._memory.reloaded(self._relation)
        self._attempts.forget()
        self._condition.become(State.LIVE, self._condition.note)
        await self._serve(reload.timestamp)

    async def _load(self, reload: Reload, event: SnapshotComplete) -> None:
        """The first rows."""
        since = event.since if event.past is None else None
        await first_rows.load(self._memory, reload, self._relation, since)
        self._memory.delivered()  # a successor goes on from these rows, which those who waited are now shown
        if event.past is not None and event.since is not None:
            self._memory.recall(event.past, event.since, self._relation)

    async def _apply_in_slices(self, changes: Iterable[Change], timestamp: int) -> None:
        """Apply many changes of one timestamp; the loop has its turn between slices, this actor's inbox not."""
        rest = iter(changes)
        while piece := list(islice(rest, SLICE_ROWS)):
            self._flush()
            self._apply([Changes(timestamp, piece)], timestamp - 1)
            await asyncio.sleep(0)
        self._cache.timestamp = timestamp  # the last slice is flushed with the timestamp complete
        self._flush()

    def _apply(self, run: list[Changes], after: int) -> int:
        """Apply what is later; returns the last timestamp."""
        applied = Applied()
        try:
            self._cache.apply(run, after, applied)
        except Exception:
            self._memory.undelivered.append(applied)
            raise
        self._memory.route(applied)
        self._tap.add(applied)
        return applied.timestamps[-1] if applied.timestamps else after

    def _on_waiting(self, event: Waiting) -> None:
        self._condition.note = event.reason
        self._tap.note(event.reason)
        if self._condition.state in (State.LIVE, State.CONNECTING):
            self._condition.become(self._condition.state, event.reason)
