"""Frames on a stream socket between two processes: how messages and batches travel on one machine.

A frame is four bytes for the length of what follows, one for its kind, four for the stream it belongs to, and its
payload; numbers are big-endian.
"""

from __future__ import annotations

import asyncio
import enum
import json
import socket
import struct
from collections.abc import Callable
from typing import Any, Self

_HEAD = struct.Struct("!IBI")
LONGEST = 1 << 30
"""Bytes of a payload. More is a mistake of the other side's."""

ROOM_BYTES = 1 << 20
"""What may wait for the other side before the channel says that it has no room."""


class Kind(enum.IntEnum):
    """What a frame's payload is."""

    MESSAGE = 0
    """JSON of no stream: what the two processes say to each other."""
    PICKLE = 1
    """What one process of a program hands to another of the same: settings, a catalog."""
    BATCH = 2
    """A numbered batch of changes; the stream is the source's, the same for all who follow."""
    MISSED = 3
    """Changes for one follower alone, which it has missed."""
    ROWS = 4
    """Some of the rows that a follower begins with."""
    PAST = 5
    """Recent changes, for a follower to remember."""


class ChannelError(Exception):
    """What came is no frame."""


def framed(kind: Kind, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return _HEAD.pack(len(payload), kind, stream) + payload


class FrameReader:
    """Takes bytes as they come, and gives whole frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = _HEAD.size

    def feed(self, data: bytes) -> list[tuple[Kind, int, bytes]]:
        """The frames that are whole now: kind, stream, payload. Raises ChannelError."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
        frames = []
        at, end = 0, len(data)
        self._needed = _HEAD.size
        while end - at >= _HEAD.size:
            length, kind, stream = _HEAD.unpack_from(data, at)
            if length > LONGEST or kind not in _KINDS:
                raise ChannelError(f"a frame of kind {kind} with {length} bytes")
            start = at + _HEAD.size
            if end - start < length:
                self._needed = _HEAD.size + length
                break
            at = start + length
            frames.append((Kind(kind), stream, data[start:at]))
        self._rest = bytearray(data[at:])
        return frames


_KINDS = frozenset(Kind)


class Channel(asyncio.Protocol):
    """One end of such a socket. `hear` is called for every frame, `on_lost` once when the other side is gone, `on_room`
    when what waited for it has become little."""

    def __init__(self) -> None:
        self.hear: Callable[[Kind, int, bytes], None] = lambda _kind, _stream, _payload: None
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._holding: set[object] = set()
        self.on_lost: Callable[[Exception | None], None] = lambda _error: None
        self.on_room: Callable[[], None] = lambda: None
        self.has_room = True
        self.sent_bytes = 0
        self.sent_frames = 0

    @classmethod
    async def over(cls, connected: socket.socket) -> Self:
        """A channel over a connected socket, which belongs to it from now on."""
        loop = asyncio.get_running_loop()
        _transport, channel = await loop.create_unix_connection(cls, sock=connected)
        return channel

    @property
    def waiting_bytes(self) -> int:
        """What the socket has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, kind: Kind, stream: int, payload: bytes) -> None:
        """Send a frame; nothing where the other side is gone."""
        if self._transport is not None:
            self.sent_bytes += len(payload)
            self.sent_frames += 1
            self._transport.write(framed(kind, stream, payload))

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        self.send(Kind.MESSAGE, 0, json.dumps(message, separators=(",", ":"), default=str).encode())

    def hold(self, holder: object) -> None:
        """Read no more until this holder, and every other, lets go."""
        if self._transport is not None and not self._holding:
            self._transport.pause_reading()
        self._holding.add(holder)

    def let_go(self, holder: object) -> None:
        """See `hold`."""
        if holder in self._holding:
            self._holding.discard(holder)
            if self._transport is not None and not self._holding:
                self._transport.resume_reading()

    def close(self) -> None:
        """Close it, once what waits has been sent."""
        if self._transport is not None:
            self._transport.close()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=ROOM_BYTES)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, stream, payload in self._reader.feed(data):
                self.hear(kind, stream, payload)
        except Exception:
            if self._transport is not None:
                self._transport.abort()
            raise

    def pause_writing(self) -> None:
        self.has_room = False

    def resume_writing(self) -> None:
        self.has_room = True
        self.on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.has_room = False
        self.on_lost(exc)
