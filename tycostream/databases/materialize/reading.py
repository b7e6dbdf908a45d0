"""The two ways to read a SUBSCRIBE: a cursor on the loop, and COPY in a process of its own.

A FETCH without a timeout waits until there is a row, and then returns what is ready (doc/user/content/sql/fetch.md):
the least delay, and the database is asked for more only when the source has taken what came before. COPY sends rows as
they come (`copy_rows` in src/pgwire/src/protocol.rs): who does not read them holds the database up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError
from tycostream.databases.hosts import Address
from tycostream.databases.materialize.errors import unreadable
from tycostream.databases.materialize.result import HEAD, Result, Run, columns_of
from tycostream.databases.reader import ReaderProcess, started
from tycostream.model import Source

FETCH = "FETCH 1000 c"


class Reading(Protocol):
    """A connection through which a SUBSCRIBE can be read. Failures are DatabaseErrors."""

    connection: AsyncConnection
    """Ordinary statements may be run on it before `start`."""

    async def start(self, subscribe: sql.Composed) -> None:
        """Start the statement. Names are looked up at once; what else may be wrong with it, `read` may find first."""

    async def read(self, patience: float = 0.0) -> Iterator[Run] | None:
        """The rows that are ready, at least one; None where the SUBSCRIBE has ended. May be cancelled, for good. Raises
        TimeoutError where nothing comes for so many seconds; 0: that may take any time. On the loop every part of a row
        counts as something, from another process whole ones do."""


@dataclass
class _Cursor:
    source: Source
    connection: AsyncConnection
    _result: Result | None = None

    async def start(self, subscribe: sql.Composed) -> None:
        await self.connection.execute("BEGIN")
        await self.connection.execute(sql.SQL("DECLARE c CURSOR FOR ") + subscribe)

    async def read(self, patience: float = 0.0) -> Iterator[Run] | None:
        cursor = await self.connection.run(FETCH, patience=patience)
        if self._result is None:
            if cursor.description is None:
                raise unreadable("FETCH has no result")
            self._result = Result(self.source, [column.name for column in cursor.description])
        rows = cursor.fetchall()
        return self._result.fetched(rows) if rows else None


@dataclass
class _Copy:
    connection: AsyncConnection
    process: ReaderProcess
    parameters: ConnectionParameters
    _result: Result
    _here: ConnectionParameters = field(init=False)

    async def start(self, subscribe: sql.Composed) -> None:
        statement = sql.SQL("COPY ({}) TO STDOUT").format(subscribe).as_string(self.connection.raw)
        self._here = here = self.connection.parameters
        self.connection.close()
        try:
            await self.process.copy(here, statement)
        except DatabaseError:
            if self.parameters.hosts is not None:
                self.parameters.hosts.failed(Address(here.host, here.port))
            raise

    async def read(self, patience: float = 0.0) -> Iterator[Run] | None:
        lines = await self.process.read(self._here, patience=patience)
        return self._result.copied(lines) if lines else None


@asynccontextmanager
async def through_cursor(source: Source, parameters: ConnectionParameters) -> AsyncIterator[Reading]:
    """Read on this loop."""
    async with opened(parameters) as connection:
        yield _Cursor(source, connection)


@asynccontextmanager
async def through_process(source: Source, parameters: ConnectionParameters) -> AsyncIterator[_Copy]:
    """Read in a process of its own, with a connection of its own to the same host. COPY names no columns: they are
    those of the query."""
    async with started() as process, opened(parameters) as connection:
        yield _Copy(connection, process, parameters, Result(source, (*HEAD, *columns_of(source))))
