"""How long a change takes from its making to a client's reading, at a steady pace; beside plain sends at that pace."""

from __future__ import annotations

import asyncio
import time

from benchmarks.clients import Seen, Sink
from benchmarks.harness import Goal, Meter, Point, Result, paced, serving, sink
from benchmarks.plain import plain
from benchmarks.rows import QUERY, made_now, row, shown, update_frame

HELD = 10_000
EVERY = 0.001
WARM_UP = 0.2
SECONDS = 4.0
KEPT = 0.95
"""Which share of the pace has to be kept for a latency to mean anything."""

ONE = QUERY.replace("trades", "trades(where: {id: {_lt: 10}})")
"""Few rows, so that 100 clients have them soon."""


async def latency(scale: float) -> list[Result]:
    """20,000 rows a second to one client; 5,000 to each of 100, half a million deliveries a second."""
    return [
        await _measure(1, 20_000, QUERY, HELD, scale, Goal("p99", at_most=2)),
        await _measure(100, 5000, ONE, 10, scale, Goal("p99", at_most=6)),
    ]


async def _measure(clients: int, per_second: int, query: str, held: int, scale: float, goal: Goal) -> Result:
    at_once = round(per_second * EVERY)
    count = max(at_once, int(per_second * SECONDS * scale) // at_once * at_once)
    warm_up = int(per_second * WARM_UP * min(1.0, scale * 10)) // at_once * at_once
    if scale < 0.1:
        clients = min(clients, 10)
    async with sink() as process:
        limit = await _plain(process, clients, at_once, warm_up, count)
    async with serving(HELD) as service, sink() as process:
        group = await process.connect(service.port, clients, query, first=held)

        def make(number: int) -> tuple[str, tuple[str | None, ...]]:
            return str(number % held), made_now(number % held, 1.5 + number)

        rows = {str(number): row(number) for number in range(held)}
        changes = await paced(service.feed.emit, make, warm_up, at_once, EVERY)
        await group.reached(held + warm_up)
        meter = Meter()
        changes += await paced(service.feed.emit, make, count, at_once, EVERY)
        seen = await group.reached(held + warm_up + count)
        cpu = meter.cpu_per(count * clients)
        rows.update(changes)
        await group.check(held + warm_up + count, {key: shown(values) for key, values in rows.items()})
    pace = count * clients / (seen.last - meter.began)
    name = f"{per_second * clients:,} rows/s to {clients} client{'s' if clients > 1 else ''}"
    return Result(
        f"latency, {name}",
        per_second=pace,
        missed="the pace was not kept" if pace < per_second * clients * KEPT else "",
        cpu_per_message=cpu,
        p50=seen.percentile(0.5),
        p99=seen.percentile(0.99),
        ratio=(limit.percentile(0.99) or 0) / (seen.percentile(0.99) or 1),
        limit=f"plain sends: p50 {limit.percentile(0.5):.2f} ms, p99 {limit.percentile(0.99):.2f} ms",
        goal=goal,
        points=tuple(
            Point("latency", line, float(share) * 100, value)
            for line, found in ((name, seen), (f"plain sends, {name}", limit))
            for share, value in found.latencies.items()
        ),
    )


async def _plain(process: Sink, clients: int, at_once: int, warm_up: int, count: int) -> Seen:
    async with plain(process, clients) as beside:
        for messages, total in ((warm_up, warm_up), (count, warm_up + count)):
            began = time.monotonic()
            for made in range(0, messages, at_once):
                rows = [made_now(number % HELD, 1.5 + number) for number in range(made, made + at_once)]
                beside.send(b"".join(map(update_frame, rows)))
                await asyncio.sleep(max(0.0, began + (made / at_once + 1) * EVERY - time.monotonic()))
            seen = await beside.group.reached(total)
    return seen
