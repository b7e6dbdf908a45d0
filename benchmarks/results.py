"""What a measurement found, what must hold of it, and how both are shown and kept."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Goal:
    """What must hold of one figure of a result: the name of the figure, and a bound on one side."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether the value is on the right side."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is None or value <= self.at_most

    def __str__(self) -> str:
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None
        return f"{'≤' if self.at_least is None else '≥'} {FIGURES[self.figure](bound)}"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a result stands in a figure of docs/performance.md: which figure, which of its lines, and where on it."""

    figure: str
    line: str
    x: float
    y: float


@dataclass(slots=True)
class Result:
    """A line of the table. `ratio` is the share of the limit measured beside it: the higher the better, always."""

    name: str
    rows_per_second: float | None = None
    messages_per_second: float | None = None
    cpu_per_message: float | None = None
    """Microseconds of the service's CPU."""
    p50: float | None = None
    """Milliseconds, as p99 and `milliseconds`."""
    p99: float | None = None
    resident: float | None = None
    """MiB of the process."""
    ratio: float | None = None
    note: str = ""
    limit: str = ""
    """What stands beside, in words and figures."""
    goal: Goal | None = None
    milliseconds: float | None = None
    added: float | None = None
    """Microseconds more than the limit."""
    bytes_each: float | None = None
    per_second: float | None = None
    missed: str = ""
    """Why the goal is not reached whatever its figure says."""
    points: tuple[Point, ...] = ()

    @property
    def passes(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        value = getattr(self, self.goal.figure)
        return not self.missed and value is not None and self.goal.holds(value)

    def shown(self) -> str:
        """The figures."""
        parts = [form(value) for name, form in FIGURES.items() if (value := getattr(self, name)) is not None]
        return ", ".join([part for part in parts if part] + [text for text in (self.note, self.missed) if text])


FIGURES: dict[str, Any] = {
    "rows_per_second": "{:,.0f} rows/s".format,
    "messages_per_second": "{:,.0f} messages/s".format,
    "per_second": "{:,.0f} a second".format,
    "cpu_per_message": "{:.2f} µs CPU".format,
    "added": "{:+.2f} µs".format,
    "milliseconds": "{:.0f} ms".format,
    "p50": "p50 {:.2f} ms".format,
    "p99": "p99 {:.2f} ms".format,
    "bytes_each": "{:,.0f} bytes".format,
    "resident": lambda _value: "",  # in the JSON alone
    "ratio": lambda value: "" if value is None else f"{value:.0%}",
}


def verdict(result: Result) -> str:
    """In a word."""
    return {True: "pass", False: "**below**", None: ""}[result.passes]


def table(results: Iterable[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| | must be | limit beside it | result | of limit | |", "| --- | --- | --- | --- | --- | --- |"]
    for one in results:
        ratio, one_figures = one.ratio, Result(**{**fields(one), "ratio": None}).shown()
        cells = (
            one.name,
            "" if one.goal is None else str(one.goal) + (" of the limit" if one.goal.figure == "ratio" else ""),
            one.limit,
            one_figures,
            "" if ratio is None else f"{ratio:.0%}",
            verdict(one),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fields(result: Result) -> dict[str, Any]:
    """All of them by name, goal and points as they are."""
    return {name: getattr(result, name) for name in Result.__slots__}


def machine() -> str:
    """What was measured on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def as_json(results: Iterable[Result], **described: Any) -> str:
    """For a file. `described`: the machine, if it is another one, and when."""
    return json.dumps({"machine": machine(), **described, "results": [asdict(one) for one in results]}, indent=1)


def load(path: Path) -> tuple[list[Result], dict[str, Any]]:
    """The results of a file, and what else is in it."""
    found = json.loads(path.read_text())
    results = []
    for one in found.pop("results"):
        one["goal"] = Goal(**one["goal"]) if one.get("goal") else None
        one["points"] = tuple(Point(**point) for point in one.get("points", ()))
        results.append(Result(**one))
    return results, found
