"""Tornado's WebSocket protocol, told of progress, stricter, and made to end so that the client learns why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

from tycostream.web.close_codes import CloseCode
from tycostream.web.tcp import sent

log = logging.getLogger("tycostream.web")

LINGER_SECONDS = 5.0

STALLED_PINGS = 10
"""So many pings may stay without an answer while bytes wait for the client and it takes none of them. The window of one
that reads a kilobyte a second opens once a minute."""

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({_TEXT, _BINARY, _CLOSE, _PING, _PONG})
_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""What a close frame may say: RFC 6455 section 7.4 and its registry, without those that are never sent."""


class PatientProtocol(WebSocketProtocol13):
    """Differs from Tornado's in five ways.

    - A client that takes something of what waits for it is alive, though its pong stands behind all that.
    - A text frame that is not UTF-8 is handed on as bytes; Tornado drops the connection without a close frame.
    - A frame that RFC 6455 forbids is answered with a close frame of code 1002. Tornado takes frames that are not
      masked (section 5.1) and echoes any code of a close frame; where it refuses a frame, it drops the connection.
    - After such a frame, or a message that is too big, what the client still sends is read and thrown away for a while.
      A socket that is closed with unread data is reset, and a client that never sees code 1009 connects and sends it
      again.
    - Frames are read by a task of their own. Tornado reads them at the bottom of the coroutines that handled the
      request, all of which stay for as long as the connection does.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._reader: asyncio.Task[None] | None = None
        self.written: Callable[[asyncio.Future[None]], None] | None = None
        """Told of frames that are written here while what comes later may go another way."""
        self.closing: Callable[[], None] | None = None
        """Told before a close frame of ours, behind which nothing may be sent."""
        self.closed_with: int | None = None
        """The code of our close frame, where the client had not sent one before."""
        self.client_closed = False
        """The client has sent a close frame."""
        self._reading: asyncio.Task[Any] | None = None  # while a frame is on its way in: the task that reads it
        self._lingering: asyncio.Task[None] | None = None

    def on_connection_close(self) -> None:
        super().on_connection_close()
        # The transport knows this protocol too: a ring would wait for the garbage collector
        self.written = self.closing = None

    async def periodic_ping(self) -> None:
        """See `WebSocketProtocol13.periodic_ping`, and the first of the differences."""
        patience = STALLED_PINGS
        await asyncio.sleep(self.ping_interval)
        while True:
            self._received_pong = False
            before = None if self.stream.closed() else sent(self.stream.socket)
            self.write_ping(b"")
            await asyncio.sleep(self.ping_timeout)
            now = None if self.stream.closed() else sent(self.stream.socket)
            took = before and before.waits and now and now.acknowledged > before.acknowledged
            if self._received_pong or took:
                patience = STALLED_PINGS
            elif now and now.waits and patience:
                patience -= 1
            else:
                self.close(reason="ping timed out")
                return

    def progressed(self) -> None:
        """The client takes what it is sent: all that is known where the system does not tell what was acknowledged."""
        self._received_pong = True

    def _write_frame(self, *args: Any, **kwargs: Any) -> asyncio.Future[None]:
        written = super()._write_frame(*args, **kwargs)
        if self.written is not None and not written.done():
            self.written(written)
        return written

    async def _receive_frame_loop(self) -> None:
        self._reader = asyncio.create_task(self._read_frames())

    async def _read_frames(self) -> None:
        try:
            await super()._receive_frame_loop()
        except asyncio.CancelledError:
            self._abort()
            raise
        except ValueError:
            log.debug("a frame could not be read", exc_info=True)
            self._abort()
        except Exception:
            self.handler.log_exception(*sys.exc_info())
            self._abort()
        finally:
            self._reader = None

    async def _receive_frame(self) -> None:
        self._frame_mask = None
        self._reading = asyncio.current_task()
        try:
            await super()._receive_frame()
            self._require_mask()  # of a fragment that is not the last; the others are handled already
        finally:
            self._reading = None

    def _handle_message(self, opcode: int, data: bytes) -> asyncio.Future[None] | None:
        self._require_mask()
        if opcode not in _OPCODES or (opcode == _CLOSE and not _is_close_payload(data)):
            self._abort()
        self.client_closed = self.client_closed or opcode == _CLOSE
        self._reading = None  # an error from here on is not the client's
        return super()._handle_message(_BINARY if opcode == _TEXT and not _is_utf8(data) else opcode, data)

    def _require_mask(self) -> None:
        if self._frame_mask is None and self._reading is not None:
            self._abort()

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        if not self.client_terminated and not self.server_terminated:
            self.closed_with = code
            if self.closing is not None:
                self.closing()
        super().close(code, reason)
        ends = code in (CloseCode.MESSAGE_TOO_BIG, CloseCode.PROTOCOL_ERROR)
        if ends and not self.client_terminated and not self.stream.closed():
            self.client_terminated = True  # ends the loop that reads frames
            self._lingering = asyncio.ensure_future(self._linger())

    def _abort(self) -> None:
        if self._lingering is not None:
            return
        if self._reading is None or self._reading is not asyncio.current_task():
            super()._abort()
        else:  # Tornado's word for a frame that it refuses
            self.close(CloseCode.PROTOCOL_ERROR, CloseCode.PROTOCOL_ERROR.reason)

    async def _linger(self) -> None:
        with contextlib.suppress(StreamClosedError, TimeoutError, OSError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self.stream.write(b"")  # done when the close frame has gone
                self.stream.socket.shutdown(socket.SHUT_WR)
                while True:
                    await self.stream.read_bytes(65536, partial=True)
        super()._abort()


def _is_close_payload(data: bytes) -> bool:
    """Whether a close frame may carry this: nothing, or a code and a reason (RFC 6455 section 5.5.1)."""
    return not data or (len(data) > 1 and int.from_bytes(data[:2], "big") in _CODES and _is_utf8(data[2:]))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
