"""Writes what a run found into docs/performance.md, between its markers, and draws the figures that the page shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.results import Result, table
from benchmarks.svg import Chart, draw

DOCS = Path(__file__).parents[1] / "docs"
PAGE = "performance.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

CHARTS = {
    "clients": Chart("Fan-out: messages a second of one core", "clients", "messages/s"),
    "latency": Chart("From the making of a row to its reading", "percentile", "milliseconds"),
    "filters": Chart("What a change costs beside filters that do not match", "distinct filters", "µs of CPU"),
}


def charts(results: Iterable[Result]) -> dict[str, str]:
    """SVG by the figure's name, for those of which there are points."""
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in results:
        for point in one.points:
            lines.setdefault(point.figure, {}).setdefault(point.line, []).append((point.x, point.y))
    return {name: draw(CHARTS[name], found) for name, found in lines.items()}


def write(results: list[Result], machine: str, when: str, docs: Path = DOCS) -> list[Path]:
    """The files that were written. Figures of which this run has no points stay as they are."""
    page = docs / PAGE
    before, found, rest = page.read_text().partition(BEGIN)
    _old, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page} has not both {BEGIN} and {END}")
    images = docs / "images"
    images.mkdir(exist_ok=True)
    written = [page]
    for name, drawn in charts(results).items():
        file = images / f"performance-{name}.svg"
        file.write_text(drawn)
        written.append(file)
    pictures = [
        f"![{chart.title}](images/performance-{name}.svg)"
        for name, chart in CHARTS.items()
        if (images / f"performance-{name}.svg").exists()
    ]
    page.write_text(
        before + "\n\n".join([BEGIN, summary(results, machine, when), table(results), *pictures, END]) + after
    )
    return written


def summary(results: list[Result], machine: str, when: str) -> str:
    """On what, when, and how many goals were reached."""
    judged = [one for one in results if one.passes is not None]
    reached = sum(bool(one.passes) for one in judged)
    return f"Measured {when} on {machine}. {reached} of {len(judged)} goals were reached."
