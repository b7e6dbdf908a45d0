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

from tycostream.metrics import ClientCounts
from tycostream.views.channel import Put
from tycostream.web.tcp import sent

UNSENT_BYTES = 256 * 1024
"""What the kernel takes beyond what is on its way to a client (TCP_NOTSENT_LOWAT). Its buffer grows to megabytes, and
what lies in it can't be merged with later changes any more."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """Who is connected. `debugs`: it may see what the debug pages show."""

    remote_address: str
    protocol: str
    user_agent: str | None
    debugs: bool = False


class Transport(Protocol):
    """A socket as its connection sees it; for its sources, see `views.channel.Sender`."""

    on_blocked: Callable[[], None]
    """Called whenever something stands before what would be sent next."""

    def put(self, frames: bytes, /) -> int:
        """See `Sender`."""

    @property
    def pending(self) -> int:
        """Bytes that were handed to `send` and that the kernel has not taken yet."""

    @property
    def blocked(self) -> bool:
        """Whether `put` may not be used: something waits, or nothing may be sent any more."""

    @property
    def acknowledged(self) -> int | None:
        """Bytes that the client's system has taken, where this one tells."""

    def send(self, frames: bytes) -> None:
        """Send complete frames."""

    def left(self, frames: bytes, taken: int) -> None:
        """See `Sender`."""

    def close(self, code: int, reason: str) -> None:
        """Close after what is pending."""


def _nobody() -> None:
    pass


class SocketTransport:
    """A Transport over the stream of a Tornado WebSocket. `on_drained` is called when it is not blocked any more.

    It has to know whenever the stream writes: what else is handed to the stream is told with `wait_for`.
    """

    __slots__ = (
        "_blocks",
        "_close",
        "_closing",
        "_counts",
        "_progressed",
        "_stream",
        "on_blocked",
        "on_drained",
        "pending",
        "put",
    )

    def __init__(
        self,
        stream: IOStream,
        close: Callable[[int, str], None],
        progressed: Callable[[], None],
        counts: ClientCounts,
    ) -> None:
        """`close` starts the closing handshake; `progressed` is called when the kernel has taken what had waited."""
        self._stream = stream
        self.put: Put = stream.socket.send
        self._close = close
        self._progressed = progressed
        self._counts = counts
        self._closing = False
        self._blocks = 0  # how much forbids a direct send: writes of the stream that are not done, and closing
        self.pending = 0
        self.on_drained = self.on_blocked = _nobody
        stream.set_nodelay(True)
        kernel: socket.socket = stream.socket
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and kernel.family in (socket.AF_INET, socket.AF_INET6):
            kernel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        if stream.writing():
            self.wait_for(stream.write(b""))

    @property
    def blocked(self) -> bool:
        """See `Transport`."""
        return self._blocks > 0

    @property
    def acknowledged(self) -> int | None:
        """See `Transport`."""
        known = None if self._stream.closed() else sent(self._stream.socket)
        return None if known is None else known.acknowledged

    def send(self, frames: bytes) -> None:
        """Send complete frames. On a socket that is closing or gone it does nothing: its end is told elsewhere."""
        if self._closing or self._stream.closed():
            return
        self._counts.sent += len(frames)
        if self._blocks:
            self._queue(frames)
            return
        try:
            taken = self.put(frames)
        except OSError:
            taken = 0
        if taken != len(frames):
            self.left(frames, taken)

    def left(self, frames: bytes, taken: int) -> None:
        """See `views.channel.Sender`. Where the socket is gone, the stream finds out."""
        self._queue(memoryview(frames)[taken:])

    def wait_for(self, written: asyncio.Future[None]) -> None:
        """The stream has been handed something by others: until it is written nothing goes past it."""
        self._block()
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
            self._block()
            self.on_drained = self.on_blocked = _nobody  # no rings

    def _block(self) -> None:
        self._blocks += 1
        self.on_blocked()

    def _unblock(self, _written: object) -> None:
        self._blocks -= 1
        if not self._blocks and not self._stream.closed():
            self.on_drained()

    def _queue(self, rest: bytes | memoryview) -> None:
        size = len(rest)
        try:
            written = self._stream.write(rest)
        except (StreamClosedError, StreamBufferFullError):
            self._stream.close()
            return
        if self._stream.closed():
            return
        self.pending += size
        self._block()

        def taken(_written: object) -> None:
            self.pending -= size
            if not self._stream.closed():
                self._progressed()
            self._unblock(_written)

        written.add_done_callback(taken)
