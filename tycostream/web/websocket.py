"""Tornado's WebSocket protocol, told of progress, and made to end so that the client learns why."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketProtocol13

from tycostream.web.close_codes import CloseCode

LINGER_SECONDS = 5.0
_TEXT, _BINARY = 0x1, 0x2


class PatientProtocol(WebSocketProtocol13):
    """Differs from Tornado's in three ways.

    - A client that takes what had waited for it is alive, though its pong stands behind all that.
    - A text frame that is not UTF-8 is handed on as bytes; Tornado drops the connection without a close frame.
    - After a message that is too big, what the client still sends is read and thrown away for a while. A socket that is
      closed with unread data is reset, and a client that never sees code 1009 connects and sends it again.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._lingering: asyncio.Task[None] | None = None

    def progressed(self) -> None:
        """The client takes what it is sent."""
        self._received_pong = True

    def _handle_message(self, opcode: int, data: bytes) -> asyncio.Future[None] | None:
        return super()._handle_message(_BINARY if opcode == _TEXT and not _is_utf8(data) else opcode, data)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        super().close(code, reason)
        if code == CloseCode.MESSAGE_TOO_BIG and self._lingering is None and not self.stream.closed():
            self.client_terminated = True  # ends the loop that reads frames
            self._lingering = asyncio.ensure_future(self._linger())

    def _abort(self) -> None:
        if self._lingering is None:
            super()._abort()

    async def _linger(self) -> None:
        with contextlib.suppress(StreamClosedError, TimeoutError, OSError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self.stream.write(b"")  # done when the close frame has gone
                self.stream.socket.shutdown(socket.SHUT_WR)
                while True:
                    await self.stream.read_bytes(65536, partial=True)
        super()._abort()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
