"""What a change costs a source whose subscriptions have many distinct filters that do not match it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.harness import SCHEMA, Goal, Meter, Point, Result, row
from tycostream.filters import parse_filter
from tycostream.graphql.rendering import make_selection
from tycostream.model import Source
from tycostream.settings.schema_file import parse_schema
from tycostream.views import Delta, Outlet, Subscription, Views
from tycostream.web.envelope import TextFrames

COUNTS = (10, 100, 1000, 10_000, 100_000)
SECONDS = 0.3
"""How long a cost is measured for."""

SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "_eq": lambda number: {"account": {"_eq": str(10**9 + number)}},
    "_in": lambda number: {"account": {"_in": [str(10**9 + 2 * number), str(10**9 + 2 * number + 1)]}},
    "ranges": lambda number: {"price": {"_gt": 1000.0 + number}},
    "_and of both": lambda number: {"symbol": {"_eq": "SYM1"}, "price": {"_gt": 1000.0 + number}},
}


async def filters(scale: float) -> list[Result]:
    """From 10 filters of a shape to 100,000."""
    source = parse_schema("schema.yaml", SCHEMA).sources["trades"]
    counts = COUNTS[: 5 if scale >= 1 else 4 if scale >= 0.1 else 2]
    results = []
    for shape in SHAPES:
        costs = [_cost(source, shape, count, SECONDS * min(1.0, scale * 3)) for count in counts]
        for count, cost in zip(counts, costs, strict=True):
            results.append(
                Result(
                    f"change beside {count:,} filters that do not match, {shape}",
                    cpu_per_message=cost,
                    added=cost - costs[0] if count != counts[0] else None,
                    limit="" if count == counts[0] else f"{counts[0]} filters: {costs[0]:.2f} µs",
                    goal=Goal("added", at_most=0.5) if count == counts[-1] else None,
                    points=(Point("filters", shape, count, cost),),
                )
            )
    return results


def _cost(source: Source, shape: str, count: int, seconds: float) -> float:
    """Microseconds of CPU for each change: the best of some turns."""
    views = Views()
    selection = make_selection(source, "trades", ())
    for number in range(count):
        condition = parse_filter(source, SHAPES[shape](number))
        views.add(Subscription(source, condition, selection, TextFrames(b""), Outlet(None), str(number)))
    old, new = row(1, 1.0), row(1, 2.0)
    delta: Delta = ("1", old, new, 1 << source.positions["price"])
    _route(views, [delta])
    batch = max(1, min(1000, int(10_000 / _route(views, [delta] * 3))))  # 10 ms
    return min(_route(views, [delta] * batch) for _ in range(max(2, int(seconds / 0.01))))


def _route(views: Views, deltas: list[Delta]) -> float:
    meter = Meter()
    views.route(deltas, 1)
    if list(views.flush()):
        raise RuntimeError("a filter matched that must not")
    return meter.cpu_per(len(deltas))
