"""psycopg2 on the asyncio loop: the one place that knows its asynchronous mode.

psycopg2 connections in async mode are polled: `poll()` says whether the socket must be readable or writable before the
next step (psycopg2 documentation, "Asynchronous support"). Session settings go into the connection string, since async
connections refuse the setters.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
from psycopg2 import extensions, extras

from tycostream.databases.driver import DatabaseError
from tycostream.databases.hosts import Address, Hosts

SESSION_OPTIONS = (
    "-c datestyle=ISO -c timezone=UTC -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1"
    " -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
)
"""Pinned, so that a value has the same text in a query and in the stream, whatever the server's defaults."""

CONNECT_SECONDS = 10.0


class NoAnswerError(DatabaseError):
    """The database says nothing: neither yes nor no."""

    def __init__(self, parameters: ConnectionParameters, seconds: float) -> None:
        super().__init__(
            f"no answer from the database at {Address(parameters.host, parameters.port)} within {seconds:g} s",
            hint="check DATABASE_HOST and DATABASE_PORT",
            private=True,
        )


@dataclass(frozen=True, slots=True)
class ConnectionParameters:
    """Where a database is, and what its sessions are set to. `host` may be the folder of a Unix socket; where there are
    several, `hosts` has them all. `silence`: seconds for which a server may say nothing before it is asked whether it
    is there at all; 0 for ever. The password stays out of `repr`."""

    host: str
    port: int
    user: str
    password: str
    name: str
    options: str = SESSION_OPTIONS
    hosts: Hosts | None = None
    silence: float = 0.0

    def __repr__(self) -> str:
        return f"{self.user}@{self.hosts or Address(self.host, self.port)}/{self.name}"


