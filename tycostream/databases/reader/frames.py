"""The service's end of the socket to a reader process: frames as they come, and no more of them than are taken."""

from __future__ import annotations

import asyncio
from typing import Any

from tycostream.databases.reader.child import FRAME

READ_BYTES = 128 * 1024
HELD_BYTES = 1024 * 1024
"""What is held of frames that nobody has taken; a single frame is held whatever its length. The rest stays with the
process, and with the database."""


class Frames(asyncio.BufferedProtocol):
    """A stream's reader would copy each frame twice and wait with a task for it: as much as it costs to read its
    rows."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._room = memoryview(bytearray(READ_BYTES))
        self._waiter: asyncio.Future[None] | None = None
        self._transport: Any = None
        self._paused = False
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._room

    def buffer_updated(self, count: int) -> None:
        self._data += self._room[:count]
        if not self._paused and len(self._data) >= max(HELD_BYTES, self._first):
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, _error: Exception | None) -> None:
        self._over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self, within: float | None = None) -> tuple[bytes, bytes] | None:
        """What the next frame is, and its content; None where nothing came within so many seconds. Raises EOFError once
        there are no more."""
        while (frame := self._whole()) is None:
            if self._over:
                raise EOFError
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(within):
                    await self._waiter
            except TimeoutError:
                if self._waiter.cancelled():  # or something has come at the last moment
                    return None
        return frame

    @property
    def _first(self) -> int:
        """Bytes of the first frame; or of its head, while that is not here."""
        head = FRAME.size
        return head if len(self._data) < head else head + int(FRAME.unpack_from(self._data)[1])

    def _whole(self) -> tuple[bytes, bytes] | None:
        size, data = self._first, self._data
        if len(data) < size:
            return None
        kind = bytes(data[:1])
        content = bytes(memoryview(data)[FRAME.size : size])
        del data[:size]
        if self._paused and len(data) < max(HELD_BYTES, self._first):
            self._paused = False
            self._transport.resume_reading()
        return kind, content
