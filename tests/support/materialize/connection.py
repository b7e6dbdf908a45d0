"""One client's TCP connection: bytes in, bytes out, and everything that can go wrong with bytes on their way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

HIGH_WATER_BYTES = 256 * 1024


class Connection(asyncio.Protocol):
    """Serves one client with the coroutine of `serve`, which ends with the connection. It is among `open` while it lasts."""

    def __init__(self, serve: Callable[[Connection], Coroutine[Any, Any, None]], open: set[Connection]) -> None:  # noqa: A002
        self._serve = serve
        self._open = open
        self._reader = asyncio.StreamReader()
        self._pending: deque[bytes] = deque()
        self._pumping: asyncio.Handle | None = None
        self._budget: int | None = None
        self._paused = self.stalled = False
        self.chunk_bytes: int | None = None
        self.sent_bytes = 0
        self.on_writable: Callable[[], None] = lambda: None
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._open.add(self)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.task = self._loop.create_task(self._serve(self))

    def data_received(self, data: bytes) -> None:
        """Bytes for `read`."""
        self._reader.feed_data(data)

    def eof_received(self) -> bool:
        """The client has closed its side, and thereby all."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The end for whoever reads or waits."""
        self._open.discard(self)
        self._reader.feed_eof()
        if self._pumping is not None:
            self._pumping.cancel()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._paused = False
        self._tell_if_writable()

    # What the session calls

    async def read(self, count: int) -> bytes:
        """So many bytes. Raises asyncio.IncompleteReadError at the end."""
        return await self._reader.readexactly(count)

    async def message(self) -> tuple[bytes, bytes]:
        """The next message: its type byte and its body."""
        kind, length = struct.unpack(">ci", await self.read(5))
        return kind, await self.read(length - 4)

    def send(self, data: bytes) -> None:
        """Send, now or when nothing stands in the way."""
        if self._pending or self.stalled or self.chunk_bytes is not None:
            self._pending.append(data)
            self._pump()
        else:
            self._write(data)

    @property
    def writable(self) -> bool:
        """Whether the client keeps up with what it is sent."""
        return not (self._paused or self._pending or self.stalled)

    def _tell_if_writable(self) -> None:
        if self.writable:
            self.on_writable()

    def _pump(self) -> None:
        if self._pumping is None and self._pending and not self.stalled:
            self._pumping = self._loop.call_soon(self._send_piece)

    def _send_piece(self) -> None:
        self._pumping = None
        if self.stalled or not self._pending:
            return
        data = self._pending.popleft()
        if self.chunk_bytes is not None and len(data) > self.chunk_bytes:
            self._pending.appendleft(data[self.chunk_bytes :])
            data = data[: self.chunk_bytes]
        self._write(data)
        self._pump()
        self._tell_if_writable()

    def _write(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._budget is not None:
            data = data[: self._budget]
            self._budget -= len(data)
        self.sent_bytes += len(data)
        self.transport.write(data)
        if self._budget == 0:
            self.transport.close()

    # What goes wrong

    def stall(self) -> None:
        """Send nothing from now on."""
        self.stalled = True

    def resume(self) -> None:
        """Send what has gathered."""
        self.stalled = False
        self._pump()
        self._tell_if_writable()

    def cut_after(self, count: int | None) -> None:
        """Die after so many further bytes; None: don't."""
        self._budget = count
        if count == 0:
            self.transport.close()

    def drop(self, *, reset: bool = True) -> None:
        """Die at once, with an RST or a FIN."""
        if reset:
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def finish(self) -> None:
        """Close when what was sent is out."""
        if self._pending and not self.stalled:
            data = b"".join(self._pending)
            self._pending.clear()
            self._write(data)
        self.transport.close()
