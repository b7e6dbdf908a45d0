"""A source's first rows. Those who come back after a restart are told what they missed, where the database tells of the
changes that led to these rows."""

from __future__ import annotations

import asyncio

from actors.intake import SLICE_ROWS
from actors.source_memory import SourceMemory
from tycostream.model import Change, Changes
from tycostream.views import Applied, Delta, Reload


async def load(memory: SourceMemory, reload: Reload, relation: str | None, since: int | None) -> None:
    """Take the rows for the source's first. `since`: all changes after this time have been reported (see
    `SnapshotComplete`). The loop has its turn between slices."""
    history = reload.history
    if since is None or history is None:
        reload.finish()
        memory.cache.load(reload.rows, reload.timestamp)
        return
    memory.cache.load(reload.rows, reload.snapshot_timestamp)
    recent = memory.recent
    recent.start(relation, since)
    rows = 0
    for timestamp, changes in history:
        if timestamp <= since:
            continue
        shown = timestamp <= reload.snapshot_timestamp
        recent.recall(_shown(memory, changes) if shown else _applied(memory, changes), timestamp)
        rows += len(changes)
        if rows > SLICE_ROWS:
            rows = 0
            await asyncio.sleep(0)
    memory.cache.timestamp = reload.timestamp
    recent.settle(reload.timestamp)


def _shown(memory: SourceMemory, changes: list[Change]) -> list[Delta]:
    """Changes that the rows show already: which rows they replaced is not known."""
    rows = memory.cache.rows
    return [memory.recent.unseen(key, rows.get(key)) for key, _change in changes]


def _applied(memory: SourceMemory, changes: list[Change]) -> list[Delta]:
    applied = Applied()
    memory.cache.apply([Changes(0, changes)], -1, applied)
    return [delta for deltas, _timestamp, _since in applied.by_timestamp(None) for delta in deltas]
