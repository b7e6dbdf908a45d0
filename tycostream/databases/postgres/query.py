"""Follows a view, or whatever can't be streamed, by querying it again: when a table beneath it changes, or at an
interval.

Every query is reported as a snapshot; the source sends its subscribers the difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import Ready
from tycostream.databases.fitting import key_error
from tycostream.databases.postgres.catalog import Mode, Plan, Table
from tycostream.databases.postgres.kept import History, RowMessage
from tycostream.databases.postgres.pgoutput import WireRelation
from tycostream.databases.postgres.slots import parse_lsn
from tycostream.databases.postgres.table import FETCH_ROWS, Emit, Feed
from tycostream.model import Key, Row, SnapshotComplete, SnapshotRows, SnapshotStarted, Source, Waiting

_POSITION = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
"""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between the starts of two queries: of a relation that is polled; at least, of a view."""

    poll: float
    view: float


class Watcher:
    """Hears that a table beneath a view has changed; what has changed does not matter.

    A transaction is streamed as soon as its commit is written, which is before other sessions see it: by moments, or
    for as long as a synchronous standby is waited for. So `changed` stays set until a query has shown it.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tables
        self.changed = asyncio.Event()
        self._unseen: set[int] = set()

    async def ready(self) -> None:
        """Never behind."""

    def on_start(self, _history: History | None) -> None:
        """A query shows what there was."""

    def on_progress(self, _lsn: int) -> None:
        """Of no use: the rows have no place in the stream."""

    def on_transaction(
        self, _lsn: int, _committed_at: float, _changes: Sequence[tuple[WireRelation, RowMessage]], xid: int
    ) -> None:
        """Something has changed."""
        self._unseen.add(xid)
        self.changed.set()

    def shown(self, snapshot: str) -> None:
        """A query has shown what is visible in this snapshot."""
        self._unseen = {xid for xid in self._unseen if not is_visible(xid, snapshot)}
        if self._unseen:
            self.changed.set()


def is_visible(xid: int, snapshot: str) -> bool:
    """Whether a transaction that has committed is seen in a snapshot, `xmin:xmax:those in progress` with 64-bit numbers
    (PostgreSQL documentation, "Transaction ID and Snapshot Information Functions"). `xid` are its lower 32 bits."""
    _xmin, xmax, running = snapshot.split(":")
    end = int(xmax)
    behind = (end - xid + (1 << 31)) % (1 << 32) - (1 << 31)
    return behind > 0 and str(end - behind) not in running.split(",")


async def follow_by_query(
    source: Source,
    plan: Plan,
    feed: Feed,
    parameters: ConnectionParameters,
    intervals: Intervals,
    emit: Emit,
    ready: Ready,
) -> None:
    """Run the driver of a view or of a relation that is polled: never returns, raises DatabaseError."""

    def waiting(reason: str | None) -> None:
        emit(Waiting(reason))

    if plan.mode is Mode.POLL:
        emit(Waiting(f"polled every {intervals.poll * 1000:g} ms: {plan.reason}"))
        async with opened(parameters) as connection:
            await _poll(connection, source, plan, intervals.poll, emit, ready)
    emit(Waiting(None))
    watcher = Watcher(plan.tables)
    lost = await feed.follow(watcher, waiting)
    try:
        async with opened(parameters) as connection:
            querying = asyncio.ensure_future(_requery(connection, source, plan, watcher, intervals.view, emit, ready))
            try:
                done, _ = await asyncio.wait({querying, lost}, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    ended.result()
            finally:
                querying.cancel()
                await asyncio.gather(querying, return_exceptions=True)
    finally:
        await feed.unfollow(watcher)


async def _poll(
    connection: AsyncConnection, source: Source, plan: Plan, interval: float, emit: Emit, ready: Ready
) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        started = clock()
        await query(connection, source, plan.relation, emit, ready)
        took = clock() - started
        await asyncio.sleep(max(interval - took, took, 0.0))


async def _requery(
    connection: AsyncConnection, source: Source, plan: Plan, watcher: Watcher, interval: float, emit: Emit, ready: Ready
) -> None:
    """Changes that come while a query runs lead to one more query; a slow one takes half of the time at most."""
    clock = asyncio.get_running_loop().time
    while True:
        watcher.changed.clear()
        started = clock()
        watcher.shown(await query(connection, source, plan.relation, emit, ready))
        took = clock() - started
        await asyncio.sleep(max(interval - took, took, 0.0))
        await watcher.changed.wait()


async def query(connection: AsyncConnection, source: Source, table: Table, emit: Emit, ready: Ready) -> str:
    """Report the relation's rows as one snapshot, and return PostgreSQL's own text of it. Raises DatabaseError, also
    where the key does not tell the rows apart."""
    # Read before the rows: they show at least this position
    ((position,),) = await connection.execute(_POSITION)
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in source.columns)
    await connection.execute(
        sql.SQL(
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; DECLARE rows NO SCROLL CURSOR FOR SELECT {} FROM {}"
        ).format(columns, table.identifier)
    )
    ((snapshot,),) = await connection.execute("SELECT txid_current_snapshot()")
    emit(SnapshotStarted(parse_lsn(position)))
    keys: set[Key] = set()
    while rows := await connection.execute(f"FETCH {FETCH_ROWS} FROM rows"):
        _check_keys(source, rows, keys)
        emit(SnapshotRows(rows))
        await ready()
    await connection.execute("COMMIT")
    emit(SnapshotComplete())
    return str(snapshot)


def _check_keys(source: Source, rows: list[Row], keys: set[Key]) -> None:
    new = list(map(source.key_of, rows))
    fresh = set(new)
    null = any(row[at] is None for at in source.key_positions for row in rows)
    if len(fresh) == len(new) and keys.isdisjoint(fresh) and not null:
        keys |= fresh
        return
    for row, key in zip(rows, new, strict=True):
        values = [row[at] for at in source.key_positions]
        if None in values:
            raise key_error(source, "a row has no key", values)
        if key in keys:
            raise key_error(source, "two rows have the same key", values)
        keys.add(key)
