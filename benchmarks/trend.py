"""Whether something grows: a straight line through what was measured, and how sure one can be of its slope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)
"""Student's t, two-sided 95 %, by degrees of freedom from 1 on; about 2 beyond."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope, and by how much it may be off (95 %)."""

    slope: float
    error: float

    @property
    def least(self) -> float:
        """It is hardly less than this."""
        return self.slope - self.error


def trend(points: Sequence[tuple[float, float]], block: float) -> Trend:
    """The slope of y over x. Neighbouring measurements are alike, which would make a line through all of them look far
    more certain than it is: so it goes through the means of blocks of this length of x. Raises ValueError for fewer
    than three blocks."""
    means = _means(points, block)
    if len(means) < 3:
        raise ValueError(f"{len(means)} blocks of {block:g} are too few for a trend")
    middle_x = sum(x for x, _ in means) / len(means)
    middle_y = sum(y for _, y in means) / len(means)
    spread = sum((x - middle_x) ** 2 for x, _ in means)
    slope = sum((x - middle_x) * (y - middle_y) for x, y in means) / spread
    freedom = len(means) - 2
    residual = sum((y - middle_y - slope * (x - middle_x)) ** 2 for x, y in means)
    student = T95[freedom - 1] if freedom <= len(T95) else 2.0
    return Trend(slope, student * math.sqrt(residual / freedom / spread))


def _means(points: Sequence[tuple[float, float]], block: float) -> list[tuple[float, float]]:
    blocks: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        blocks.setdefault(math.floor((x - points[0][0]) / block), []).append((x, y))
    largest = max(map(len, blocks.values()), default=0)
    whole = [found for found in blocks.values() if len(found) * 2 >= largest]  # not the rest at the end
    return [(sum(x for x, _ in found) / len(found), sum(y for _, y in found) / len(found)) for found in whole]
