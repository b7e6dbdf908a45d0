"""One WebSocket's sending side: frames go straight to the kernel while nothing waits, else through Tornado's stream.

Tornado's `write_message` builds a frame, a coroutine and a future for each message; a send of many joined frames costs
one system call. A direct send is legal only while the stream has nothing to write, so frames never interleave with
Tornado's own (pings, pongs, the closing handshake), which go through the stream.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tornado.iostream import IOStream, StreamBufferFullError, StreamClosedError

UNSENT_BYTES = 256 * 1024
"""What the kernel takes beyond what is on its way to a client (TCP_NOTSENT_LOWAT). Its buffer grows to megabytes, and
what lies in it can't be merged with later changes any more."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Who is connected."""

    remote_address: str
    protocol: str
    user_agent: str | None


class Transport(Protocol):
    """A socket as its connection sees it."""

    bytes_sent: int

    @property
    def pending(self) -> int:
        """Bytes that were handed to `send` and that the kernel has not taken yet."""

    def send(self, frames: bytes) -> None:
        """Send complete frames."""

    def try_send(self, frames: bytes) -> bool:
        """Send complete frames unless something waits to be sent before them. Returns False where it did nothing."""

    def close(self, code: int, reason: str) -> None:
        """Close after what is pending."""


class SocketTransport:
    """A Transport over the stream of a Tornado WebSocket. `on_drained` is called when `pending` is back at 0.

    It has to know whenever the stream writes: what else is handed to the stream is told with `wait_for`.
    """

    __slots__ = (
        "_blocked",
        "_close",
        "_closing",
        "_progressed",
        "_socket",
        "_stream",
        "bytes_sent",
        "on_drained",
        "pending",
    )

    def __init__(self, stream: IOStream, close: Callable[[int, str], None], progressed: Callable[[], None]) -> None:
        """`close` starts the closing handshake; `progressed` is called when the kernel has taken what had waited."""
        self._stream = stream
        self._socket: socket.socket = stream.socket
        self._close = close
        self._progressed = progressed
        self._closing = False
        self._blocked = 0  # how much forbids a direct send: writes of the stream that are not done, and closing
        self.bytes_sent = 0
        self.pending = 0
        self.on_drained: Callable[[], None] = lambda: None
        stream.set_nodelay(True)
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and self._socket.family in (socket.AF_INET, socket.AF_INET6):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if stream.writing():
            self.wait_for(stream.write(b""))

    def send(self, frames: bytes) -> None:
        """Send complete frames. On a socket that is closing or gone it does nothing: its end is told elsewhere."""
        if not self.try_send(frames) and not self._closing and not self._stream.closed():
            self.bytes_sent += len(frames)
            self._queue(frames)

    def try_send(self, frames: bytes) -> bool:
        """See `Transport`. What the kernel takes only in part waits to be sent as a whole."""
        if self._blocked:
            return False
        try:
            sent = self._socket.send(frames)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._stream.close()
            return False
        self.bytes_sent += len(frames)
        if sent != len(frames):
            self._queue(memoryview(frames)[sent:])
        return True

    def wait_for(self, written: asyncio.Future[None]) -> None:
        """The stream has been handed something by others: until it is written nothing goes past it."""
        self._blocked += 1
        written.add_done_callback(self._unblock)

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake behind what is pending."""
        if not self._closing:
            self.abandon()
            self._close(code, reason)

    def abandon(self) -> None:
        """Send no more: somebody else closes the socket."""
        if not self._closing:
            self._closing = True
            self._blocked += 1

    def _unblock(self, _written: object) -> None:
        self._blocked -= 1

    def _queue(self, rest: bytes | memoryview) -> None:
        size = len(rest)
        try:
            written = self._stream.write(rest)
        except (StreamClosedError, StreamBufferFullError):
            self._stream.close()
            return
        self.pending += size
        self._blocked += 1

        def taken(_written: object) -> None:
            self.pending -= size
            self._blocked -= 1
            if not self._stream.closed():
                self._progressed()
                if not self.pending:
                    self.on_drained()

        written.add_done_callback(taken)
