"""One stream of changes to many clients, beside plain `socket.send` of the same bytes to as many.

The two take turns on the same loop, and the best of each counts, so that what else the machine does weighs on both. CPU
is counted from the change to the last send; after each turn the clients are waited for, so that no socket fills up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from benchmarks.harness import Goal, Point, Result, allow_files, cpu_seconds, serving, settled, sink
from benchmarks.plain import plain
from benchmarks.rows import row, shown, update_frame
from tycostream.model import Changes

TURNS = 9
APART = 0.5
"""Which share of the bursts has to come in segments of their own in some turn; a busy kernel joins some."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured, and which share of the limit must be reached."""

    clients: int
    burst: int
    own_ids: bool = False
    goal: float | None = None

    @property
    def name(self) -> str:
        """As in the table."""
        many = f"fan-out to {self.clients:,} client{'s' if self.clients > 1 else ''}, {self.burst} a send"
        return many + (", own operation ids" if self.own_ids else "")

    @property
    def line(self) -> str:
        """In the figure."""
        return f"{self.burst} a send" + (", own ids" if self.own_ids else "")


CASES = (
    Case(1, 1),
    Case(10, 1),
    Case(100, 1, goal=0.85),
    Case(1000, 1, goal=0.80),
    Case(1, 32),
    Case(10, 32),
    Case(100, 32, goal=0.80),
    Case(1000, 32, goal=0.75),
    Case(100, 32, own_ids=True, goal=0.55),
    Case(1000, 32, own_ids=True, goal=0.65),
)


async def fanout(scale: float) -> list[Result]:
    """Single changes and bursts of 32, to 1 client and up to 1,000."""
    allow_files(4096)
    return [await _measure(case, max(1, round(scale * TURNS)), scale) for case in CASES]


async def _measure(case: Case, turns: int, scale: float) -> Result:
    count = case.clients if scale >= 0.1 else min(case.clients, 20)
    sends = min(max(8000 // count, 8), 200 if case.burst == 1 else 8)
    each = sends * case.burst
    ours, limits, apart = [], [], 0.0
    async with serving(1) as service, sink() as process:
        group = await process.connect(service.port, count, own_ids=case.own_ids)
        async with plain(process, count) as beside:
            number, sent, current = 1, 1, row(0)
            data = update_frame(row(0, 1234.5, 10**9)) * case.burst
            for turn in range(turns + 1):  # the first one warms up
                events = [
                    Changes(number + at + 1, [("0", current := row(0, 1000.5 + number + at, 10**9 + number + at))])
                    for at in range(each)
                ]
                number += each
                before = cpu_seconds()
                for at in range(0, each, case.burst):
                    for event in events[at : at + case.burst]:
                        service.feed.emit(event)
                    await settled()
                used = cpu_seconds() - before
                sent += each
                seen = await group.reached(sent)
                apart = max(apart, seen.segments / sends)
                before = cpu_seconds()
                for _ in range(sends):
                    beside.send(data)
                    await asyncio.sleep(0)
                limit = cpu_seconds() - before
                await beside.group.reached((turn + 1) * each)
                if turn:
                    ours.append(used)
                    limits.append(limit)
        await group.check(sent, {"0": shown(current)})
    mine, least = (min(found) / each / count * 1e6 for found in (ours, limits))
    return Result(
        case.name,
        messages_per_second=1e6 / mine,
        cpu_per_message=mine,
        ratio=least / mine,
        limit=f"plain sends of {len(data) // case.burst} bytes: {least:.2f} µs each",
        missed="" if apart > APART else "sends were joined",
        goal=None if case.goal is None else Goal("ratio", at_least=case.goal),
        points=(
            Point("clients", case.line, count, 1e6 / mine),
            *(() if case.own_ids else (Point("clients", f"plain sends, {case.burst} a send", count, 1e6 / least),)),
        ),
    )
