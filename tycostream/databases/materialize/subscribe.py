"""Follows a relation through a cursor on SUBSCRIBE.

A FETCH without a timeout waits until there is a row, and then returns what is ready (doc/user/content/sql/fetch.md):
the least delay, and the database is asked for more only when the source has taken what came before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError, Ready
from tycostream.databases.materialize.catalog import examine, identifier
from tycostream.databases.materialize.errors import explained, unreadable
from tycostream.databases.materialize.timeline import Timeline
from tycostream.model import Event, Source, Waiting

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


@dataclass(frozen=True, slots=True)
class MaterializeDriver:
    """Follows one source; see `databases.driver.Driver`. Each run starts with a new snapshot."""

    source: Source
    parameters: ConnectionParameters

    async def run(self, emit: Emit, ready: Ready) -> None:
        """See `databases.driver.Driver`."""
        while True:
            async with opened(self.parameters) as connection:
                try:
                    await self._follow(connection, emit, ready)
                except DatabaseError as error:
                    raise explained(error, self.source) from None
                except UnicodeDecodeError:
                    raise unreadable("a value is not UTF-8") from None
            emit(Waiting("the relation is constant: its SUBSCRIBE has ended; it is read again now and then"))
            await asyncio.sleep(CONSTANT_SECONDS)

    async def _follow(self, connection: AsyncConnection, emit: Emit, ready: Ready) -> None:
        """Until the SUBSCRIBE ends, which that of a relation that can change never does."""
        note = await self._note(connection)
        emit(Waiting("the database prepares the first rows"))
        await connection.execute("BEGIN")
        await connection.execute(subscribe_statement(self.source))
        timeline: Timeline | None = None
        while True:
            cursor = await connection.run(FETCH)
            if cursor.description is None:
                raise unreadable("FETCH has no result")
            rows = cursor.fetchall()
            if timeline is None:
                timeline = Timeline(self.source, [column.name for column in cursor.description])
                emit(Waiting(note))
            for event in timeline.read(rows):
                emit(event)
            if not rows:
                break
            await ready()
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


def subscribe_statement(source: Source) -> sql.Composed:
    """The cursor's declaration. Clauses in the order that the grammar asks for (doc/user/content/sql/subscribe.md)."""
    return sql.SQL(
        "DECLARE c CURSOR FOR SUBSCRIBE (SELECT {columns} FROM {relation})"
        " ENVELOPE UPSERT (KEY ({key})) WITH (SNAPSHOT, PROGRESS)"
    ).format(
        columns=sql.SQL(", ").join(sql.Identifier(column.name) for column in source.columns),
        relation=identifier(source.relation),
        key=sql.SQL(", ").join(map(sql.Identifier, source.primary_key)),
    )
