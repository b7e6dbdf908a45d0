"""Follows a table: a copy of its rows, joined exactly with the replication stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol

from psycopg2 import sql

from tycostream.databases.connection import ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError, Ready
from tycostream.databases.postgres.catalog import Plan, Table
from tycostream.databases.postgres.kept import History, RowMessage, Transaction
from tycostream.databases.postgres.pgoutput import Delete, Insert, Truncate, Update, Values, WireRelation
from tycostream.databases.postgres.replication import Follower
from tycostream.databases.postgres.slots import column_types, create_slot, new_name
from tycostream.model import (
    UNCHANGED,
    Change,
    Changes,
    Event,
    PartialRow,
    Position,
    Progress,
    Resumed,
    Row,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
    Waiting,
)

FETCH_ROWS = 2000

HELD_ROWS = 100_000
"""Changes that are held back while a copy's position is awaited, before the stream is asked to wait."""

CATCH_UP_SECONDS = 10.0
"""How long the first rows wait for the stream to come to them, where somebody is to be told what came before."""

Emit = Callable[[Event], None]


class Feed(Protocol):
    """The shared replication stream, as a driver sees it."""

    async def follow(self, follower: Follower, waiting: Callable[[str | None], None]) -> asyncio.Future[None]:
        """Tell the follower of all that is committed from now on. The future fails with DatabaseError when the
        stream is lost. Raises DatabaseError where there is none to be had."""

    async def unfollow(self, follower: Follower) -> None:
        """Tell it no more."""


