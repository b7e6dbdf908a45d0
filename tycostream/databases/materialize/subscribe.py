"""Follows a relation through SUBSCRIBE."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection, ConnectionParameters
from tycostream.databases.driver import DatabaseError, Ready
from tycostream.databases.materialize.catalog import examine, identifier, identify
from tycostream.databases.materialize.errors import explained, unreadable
from tycostream.databases.materialize.reading import Reading, through_cursor, through_process
from tycostream.databases.materialize.result import Run, columns_of
from tycostream.databases.materialize.timeline import Timeline
from tycostream.model import Event, Position, ReadBy, Source, Waiting

log = logging.getLogger("tycostream.materialize")

CONSTANT_SECONDS = 60.0
"""How long the rows of a relation that can't change are kept before they are read again: it may have been replaced."""

EARLIER = 30_000
"""Milliseconds: others who come back a moment after the first one may have been told of less."""

Emit = Callable[[Event], None]


def session_options(cluster: str) -> str:
    """The `options` of a connection. An async connection can't be told afterwards, and once the transaction has begun
    the cluster can't be set. A reader that pauses between two FETCHes must not be thrown out (25P03)."""
    options = "-c idle_in_transaction_session_timeout=0"
    if cluster:
        escaped = cluster.replace("\\", "\\\\").replace(" ", "\\ ")
        options += f" -c cluster={escaped}"
    return options


class _HistoryGoneError(Exception):
    """The changes after the position can't be had any more, or never could: only a snapshot helps."""


class _OtherRelationError(_HistoryGoneError):
    """No position is of any use."""


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a SUBSCRIBE starts: at `as_of`, None for the present. With `rows`, by a snapshot of that time, and all
    changes until the present belong to it."""

    as_of: int | None = None
    rows: bool = True


@dataclass(frozen=True, slots=True)
class MaterializeDriver:
    """Follows one source; see `databases.driver.Driver`. `silence`: seconds for which nothing may come.
    `in_process`: a process of its own reads from the database. `history`: how many seconds before the present a
    snapshot may be for the sake of those who come back."""

    source: Source
    parameters: ConnectionParameters
    silence: float = 0.0
    in_process: bool = False
    history: float = 300.0

    async def run(self, emit: Emit, ready: Ready, resume: Position | None = None) -> None:
        """See `databases.driver.Driver`."""
        starts = _starts(resume)
        while True:
            try:
                await self._connected(emit, ready, starts[0], None if resume is None else resume.relation)
            except _HistoryGoneError as error:
                del starts[: -1 if isinstance(error, _OtherRelationError) else 1]
                how = "reads a new snapshot" if len(starts) == 1 else "tries a later time"
                log.info("source %s: can't go on where it was, %s: %s", self.source.name, how, error)
                continue
            emit(Waiting("the relation is constant: its SUBSCRIBE has ended; it is read again now and then"))
            starts = [_Start()]
            await asyncio.sleep(CONSTANT_SECONDS)

    async def _connected(self, emit: Emit, ready: Ready, start: _Start, wanted: str | None) -> None:
        async with self._reading(emit) as reading:
            try:
                note = await self._note(reading.connection)
                relation = await identify(reading.connection, self.source.relation)
                if start.as_of is not None and wanted != relation:
                    raise _OtherRelationError("another relation has the name now")
                until = await self._present(reading.connection, start.as_of) if start.rows and start.as_of else None
                emit(Waiting("the database prepares the first rows"))
                runs = await self._start(reading, start)
                emit(Waiting(note))
                timeline = Timeline(self.source, relation=relation, resumed=not start.rows, until=until)
                await self._follow(reading, timeline, runs, emit, ready)
            except DatabaseError as error:
                raise explained(error, self.source) from None
            except UnicodeDecodeError:
                raise unreadable("a value is not UTF-8") from None

    @asynccontextmanager
    async def _reading(self, emit: Emit) -> AsyncIterator[Reading]:
        if not self.in_process:
            async with through_cursor(self.source, self.parameters) as reading:
                yield reading
            return
        async with through_process(self.source, self.parameters) as copying:
            emit(ReadBy(copying.process.pid))
            yield copying

    async def _present(self, connection: AsyncConnection, as_of: int) -> int:
        """The database's time; what came before it belongs to a snapshot of an earlier time."""
        try:
            ((now,),) = await connection.execute("SELECT mz_now()")
        except DatabaseError as error:
            if error.sqlstate is None:
                raise
            raise _HistoryGoneError(str(error)) from None
        if as_of < int(now) - self.history * 1000:
            raise _HistoryGoneError("that is too long ago")
        return max(int(now), as_of)

    async def _start(self, reading: Reading, start: _Start) -> Iterator[Run] | None:
        """Start, and the first rows. What is wrong with the time shows when rows are first asked for."""
        try:
            await reading.start(subscribe_statement(self.source, start.as_of, rows=start.rows))
            return await reading.read()
        except DatabaseError as error:
            if start.as_of is not None and error.sqlstate is not None:
                raise _HistoryGoneError(str(error)) from None
            raise

    async def _follow(
        self, reading: Reading, timeline: Timeline, runs: Iterator[Run] | None, emit: Emit, ready: Ready
    ) -> None:
        """Until the SUBSCRIBE ends, which that of a relation that can change never does."""
        while runs is not None:
            for event in timeline.read(runs):
                emit(event)
            await ready()
            try:
                # Once the first snapshot is there, which may take its time, the database's clock always has news
                runs = await reading.read(self.silence if timeline.complete else 0.0)
            except TimeoutError:
                raise DatabaseError(
                    f"time has stood still for {self.silence:g} s",
                    hint="does the database run, and has the cluster a replica? DATABASE_SILENCE_SECONDS is the limit",
                ) from None
        for event in timeline.end():
            emit(event)

    async def _note(self, connection: AsyncConnection) -> str | None:
        """What the operator should know of the columns' types."""
        try:
            return await examine(connection, self.source)
        except DatabaseError as error:
            if error.sqlstate is None and error.permanent:
                raise
            # Whatever the server minds, it minds in the SUBSCRIBE too
            log.debug("source %s: its columns can't be looked up: %s", self.source.name, error)
            return None


def _starts(resume: Position | None) -> list[_Start]:
    """Where to start, the best first; the last one is always possible."""
    if resume is None:
        return [_Start()]
    if resume.known:
        return [_Start(resume.timestamp, rows=False), _Start()]
    return [_Start(resume.timestamp - EARLIER), _Start(resume.timestamp), _Start()]


def subscribe_statement(source: Source, as_of: int | None = None, *, rows: bool = True) -> sql.Composed:
    """SUBSCRIBE with a snapshot, or for the changes after a time alone. Clauses in the order that the
    grammar asks for (doc/user/content/sql/subscribe.md).

    Without a snapshot only times strictly greater than AS OF are sent (`should_emit` in
    src/compute/src/sink/subscribe.rs).
    """
    statement = sql.SQL(
        "SUBSCRIBE (SELECT {columns} FROM {relation}) ENVELOPE UPSERT (KEY ({key})) WITH ({snapshot}, PROGRESS)"
    ).format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns_of(source))),
        relation=identifier(source.relation),
        key=sql.SQL(", ").join(map(sql.Identifier, source.primary_key)),
        snapshot=sql.SQL("SNAPSHOT" if rows else "SNAPSHOT = false"),
    )
    return statement if as_of is None else statement + sql.SQL(" AS OF {}").format(sql.Literal(as_of))
