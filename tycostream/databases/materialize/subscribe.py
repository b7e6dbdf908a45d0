"""Follows a relation through a cursor on SUBSCRIBE.

A FETCH without a timeout waits until there is a row, and then returns what is ready (doc/user/content/sql/fetch.md):
the least delay, and the database is asked for more only when the source has taken what came before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError, Ready
from tycostream.databases.materialize.catalog import examine, identifier, identify
from tycostream.databases.materialize.errors import explained, unreadable
from tycostream.databases.materialize.timeline import Timeline, WireRow
from tycostream.model import Event, Position, Source, Waiting

log = logging.getLogger("tycostream.materialize")

FETCH = "FETCH 1000 c"

CONSTANT_SECONDS = 60.0
"""How long the rows of a relation that can't change are kept before they are read again: it may have been replaced."""

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


@dataclass(frozen=True, slots=True)
class MaterializeDriver:
    """Follows one source; see `databases.driver.Driver`. `silence`: seconds for which time may stand still."""

    source: Source
    parameters: ConnectionParameters
    silence: float = 0.0

    async def run(self, emit: Emit, ready: Ready, resume: Position | None = None) -> None:
        """See `databases.driver.Driver`."""
        while True:
            try:
                await self._connected(emit, ready, resume)
            except _HistoryGoneError as error:
                log.info("source %s: can't go on where it was, reads a new snapshot: %s", self.source.name, error)
                resume = None
                continue
            emit(Waiting("the relation is constant: its SUBSCRIBE has ended; it is read again now and then"))
            resume = None
            await asyncio.sleep(CONSTANT_SECONDS)

    async def _connected(self, emit: Emit, ready: Ready, resume: Position | None) -> None:
        async with opened(self.parameters) as connection:
            try:
                note = await self._note(connection)
                relation = await identify(connection, self.source.relation)
                if resume is not None and resume.relation != relation:
                    raise _HistoryGoneError("another relation has the name now")
                emit(Waiting("the database prepares the first rows"))
                as_of = None if resume is None else resume.timestamp
                timeline, rows = await self._subscribe(connection, relation, as_of)
                emit(Waiting(note))
                await self._follow(connection, timeline, rows, emit, ready)
            except DatabaseError as error:
                raise explained(error, self.source) from None
            except UnicodeDecodeError:
                raise unreadable("a value is not UTF-8") from None

    async def _subscribe(
        self, connection: AsyncConnection, relation: str | None, as_of: int | None
    ) -> tuple[Timeline, Sequence[WireRow]]:
        """Start, and the first rows. Names are looked up at once, the time when rows are first asked for."""
        try:
            await connection.execute("BEGIN")
            await connection.execute(subscribe_statement(self.source, as_of))
            columns, rows = await _fetch(connection)
        except DatabaseError as error:
            if as_of is not None and error.sqlstate is not None:
                raise _HistoryGoneError(str(error)) from None
            raise
        return Timeline(self.source, columns, relation=relation, resumed=as_of is not None), rows

    async def _follow(
        self, connection: AsyncConnection, timeline: Timeline, rows: Sequence[WireRow], emit: Emit, ready: Ready
    ) -> None:
        """Until the SUBSCRIBE ends, which that of a relation that can change never does."""
        clock = asyncio.get_running_loop().time
        waited = 0.0
        while rows:
            for event in timeline.read(rows):
                emit(event)
                waited = 0.0
            await ready()
            # The first snapshot may take its time
            patience = self.silence - waited if self.silence and timeline.complete else None
            asked = clock()
            try:
                async with asyncio.timeout(patience):
                    _columns, rows = await _fetch(connection)
            except TimeoutError:
                raise DatabaseError(
                    f"time has stood still for {self.silence:g} s",
                    hint="does the database run, and has the cluster a replica? DATABASE_SILENCE_SECONDS is the limit",
                ) from None
            waited += clock() - asked
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


async def _fetch(connection: AsyncConnection) -> tuple[list[str], Sequence[WireRow]]:
    """The result's columns, and what is ready: at least one row, or none where the SUBSCRIBE has ended."""
    cursor = await connection.run(FETCH)
    if cursor.description is None:
        raise unreadable("FETCH has no result")
    return [column.name for column in cursor.description], cursor.fetchall()


def subscribe_statement(source: Source, as_of: int | None = None) -> sql.Composed:
    """The cursor's declaration: with a snapshot, or for the changes after a time alone. Clauses in the order that the
    grammar asks for (doc/user/content/sql/subscribe.md).

    Without a snapshot only times strictly greater than AS OF are sent (`should_emit` in
    src/compute/src/sink/subscribe.rs).
    """
    statement = sql.SQL(
        "DECLARE c CURSOR FOR SUBSCRIBE (SELECT {columns} FROM {relation})"
        " ENVELOPE UPSERT (KEY ({key})) WITH ({snapshot}, PROGRESS)"
    ).format(
        columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in source.columns),
        relation=identifier(source.relation),
        key=sql.SQL(", ").join(map(sql.Identifier, source.primary_key)),
        snapshot=sql.SQL("SNAPSHOT" if as_of is None else "SNAPSHOT = false"),
    )
    return statement if as_of is None else statement + sql.SQL(" AS OF {}").format(sql.Literal(as_of))
