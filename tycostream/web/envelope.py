"""How results of one operation become WebSocket text frames: header, the protocol's prefix, the result, a brace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add

from tycostream.web.frames import text_frame_header

USUAL = 4096
"""Most messages are shorter than so many bytes."""

_BETWEEN = tuple(b"}" + text_frame_header(length) for length in range(USUAL))
"""A result's end and the next one's header, by the latter's length."""


@dataclass(frozen=True, slots=True)
class TextFrames:
    """A `next` message is the protocol's prefix + result + `}`; see `views.delivery.Envelope`."""

    prefix: bytes

    def wrap(self, payloads: Sequence[bytes]) -> bytes:
        """Whole messages. (What `cut` gives would be copied once more; a list of what stands between, that both could
        be made of, costs half as much again.)"""
        prefix = self.prefix
        around = len(prefix) + 1
        parts: list[bytes] = []
        for payload in payloads:
            length = around + len(payload)
            parts += (_BETWEEN[length] if length < USUAL else b"}" + text_frame_header(length), prefix, payload)
        parts[0] = parts[0][1:]  # nothing ends before the first
        parts.append(b"}")
        return b"".join(parts)

    def cut(self, payloads: Sequence[bytes]) -> list[bytes]:
        """What stands around the prefixes: a header, then each result's end with the next one's header."""
        around = len(self.prefix) + 1
        if len(payloads) == 1:
            return [text_frame_header(around + len(payloads[0])), payloads[0] + b"}"]
        first, *others = [around + len(payload) for payload in payloads]
        behind = [_BETWEEN[length] if length < USUAL else b"}" + text_frame_header(length) for length in others]
        return [text_frame_header(first), *map(add, payloads, (*behind, b"}"))]


@lru_cache(maxsize=1024)
def text_frames(prefix: bytes) -> TextFrames:
    """The envelope of this prefix: clients like the same operation ids, and are found to have the same envelope."""
    return TextFrames(prefix)


def text_frame(message: bytes) -> bytes:
    """One whole message as a frame."""
    return text_frame_header(len(message)) + message
