"""A map of where numbers lie between intervals: one look in place of a bisection, of which most is waiting for memory.

The numbers from the lowest bound to the highest fall into squares of equal width, a byte each. A square is free where
it is known that nothing of any interval is in it. It may be marked without need, never free without reason: so
intervals may come and go while the map is drawn, a piece at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SQUARES = 4
"""For each interval."""

PIECE = 1000
"""Gaps that are drawn at a time: some 0.8 ms."""


class Gaps:
    """Of as many intervals as `lows` and `highs` have, both in rising order; all of them whole numbers or floats.

    It stays true if `cover` is told of every interval that comes.
    """

    __slots__ = ("_base", "_drawn", "_marks", "_scale")

    def __init__(self, lows: Sequence[Any], highs: Sequence[Any]) -> None:
        """Raises TypeError, ValueError or ArithmeticError where there can be no map of them."""
        self._base = lows[0]
        width = highs[-1] - lows[0]
        self._scale: float = SQUARES * len(lows) / width
        self._marks = bytearray(b"\1") * (int(width * self._scale) + 1)
        self._drawn = 0

    def has(self, value: Any) -> bool:
        """Whether a value lies within no interval; False where that is not known, as beyond the map."""
        try:
            place = (value - self._base) * self._scale  # as in `_square`, without the cost of a call
            return place >= 0 and not self._marks[int(place)]
        except (TypeError, ValueError, OverflowError, IndexError):  # it is no number, or beyond the map, or infinite
            return False

    def _square(self, value: Any) -> int:
        """Rises with the value, whatever the rounding; -1 before the map, and its length behind it."""
        place = (value - self._base) * self._scale
        return int(min(place, len(self._marks))) if place >= 0 else -1

    def cover(self, low: Any, high: Any) -> bool:
        """There is one more interval. Returns whether the map is still true."""
        try:
            first, last = max(0, self._square(low)), self._square(high)
        except (TypeError, ValueError, OverflowError):
            return False
        marks = self._marks
        last = min(last, len(marks) - 1)
        if first <= last:
            marks[first : last + 1] = b"\1" * (last + 1 - first)
        return True

    def draw(self, lows: Sequence[Any], highs: Sequence[Any]) -> bool:
        """Draw some more of it, from the bounds of this moment. Returns whether more is left."""
        marks = self._marks
        start = self._drawn
        self._drawn = start + PIECE
        # Of the ends in order, where as many have ended as have begun, there is a gap up to the next beginning
        for end, begin in zip(highs[start : start + PIECE], lows[start + 1 : start + 1 + PIECE], strict=False):
            if end < begin:
                first, last = self._square(end) + 1, self._square(begin)
                if first < last:
                    marks[first:last] = bytes(last - first)
        return self._drawn < len(lows)
