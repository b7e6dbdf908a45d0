"""10,000 subscriptions that differ only in their id: a change is evaluated and rendered once, and each costs next to
nothing besides its share of the send."""

from __future__ import annotations

from benchmarks.harness import Goal, Result, cpu_seconds, serving, settled, sink
from benchmarks.plain import plain
from benchmarks.rows import QUERY, row, shown, update_frame
from tycostream.model import Changes

CONNECTIONS, EACH = 100, 100
TURNS = 30


async def sharing(scale: float) -> list[Result]:
    """100 connections with 100 subscriptions each."""
    connections, each = (CONNECTIONS, EACH) if scale >= 0.1 else (5, 20)
    count = connections * each
    mine, least = [], []
    async with serving(1) as service, sink() as clients:
        group = await clients.connect(service.port, connections, QUERY, own_ids=True, subscriptions=each)
        views = list(service._memories["trades"].views)
        if [len(view.groups) for view in views] != [1]:
            raise RuntimeError("what is the same for all is not shared: there is more than one view or group")
        async with plain(clients, connections) as beside:
            number, current = 1, row(0)
            data = update_frame(row(0, 1234.5, 10**9)) * each
            for _turn in range(max(2, round(TURNS * min(1.0, scale * 3)))):
                number += 1
                current = row(0, 1000.5 + number, 10**9 + number)
                event = Changes(number, [("0", current)])
                before = cpu_seconds()
                service.feed.emit(event)
                await settled()
                mine.append(cpu_seconds() - before)
                await group.reached(number)
                before = cpu_seconds()
                beside.send(data)
                least.append(cpu_seconds() - before)
                await beside.group.reached((number - 1) * each)
        await group.check(number, {"0": shown(current)})
    ours, limit = (min(found) / count * 1e6 for found in (mine, least))
    return [
        Result(
            f"change to {count:,} equal subscriptions with ids of their own, on {connections} connections",
            cpu_per_message=ours,
            added=ours - limit,
            limit=f"plain sends: {limit:.2f} µs each",
            note="one view, one group",
            goal=Goal("added", at_most=0.1),
        )
    ]
