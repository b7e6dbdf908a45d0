"""Clients for the simulator's own tests: psycopg2 in a thread, and one that shows every message."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg2
from psycopg2 import extensions

from tests.support.materialize.wire import text

WAIT_SECONDS = 20.0
Result = TypeVar("Result")


class TextClient:
    """A psycopg2 connection whose calls run in a thread, one at a time, and whose values are all text."""

    def __init__(self, connection: Any) -> None:
        self.raw = connection
        for oid in extensions.string_types:
            connection.string_types[oid] = extensions.UNICODE
        self.cursor = connection.cursor()

    async def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Any blocking call, within the time that a test has."""
        return await asyncio.wait_for(asyncio.to_thread(function, *arguments), WAIT_SECONDS)

    async def rows(self, statement: str) -> list[tuple[str | None, ...]]:
        """One statement's rows."""
        await self.call(self.cursor.execute, statement)
        return self.cursor.fetchall() if self.cursor.description is not None else []

    async def error(self, statement: str) -> tuple[str | None, str]:
        """The SQLSTATE and the text of the error that a statement must raise."""
        try:
            await self.rows(statement)
        except psycopg2.Error as error:
            return error.pgcode, (error.diag.message_primary or str(error)).strip()
        raise AssertionError(f"no error from {statement}")

    async def declare(self, subscribe: str, cursor: str = "c") -> None:
        """A cursor in a transaction (which psycopg2 begins)."""
        await self.rows(f"DECLARE {cursor} CURSOR FOR SUBSCRIBE {subscribe}")

    async def copy(self, subscribe: str, write: Callable[[bytes], None]) -> int:
        """COPY to its end; the number of rows in the command tag."""

        class File:
            def write(self, line: bytes) -> None:
                write(line)

        await self.call(self.cursor.copy_expert, f"COPY (SUBSCRIBE {subscribe}) TO STDOUT", File())
        return int(self.cursor.rowcount)


@asynccontextmanager
async def text_client(dsn: str, **keywords: Any) -> AsyncIterator[TextClient]:
    """A connected client."""
    connection = await asyncio.wait_for(asyncio.to_thread(psycopg2.connect, dsn, **keywords), WAIT_SECONDS)
    try:
        yield TextClient(connection)
    finally:
        connection.close()


class WireClient:
    """Speaks the protocol by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.key = (0, 0)
        self.parameters: dict[str, str] = {}

    def send(self, kind: bytes, body: bytes) -> None:
        """A message; the startup message and its like have no kind."""
        self._writer.write(kind + struct.pack(">i", len(body) + 4) + body)

    async def read(self, count: int) -> bytes:
        """Raw bytes. Raises asyncio.IncompleteReadError."""
        return await asyncio.wait_for(self._reader.readexactly(count), WAIT_SECONDS)

    async def message(self) -> tuple[str, bytes]:
        """The next message."""
        kind, length = struct.unpack(">ci", await self.read(5))
        return kind.decode(), await self.read(length - 4)

    async def start(self, **parameters: str) -> list[str]:
        """The startup message; the kinds of what comes back up to ReadyForQuery or an error."""
        pairs = b"".join(text(name) + text(value) for name, value in {"user": "u", **parameters}.items())
        self.send(b"", struct.pack(">i", 196608) + pairs + b"\0")
        kinds: list[str] = []
        while not kinds or kinds[-1] not in "ZE":
            kind, body = await self.message()
            kinds.append(kind)
            if kind == "K":
                self.key = struct.unpack(">iI", body)
            elif kind == "S":
                name, value, _ = body.decode().split("\0")
                self.parameters[name] = value
        return kinds

    def query(self, statement: str) -> None:
        """Send a Query message."""
        self.send(b"Q", text(statement))

    async def answer(self, statement: str) -> list[tuple[str, bytes]]:
        """All messages up to and with ReadyForQuery."""
        self.query(statement)
        messages = [await self.message()]
        while messages[-1][0] != "Z":
            messages.append(await self.message())
        return messages

    async def ended(self) -> bool:
        """Whether the server has closed the connection and nothing more comes."""
        return await asyncio.wait_for(self._reader.read(1), WAIT_SECONDS) == b""

    async def close(self) -> None:
        """Leave, without a word."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def wire_client(port: int, *, start: bool = True) -> AsyncIterator[WireClient]:
    """A client that has (or has not) been through the startup."""
    client = WireClient(*await asyncio.open_connection("127.0.0.1", port))
    try:
        if start:
            await client.start()
        yield client
    finally:
        await client.close()


async def cancel_request(port: int, pid: int, secret: int) -> None:
    """What libpq's PQcancel sends; until the server has taken it."""
    async with wire_client(port, start=False) as client:
        client.send(b"", struct.pack(">iiI", 80877102, pid, secret))
        assert await client.ended()


def fields(row: bytes) -> list[str | None]:
    """A DataRow's fields."""
    values: list[str | None] = []
    position = 2
    for _ in range(struct.unpack(">h", row[:2])[0]):
        (length,) = struct.unpack(">i", row[position : position + 4])
        position += 4
        values.append(None if length < 0 else row[position : position + length].decode())
        position += max(length, 0)
    assert position == len(row)
    return values


def report(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter."""
    return {one[:1].decode(): one[1:].decode() for one in body.split(b"\0") if one}