class TableFollower:
    """Turns the stream's rows of one table into the source's changes.

    Until the copy's position is known, what the stream brings is held back: what the copy shows already must not be
    applied, and what it does not show must not be lost. When too much is held, the stream is asked to wait.
    """

    def __init__(self, source: Source, table: Table, emit: Emit, ready: Ready) -> None:
        self.tables: Sequence[Table] = (table,)
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.truncated = asyncio.Event()
        self._source = source
        self._emit = emit
        self._source_ready = ready
        self._relation: WireRelation | None = None
        self._types: dict[str, int] | None = None
        self._pick: Callable[[Values], Any] = tuple
        self._history: History | None = None
        self._since: int | None = None
        """All changes after this one are reported, also those that the copy shows."""
        self._held: list[Transaction] = []
        self._held_rows = 0
        self._position_known = asyncio.Event()
        self._copying = True
        self._abandoned = False
        self._position = 0
        self._passed = 0
        self._progressed = asyncio.Event()

    def on_start(self, history: History | None) -> None:
        """What the slot tells of the past."""
        self._history = history
        for transaction in history.transactions if history is not None else ():
            self.on_transaction(*transaction)

    def on_progress(self, lsn: int) -> None:
        """The stream has come to this position."""
        self._passed = lsn
        self._progressed.set()
        if self._position_known.is_set() and not self._abandoned:
            self._emit(Progress(lsn))

    async def passed(self, lsn: int) -> None:
        """Wait until the stream has come to a position."""
        while self._passed < lsn:
            self._progressed.clear()
            await self._progressed.wait()

    def resume(self, position: Position | None) -> bool:
        """Go on from the source's position, if the slot tells of everything that came after it."""
        history = self._history
        if position is None or not position.known or history is None or history.since is None:
            return False
        if position.relation != history.relation or position.timestamp < history.since:
            return False
        self._copying = False
        self._types = history.types
        self._emit(Resumed())
        self._report_held(position.timestamp)
        return True

    async def ready(self) -> None:
        """Wait while the source is behind, or too much is held."""
        if self._held_rows > HELD_ROWS:
            await self._position_known.wait()
        await self._source_ready()

    def hold(self, *, remember: bool = False) -> None:
        """A copy is about to be made: hold back what comes. `remember`: what came before the copy is to be reported
        too, as far as it is known."""
        self._since = self._history.since if remember and self._history is not None else None
        self._copying = True
        self._position_known.clear()
        self.truncated.clear()

    def begin(self, lsn: int) -> None:
        """The copy shows the table as of this position; what was held follows."""
        self._emit(SnapshotStarted(lsn, self._relation_name))
        self._report_held(lsn)

    def _report_held(self, lsn: int) -> None:
        self._position = lsn
        self._position_known.set()
        held, self._held, self._held_rows = self._held, [], 0
        for transaction in held:
            self._report(*transaction)

    @property
    def _relation_name(self) -> str | None:
        return None if self._history is None else self._history.relation

    async def finish(self, types: dict[str, int]) -> None:
        """The copy is complete; its columns had types with these oids. Where there are changes to be told from before
        it, they have to have come."""
        if self._since is not None:
            try:
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    await self.passed(self._position)
            except TimeoutError:
                self._since = None
        self._copying = False
        self._types = types
        if self._relation is not None:
            self._compare(self._relation)
        self._emit(SnapshotComplete(self._since))
        self._since = None

    def abandon(self) -> None:
        """Nothing is wanted any more; above all, nobody may wait for this follower."""
        self._abandoned = True
        self._held, self._held_rows = [], 0
        self._position_known.set()

    def on_transaction(
        self, lsn: int, committed_at: float, changes: Sequence[tuple[WireRelation, RowMessage]], xid: int = 0
    ) -> None:
        """Report a transaction, or hold it back."""
        if self._abandoned:
            return
        if self._position_known.is_set():
            self._report(lsn, committed_at, changes)
        else:
            self._held.append((lsn, committed_at, changes, xid))
            self._held_rows += len(changes)

    def _report(
        self, lsn: int, committed_at: float, changes: Sequence[tuple[WireRelation, RowMessage]], _xid: int = 0
    ) -> None:
        """A transaction that truncated the table becomes a snapshot of what it left there."""
        shown = lsn <= self._position
        if shown and (self._since is None or lsn <= self._since):
            return
        result: list[Change] = []
        truncated = False
        try:
            for relation, message in changes:
                if relation is not self._relation:
                    self._learn(relation)
                if isinstance(message, Truncate):
                    truncated = True
                    result = []
                else:
                    self._add(message, result)
        except DatabaseError as error:
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        if truncated and shown:
            self._since = lsn  # nobody can say which rows there were
        elif not truncated:
            self._emit(Changes(lsn, result, committed_at))
        elif self._copying:
            self.truncated.set()  # the copy has to be made again
        else:
            self._emit(SnapshotStarted(lsn, self._relation_name))
            self._emit(SnapshotRows(_fold(result)))
            self._emit(SnapshotComplete())

    def _learn(self, relation: WireRelation) -> None:
        """Find the source's columns in the relation's, whose order is its own."""
        positions = []
        for column in self._source.columns:
            if column.name not in relation.columns:
                raise DatabaseError(f"column {column.name} of {relation.name} is gone", permanent=True)
            positions.append(relation.columns.index(column.name))
        # itemgetter of one position gives no tuple
        self._pick = itemgetter(*positions) if len(positions) > 1 else lambda values: (values[positions[0]],)
        missing = set(self._source.primary_key) - relation.key_columns
        if missing and relation.replica_identity != "f":
            raise DatabaseError(
                f"the replica identity of {relation.name} no longer has {', '.join(sorted(missing))}", permanent=True
            )
        self._compare(relation)
        self._relation = relation

    def _compare(self, relation: WireRelation) -> None:
        """A column of another type is one that was written anew, of which the stream tells nothing."""
        for name, type_ in zip(relation.columns, relation.types, strict=False):
            if self._types is not None and name in self._source.positions and type_ != self._types.get(name):
                raise DatabaseError(f"column {name} of {relation.name} has another type; the table is read again")

    def _add(self, message: Insert | Update | Delete, result: list[Change]) -> None:
        key_of = self._source.key_of
        pick = self._pick
        if isinstance(message, Insert):
            row = pick(message.new)
            result.append((key_of(row), row))
        elif isinstance(message, Delete):
            result.append((key_of(pick(message.old)), None))
        else:
            row = pick(message.new)
            if message.old is None:
                key = key_of(row)
                result.append((key, PartialRow(row, key) if UNCHANGED in row else row))
                return
            old = pick(message.old)
            old_key = key_of(old)
            if UNCHANGED in row:
                if message.old_is_key:
                    # A key is never so large that it is left out; the other columns come from the row before
                    result.append((key_of(row), PartialRow(row, old_key)))
                else:
                    whole = tuple(
                        before if value is UNCHANGED else value for before, value in zip(old, row, strict=True)
                    )
                    result.append((key_of(whole), whole))
            else:
                result.append((key_of(row), row))
            if result[-1][0] != old_key:
                result.append((old_key, None))


