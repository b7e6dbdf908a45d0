"""A reader process as the service sees it."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tycostream.databases.connection import (
    CONNECT_SECONDS,
    ConnectionParameters,
    NoAnswerError,
    cant_connect,
    explain,
    keywords,
    knock,
)
from tycostream.databases.driver import DatabaseError
from tycostream.databases.reader import child

START_SECONDS = 20.0
"""How long the process itself may take to start, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class ReaderProcess:
    """A process that was started, and what it sends."""

    pid: int
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    async def copy(self, parameters: ConnectionParameters, statement: str) -> None:
        """Connect to this one host and start the statement, a COPY ... TO STDOUT. Once. Raises DatabaseError."""
        connect = keywords(parameters) | {"connect_timeout": int(CONNECT_SECONDS)}
        request = json.dumps({"connect": connect, "statement": statement}).encode()
        self._writer.write(child.FRAME.pack(child.REQUEST, len(request)) + request)
        try:
            async with asyncio.timeout(CONNECT_SECONDS + START_SECONDS):
                kind, content = await self._frame()
        except TimeoutError:
            raise NoAnswerError(parameters, CONNECT_SECONDS) from None
        if kind != child.CONNECTED:
            raise cant_connect(_failure(content, parameters), parameters)

    async def read(self, parameters: ConnectionParameters) -> bytes:
        """The lines that have come, all of them whole; none once the COPY has ended. Raises DatabaseError."""
        coming = asyncio.ensure_future(self._frame())
        try:
            while not (await asyncio.wait({coming}, timeout=parameters.silence or None))[0]:
                await knock(parameters)
            kind, content = coming.result()
        finally:
            coming.cancel()
        if kind == child.FAILURE:
            raise _failure(content, parameters)
        return content if kind == child.LINES else b""

    async def _frame(self) -> tuple[bytes, bytes]:
        try:
            kind, length = child.FRAME.unpack(await self._reader.readexactly(child.FRAME.size))
            return kind, await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            raise DatabaseError("the process that read from the database has ended") from None


@asynccontextmanager
async def started() -> AsyncIterator[ReaderProcess]:
    """A reader process, which is gone at the end of the block. Raises DatabaseError where there can be none."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            # By its file, not as a module: the package would be imported too. -P: nothing beside that file is
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                child.__file__,
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # an interrupt from the terminal is for the service
            )
    except OSError as error:
        ours.close()
        raise DatabaseError(f"no process can be started to read from the database: {error}", private=True) from None
    except BaseException:
        ours.close()
        raise
    try:
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            yield ReaderProcess(process.pid, reader, writer)
        finally:
            writer.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _failure(content: bytes, parameters: ConnectionParameters) -> DatabaseError:
    found = json.loads(content)
    return explain(found["text"], found["sqlstate"], parameters, operational=found["operational"])