class AsyncConnection:
    """A connection whose waits let the loop go on. One statement at a time. Errors are DatabaseError."""

    def __init__(self, connection: Any, parameters: ConnectionParameters) -> None:
        self.raw = connection
        self.parameters = parameters
        """Of the one host that it is connected to."""
        self.silence = 0.0
        """See ConnectionParameters; of no meaning before it is connected."""

    @property
    def backend_pid(self) -> int:
        """The server process that serves this connection."""
        return int(self.raw.get_backend_pid())

    async def execute(self, statement: Any, arguments: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement; the rows, all values as the database's text (None for NULL)."""
        cursor = await self.run(statement, arguments)
        return cursor.fetchall() if cursor.description is not None else []

    async def run(self, statement: Any, arguments: Sequence[Any] | None = None, *, patience: float = 0.0) -> Any:
        """Run one statement; the psycopg2 cursor, whose rows are in memory and hold text. For `patience` see
        `ready_for`."""
        try:
            cursor = self.raw.cursor()
            cursor.execute(statement, arguments)
            await self.wait(patience)
        except psycopg2.Error as error:
            raise translate(error, self.parameters) from None
        return cursor

    async def wait(self, patience: float = 0.0) -> None:
        """Until the statement that runs has ended. Raises psycopg2.Error, and what `ready_for` does."""
        while True:
            state = self.raw.poll()
            if state == extensions.POLL_OK:
                return
            await self.ready_for(writing=state == extensions.POLL_WRITE, patience=patience)

    async def ready_for(self, *, writing: bool = False, patience: float = 0.0) -> None:
        """Until the socket can be read, or written. A statement may take its time, so that silence says nothing: then
        the server is asked for another connection. Raises NoAnswerError where it does not answer that either. One that
        has something to send all the time is given so many seconds of `patience`: TimeoutError if nothing comes."""
        while not await self._ready_within(patience or self.silence, writing=writing):
            if patience:
                raise TimeoutError
            await knock(self.parameters)

    async def _ready_within(self, seconds: float, *, writing: bool) -> bool:
        """Whether the socket can be read, or written, before these seconds are over; 0 waits for ever."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[bool] = loop.create_future()
        descriptor = self.raw.fileno()

        def wake(able: bool) -> None:
            if not ready.done():
                ready.set_result(able)

        add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        add(descriptor, wake, True)
        timer = loop.call_later(seconds, wake, False) if seconds else None
        try:
            return await ready
        finally:
            remove(descriptor)
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Close at any moment; the server ends what it was doing."""
        with contextlib.suppress(psycopg2.Error):
            self.raw.close()


async def connect(
    parameters: ConnectionParameters, *, replication: bool = False, timeout: float = CONNECT_SECONDS
) -> AsyncConnection:
    """Open a connection. Of several hosts, each that does not rest is tried in turn. Raises DatabaseError, the last
    host's; an attempt that takes longer than `timeout` seconds counts as failed."""
    hosts = parameters.hosts
    if hosts is None:
        return await _connect(parameters, replication=replication, timeout=timeout)
    failure: DatabaseError | None = None
    for address in hosts.to_try():
        here = replace(parameters, host=address.host, port=address.port, hosts=None)
        try:
            connection = await _connect(here, replication=replication, timeout=timeout)
        except DatabaseError as error:
            hosts.failed(address)
            failure = error
        else:
            hosts.succeeded(address)
            return connection
    assert failure is not None
    raise failure


def keywords(parameters: ConnectionParameters) -> dict[str, Any]:
    """What psycopg2 is asked for; the password is among it."""
    return {
        "host": parameters.host,
        "port": parameters.port,
        "user": parameters.user,
        "password": parameters.password or None,
        "dbname": parameters.name,
        "client_encoding": "UTF8",
        "application_name": "tycostream",
        "options": parameters.options,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
    }


async def _connect(parameters: ConnectionParameters, *, replication: bool, timeout: float) -> AsyncConnection:
    factory = extras.LogicalReplicationConnection if replication else None
    try:
        raw = psycopg2.connect(**keywords(parameters), connection_factory=factory, async_=True)
    except psycopg2.Error as error:
        raise translate(error, parameters) from None
    connection = AsyncConnection(raw, parameters)
    try:
        # libpq's own timeout does not count in async mode. (wait_for of Python 3.11 may swallow a cancellation.)
        async with asyncio.timeout(timeout):
            await connection.wait()
        for oid in extensions.string_types:
            raw.string_types[oid] = extensions.UNICODE
    except psycopg2.Error as error:
        connection.close()
        raise cant_connect(translate(error, parameters), parameters) from None
    except TimeoutError:
        connection.close()
        raise NoAnswerError(parameters, timeout) from None
    except BaseException:
        connection.close()
        raise
    connection.silence = parameters.silence
    return connection


def cant_connect(failure: DatabaseError, parameters: ConnectionParameters) -> DatabaseError:
    """What is told of a failure while connecting."""
    return DatabaseError(f"can't connect to {parameters!r}: {failure}", hint=failure.hint, private=True)


async def knock(parameters: ConnectionParameters) -> None:
    """Raises NoAnswerError if the server, from which nothing has come for the time of silence, lets a new connection
    wait as well. A refusal is an answer, and what has become of the connections that are there their sockets tell."""
    try:
        another = await connect(replace(parameters, silence=0.0), timeout=min(parameters.silence, CONNECT_SECONDS))
    except NoAnswerError:
        raise
    except DatabaseError:
        return
    another.close()


@asynccontextmanager
async def opened(parameters: ConnectionParameters, *, replication: bool = False) -> AsyncIterator[AsyncConnection]:
    """A connection that is closed at the end of the block."""
    connection = await connect(parameters, replication=replication)
    try:
        yield connection
    finally:
        connection.close()


_HINTS: tuple[tuple[str, str], ...] = (
    ("28P01", "check DATABASE_USER and DATABASE_PASSWORD"),
    ("28000", "check DATABASE_USER, and pg_hba.conf on the server"),
    ("3D000", "check DATABASE_NAME"),
    ("42501", "grant the right to DATABASE_USER"),
    ("53300", "raise max_connections on the server"),
    ("53400", "raise max_replication_slots or max_wal_senders on the server"),
)

_WORDS: tuple[tuple[str, str], ...] = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("invalid password", "28P01"),
    ("does not exist", "3D000"),
    ("no pg_hba.conf entry", "28000"),
)


def translate(error: psycopg2.Error, parameters: ConnectionParameters) -> DatabaseError:
    """psycopg2's error as ours."""
    text = str(error).strip() or type(error).__name__
    return explain(text, error.pgcode, parameters, operational=isinstance(error, psycopg2.OperationalError))


def explain(text: str, sqlstate: str | None, parameters: ConnectionParameters, *, operational: bool) -> DatabaseError:
    """An error of psycopg2's as ours: the server's first line, what to do about it, and no password. `operational` is
    its class."""
    first = next((line for line in text.splitlines() if line.strip()), text)
    first = re.sub(r"^(ERROR|FATAL|PANIC):\s+", "", first)
    code = sqlstate
    if code is None and operational:
        # Errors while connecting have no code
        code = next((code for words, code in _WORDS if words in text), None)
    hint = dict(_HINTS).get(code or "")
    if hint is None and operational and code is None and "onnection" in text:
        hint = "check that the database runs, and DATABASE_HOST and DATABASE_PORT"
    if parameters.password:
        first = first.replace(parameters.password, "***")
    failure = DatabaseError(first, hint=hint, private=sqlstate is None)
    failure.sqlstate = code
    return failure
