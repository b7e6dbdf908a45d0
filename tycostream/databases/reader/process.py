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
from tycostream.databases.reader.frames import Frames

START_SECONDS = 20.0
"""How long the process itself may take to start, on a machine that is busy."""


@dataclass(frozen=True, slots=True)
class ReaderProcess:
    """A process that was started, and what it sends."""

    pid: int
    _frames: Frames
    _transport: asyncio.WriteTransport

    async def copy(self, parameters: ConnectionParameters, statement: str) -> None:
        """Connect to this one host and start the statement, a COPY ... TO STDOUT. Once. Raises DatabaseError."""
        connect = keywords(parameters) | {"connect_timeout": int(CONNECT_SECONDS)}
        request = json.dumps({"connect": connect, "statement": statement}).encode()
        self._transport.write(child.FRAME.pack(child.REQUEST, len(request)) + request)
        try:
            async with asyncio.timeout(CONNECT_SECONDS + START_SECONDS):
                frame = await self._frame()
        except TimeoutError:
            raise NoAnswerError(parameters, CONNECT_SECONDS) from None
        assert frame is not None
        if frame[0] != child.CONNECTED:
            raise cant_connect(_failure(frame[1], parameters), parameters)

    async def read(self, parameters: ConnectionParameters, *, patience: float = 0.0) -> bytes:
        """The lines that have come, all of them whole; none once the COPY has ended. Raises DatabaseError, and, with
        `patience`, TimeoutError: see `AsyncConnection.ready_for`."""
        await asyncio.sleep(0)  # what is here already does not make the loop's others wait
        while (frame := await self._frame(patience or parameters.silence or None)) is None:
            if patience:
                raise TimeoutError
            await knock(parameters)
        kind, content = frame
        if kind == child.FAILURE:
            raise _failure(content, parameters)
        return content if kind == child.LINES else b""

    async def _frame(self, within: float | None = None) -> tuple[bytes, bytes] | None:
        try:
            return await self._frames.take(within)
        except EOFError:
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
        transport, frames = await asyncio.get_running_loop().create_unix_connection(Frames, sock=ours)
        try:
            yield ReaderProcess(process.pid, frames, transport)
        finally:
            transport.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _failure(content: bytes, parameters: ConnectionParameters) -> DatabaseError:
    found = json.loads(content)
    return explain(found["text"], found["sqlstate"], parameters, operational=found["operational"])
