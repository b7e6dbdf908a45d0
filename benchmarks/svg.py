"""Line charts as SVG text. Places on the x axis stand at equal distances; the y axis is logarithmic where needed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 820, 420
LEFT, RIGHT, TOP, BOTTOM = 72, 290, 64, 52
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a", "#0a7ea4", "#bf3989")
SPREAD = 30
"""From this ratio of the largest value to the smallest on, the y axis is logarithmic."""

Line = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is written around the lines."""

    title: str
    x: str
    y: str


def draw(chart: Chart, lines: Mapping[str, Line]) -> str:
    """The chart as a whole file. A line has a point for each x that it knows."""
    places = sorted({x for line in lines.values() for x, _ in line})
    scale = _Scale([y for line in lines.values() for _, y in line])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="sans-serif">',
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, chart.title, size=15, weight="600"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, chart.x, anchor="middle"),
        _text(LEFT - 60, TOP - 18, chart.y),
    ]
    for value in scale.ticks:
        y = scale.place(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#d0d7de"/>')
        parts.append(_text(LEFT - 8, y + 4, shorten(value), anchor="end"))
    parts += [_text(_across(places, x), HEIGHT - BOTTOM + 20, shorten(x), anchor="middle") for x in places]
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if number >= len(COLOURS) or name.startswith("plain") else ""
        points = [(_across(places, x), scale.place(y), x, y) for x, y in sorted(line)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        for x, y, at, value in points:
            shown = f"{escape(name)}, {shorten(at)}: {shorten(value)}"
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{shown}</title></circle>')
        key = TOP + 8 + number * 20
        parts.append(
            f'<path d="M{WIDTH - RIGHT + 16} {key}h22" stroke="{colour}" stroke-width="3"{dash}/>'
            + _text(WIDTH - RIGHT + 44, key + 4, name)
        )
    return "\n".join([*parts, "</svg>\n"])


class _Scale:
    """The y axis: its ticks, and where a value stands."""

    def __init__(self, values: Sequence[float]) -> None:
        least, most = max(min(values), 1e-9), max(*values, 1e-9)
        self._logarithmic = most / least > SPREAD
        if self._logarithmic:
            first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
            self.ticks = [10.0**power for power in range(first, last + 1)]
        else:
            step = _step(most / 5)
            self.ticks = [step * number for number in range(math.ceil(most / step) + 1)]

    def place(self, value: float) -> float:
        """From above."""
        if self._logarithmic:
            low, high = math.log10(self.ticks[0]), math.log10(self.ticks[-1])
            share = (math.log10(max(value, self.ticks[0])) - low) / (high - low)
        else:
            share = value / self.ticks[-1]
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _step(least: float) -> float:
    """The next of 1, 2, 5, 10, 20, ..."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _across(places: Sequence[float], x: float) -> float:
    room = WIDTH - RIGHT - LEFT - 40
    return LEFT + 20 + (places.index(x) / (len(places) - 1) * room if len(places) > 1 else room / 2)


def shorten(value: float) -> str:
    """A number for people: 0.5, 12, 1,000, 2.5M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M" if value % 1e5 == 0 else f"{value / 1e6:.2f}M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" '
        f'fill="#1f2328">{escape(text)}</text>'
    )
