"""Many clients that connect and subscribe at the same moment, beside some that are there already and get changes."""

from __future__ import annotations

import asyncio
import time

from benchmarks.bare import bare_server
from benchmarks.harness import Goal, Meter, Result, allow_files, paced, serving, sink
from benchmarks.rows import made_now, row, shown

CLIENTS = 1000
SETTLE_SECONDS = 0.3
QUERY = "subscription { trades(where: {id: {_eq: 0}}) { operation data { id account symbol side price quantity made_at note } fields } }"  # fmt: skip  # noqa: E501
WATCH = "subscription { trades(where: {id: {_eq: 1}}) { operation data { id account price made_at } fields } }"
"""Those who come follow another row than those who are there, so that it is known how many messages each will have."""


async def storm(scale: float) -> list[Result]:
    """1,000 clients at once. None is refused: one that is ends the measurement."""
    allow_files(4096)
    count = max(10, int(CLIENTS * min(1.0, scale * 10)))
    limit = 0.0
    async with bare_server() as (port, _process):
        for _ in range(2):
            async with sink() as clients:
                began = time.monotonic()
                _group, seen = await clients.connected(port, count)
                limit = max(limit, count / (seen.last - began))
    async with serving(2) as service, sink() as watchers, sink() as clients:
        watching = await watchers.connect(service.port, 10, WATCH)

        async def change() -> int:
            made = await paced(service.feed.emit, lambda number: ("1", made_now(1, 1.5 + number)), 2000, 1, 0.001)
            return len(made)

        feeding = asyncio.create_task(change())
        await asyncio.sleep(SETTLE_SECONDS)  # in the middle of it
        meter = Meter()
        group, seen = await clients.connected(service.port, count, QUERY)
        took, cpu = seen.last - meter.began, meter.cpu_per(count)
        changes = await feeding
        beside = await watching.reached(1 + changes)
        await group.check(1, {"0": shown(row(0))})
    return [
        Result(
            f"{count:,} clients connect and subscribe at once",
            per_second=count / took,
            cpu_per_message=cpu,
            ratio=count / took / limit,
            limit=f"bare Tornado: {limit:,.0f} a second",
            note=f"first row of the last one after {took * 1000:.0f} ms",
            goal=Goal("per_second", at_least=1000),
        ),
        Result(
            "  10 other clients meanwhile, 1,000 changes/s",
            p50=beside.percentile(0.5),
            p99=beside.percentile(0.99),
            goal=Goal("p99", at_most=50),
        ),
    ]
