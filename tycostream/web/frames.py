"""Headers of the WebSocket frames that a server sends (RFC 6455 section 5.2): whole, unmasked text frames."""

from __future__ import annotations

import struct

_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack


def text_frame_header(length: int) -> bytes:
    """The header of a text frame with a payload of so many bytes."""
    if length < 126:
        return bytes((0x81, length))
    if length < 65536:
        return _MEDIUM(0x81, 126, length)
    return _LONG(0x81, 127, length)
