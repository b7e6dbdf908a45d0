"""One WebSocket's sending side: frames go straight to the kernel while nothing waits, else through Tornado's stream.

Tornado's `write_message` builds a frame, a coroutine and a future for each message; a send of many joined frames costs
one system call. A direct send is legal only while the stream has nothing to write, so frames never interleave with
Tornado's own (pings, pongs, the closing handshake), which go through the stream.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tornado.iostream import IOStream, StreamBufferFullError, StreamClosedError

from tycostream.web.close_codes import fit_reason


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

    def close(self, code: int, reason: str) -> None:
        """Close after what is pending."""


class SocketTransport:
    """A Transport over the stream of a Tornado WebSocket. `on_drained` is called when `pending` is back at 0."""

    def __init__(self, stream: IOStream, close: Callable[[int, str], None]) -> None:
        self._stream = stream
        self._socket: socket.socket = stream.socket
        self._close = close
        self.bytes_sent = 0
        self.pending = 0
        self.on_drained: Callable[[], None] = lambda: None

    def send(self, frames: bytes) -> None:
        """Send complete frames. On a socket that is gone it does nothing: its end is told elsewhere."""
        stream = self._stream
        if stream.closed():
            return
        self.bytes_sent += len(frames)
        rest: bytes | memoryview = frames
        if not stream.writing():
            try:
                sent = self._socket.send(frames)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                stream.close()
                return
            if sent == len(frames):
                return
            rest = memoryview(frames)[sent:]
        self._queue(rest)

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake behind what is pending."""
        self._close(code, fit_reason(reason))

    def _queue(self, rest: bytes | memoryview) -> None:
        size = len(rest)
        try:
            written = self._stream.write(rest)
        except (StreamClosedError, StreamBufferFullError):
            self._stream.close()
            return
        self.pending += size

        def taken(_future: object) -> None:
            self.pending -= size
            if not self.pending and not self._stream.closed():
                self.on_drained()

        with contextlib.suppress(StreamClosedError):
            written.add_done_callback(taken)
