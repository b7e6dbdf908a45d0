"""What a change costs that no filter matches, beside how many filters of each kind."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import QUERY, SCHEMA, Goal, Meter, Point, Result, row
from tycostream.filters import parse_filter
from tycostream.graphql import Engine, Limits, SubscriptionPlan
from tycostream.model import Operation, Row, Source
from tycostream.settings import load_schema
from tycostream.views import Applied, Outlet, Subscription, Views
from tycostream.web.envelope import TextFrames

COUNTS = (10, 1_000, 100_000)
ONE_BY_ONE = 1_000
"""The most filters of the kind for which there is no index."""

_PRICE = 0b10000
_ROWS = 1_000
_CHANGES = 20_000
_TOGETHER = 1_000

Where = Callable[[int], dict[str, Any]]

KINDS: dict[str, Where] = {
    "_eq": lambda number: {"account": {"_eq": str(10_000_000 + number)}},
    "_in": lambda number: {"account": {"_in": [str(10_000_000 + 3 * number + one) for one in range(3)]}},
    "_gt": lambda number: {"price": {"_gt": 1_000_000 + number}},
    "_gte and _lt": lambda number: {"price": {"_gte": number, "_lt": number + 0.1}},
    "_eq and _gt": lambda number: {"symbol": {"_eq": "SYM1"}, "price": {"_gt": 1_000_000 + number}},
    "_eq, _gte and _lt": lambda number: {"symbol": {"_eq": "SYM1"}, "price": {"_gte": number, "_lt": number + 0.1}},
    "_like": lambda number: {"note": {"_like": f"{number}%"}},
}
"""All of them on the rows that change; between the ranges there is room for the prices."""


async def filters(scale: float) -> list[Result]:
    """Prices move a little, anywhere among the bounds of so many subscriptions, each with a filter of its own."""
    results: list[Result] = []
    for name, where in KINDS.items():
        found: list[Result] = []
        for count in COUNTS:
            if name == "_like" and count > ONE_BY_ONE:
                continue
            filters_of = max(2 * ONE_BY_ONE, int(count * scale)) if count > ONE_BY_ONE else count
            one = _measure(name, where, filters_of, max(1, int(10 * scale)))
            one.points = (Point("filters", name, filters_of, one.cpu_per_message or 0.0),)
            found.append(one)
        _judge(found, None if name == "_like" else Goal("added", at_most=0.5))
        results += found
    return results


def _judge(found: list[Result], goal: Goal | None) -> None:
    """Hold the others against the one with the fewest filters; the goal is for the most."""
    least = found[0].cpu_per_message
    assert least is not None
    for one in found[1:]:
        assert one.cpu_per_message is not None
        one.added, one.limit = one.cpu_per_message - least, f"{COUNTS[0]} filters: {least:.2f} µs"
    found[-1].goal = goal


def _measure(name: str, where: Where, count: int, rounds: int) -> Result:
    plan = _plan()
    subscriptions = [_subscription(plan, where(number)) for number in range(count)]
    random.Random(1).shuffle(subscriptions)
    views = Views()
    began = time.process_time()
    for subscription in subscriptions:
        views.add(subscription)
    added = (time.process_time() - began) / count * 1e6
    changes = _changes(plan.source, count, _CHANGES // (10 if name == "_like" else 1))
    best = float("inf")
    for _ in range(3):  # the best of three, for others use the machine too
        meter = Meter()
        for _ in range(rounds):
            for some in changes:
                views.route(some)
                if list(views.flush()):
                    raise RuntimeError("a filter matched that must not")
        best = min(best, meter.cpu_per(rounds * sum(len(some.changes) for some in changes)))
    gone = subscriptions[:1000]
    began = time.process_time()
    for subscription in gone:
        views.remove(subscription)
    removed = (time.process_time() - began) / len(gone) * 1e6
    return Result(
        f"event, {count:,} filters of {name} that do not match",
        cpu_per_message=best,
        note=f"one more view: {added:.0f} µs, one less: {removed:.0f} µs",
    )


def _changes(source: Source, count: int, many: int) -> list[Applied]:
    """Rows whose prices walk by less than two at a time, anywhere up to the number of filters; in transactions of
    many."""
    chance = random.Random(2)

    def at(whole: int) -> Row:
        return row(1, whole + 0.2 + 0.7 * chance.random())

    places = [chance.randrange(count) for _ in range(_ROWS)]
    rows = list(map(at, places))
    transactions: list[Applied] = []
    for number in range(many):
        if not number % _TOGETHER:
            transactions.append(Applied())
        one = chance.randrange(_ROWS)
        places[one] = max(0, places[one] + chance.choice((-1, 0, 1)))
        old, rows[one] = rows[one], at(places[one])
        transactions[-1].changes.append((Operation.UPDATE, source.key_of(rows[one]), rows[one], _PRICE, 1))
        transactions[-1].before.append(old)
    return transactions


def _subscription(plan: SubscriptionPlan, where: dict[str, Any]) -> Subscription:
    frames = TextFrames(b'{"id":"1","type":"next","payload":')
    return Subscription(plan.source, parse_filter(plan.source, where), plan.selection, frames, Outlet(None), "1")


def _plan() -> SubscriptionPlan:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.yaml"
        file.write_text(SCHEMA)
        engine = Engine(load_schema(file), Limits(), rows=None)  # type: ignore[arg-type]
    plan = engine.prepare(QUERY, None, None)
    assert isinstance(plan, SubscriptionPlan)
    return plan
