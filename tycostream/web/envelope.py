"""How results of one operation become WebSocket text frames: header, the protocol's prefix, the result, a brace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tycostream.web.frames import text_frame_header


@dataclass(frozen=True, slots=True)
class TextFrames:
    """A `next` message is the protocol's prefix (the key) + result + `}`. Operations with the same id share it."""

    key: bytes

    def wrap(self, payloads: Sequence[bytes]) -> bytes:
        """One frame a result, joined."""
        prefix = self.key
        around = len(prefix) + 1
        parts: list[bytes] = []
        for payload in payloads:
            parts += (text_frame_header(around + len(payload)), prefix, payload, b"}")
        return b"".join(parts)


def text_frame(message: bytes) -> bytes:
    """One whole message as a frame."""
    return text_frame_header(len(message)) + message