def _fold(changes: list[Change]) -> list[Row]:
    """The rows that these changes leave in an empty table."""
    rows: dict[Any, Row] = {}
    for key, change in changes:
        if change is None:
            rows.pop(key, None)
        elif isinstance(change, PartialRow):
            base = rows[change.base]
            rows[key] = tuple(
                before if value is UNCHANGED else value for before, value in zip(base, change.values, strict=True)
            )
        else:
            rows[key] = change
    return list(rows.values())


async def follow_table(
    source: Source,
    plan: Plan,
    feed: Feed,
    parameters: ConnectionParameters,
    slot_timeout: float,
    emit: Emit,
    ready: Ready,
    resume: Position | None = None,
) -> None:
    """Run a streamed table's driver: never returns, raises DatabaseError."""

    def waiting(reason: str | None) -> None:
        emit(Waiting(reason))

    emit(Waiting(None))
    follower = TableFollower(source, plan.relation, emit, ready)
    lost = await feed.follow(follower, waiting)
    remember = resume is not None and not resume.known
    try:
        while not follower.resume(resume):
            follower.hold(remember=remember)
            copy = asyncio.ensure_future(
                _copy(source, plan.relation, parameters, slot_timeout, follower, emit, ready, waiting)
            )
            remember, resume = False, None
            truncated = asyncio.ensure_future(_truncation(follower))
            try:
                done, _ = await asyncio.wait(
                    {copy, truncated, lost, follower.failed}, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                await _cancel(copy, truncated)
            for ended in done - {truncated}:
                ended.result()
            if truncated not in done:
                break
        done, _ = await asyncio.wait({lost, follower.failed}, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
    finally:
        follower.failed.cancel()
        follower.abandon()
        await feed.unfollow(follower)


async def _truncation(follower: TableFollower) -> None:
    await follower.truncated.wait()


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(
    source: Source,
    table: Table,
    parameters: ConnectionParameters,
    slot_timeout: float,
    follower: TableFollower,
    emit: Emit,
    ready: Ready,
    waiting: Callable[[str | None], None],
) -> None:
    """Copy the table's rows as of the moment that a new slot marks; later changes are counted from there."""
    async with opened(parameters) as connection:
        async with opened(parameters, replication=True) as replication:
            lsn, snapshot = await create_slot(
                replication, connection, new_name(), export=True, timeout=slot_timeout, waiting=waiting
            )
            follower.begin(lsn)
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await connection.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
        # The slot has gone with its connection; the snapshot stays with the transaction
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in source.columns)
        await connection.execute(
            sql.SQL("DECLARE rows NO SCROLL CURSOR FOR SELECT {} FROM {}").format(columns, table.identifier)
        )
        while rows := await connection.execute(f"FETCH {FETCH_ROWS} FROM rows"):
            emit(SnapshotRows(rows))
            await ready()
        types = await column_types(connection, table)
        await connection.execute("COMMIT")
        await follower.finish(types)
