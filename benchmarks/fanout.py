"""One stream of changes to many clients, beside plain `socket.send` of the same bytes to as many.

The two take turns on the same loop, so that what else the machine does weighs on both. Each turn is held against the
one beside it, and the median of these shares counts: the best of each would be the luckiest of each. CPU is counted
from the change to the last send. Changes are made right before that, as by a driver: those that were made all together
beforehand would have to come from memory. They are made for the plain sends too, where nobody needs them: what the
process has done since its last send, and how long its clients have had nothing, weighs on the next one. After each turn
the clients are waited for, so that no socket fills up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from actors.runtime import Dispatcher
from benchmarks.clients import Group
from benchmarks.harness import (
    FedService,
    Goal,
    Point,
    Result,
    allow_files,
    cpu_seconds,
    serving,
    settled,
    sink,
)
from benchmarks.plain import Plain, plain
from benchmarks.rows import row, shown, update_frame
from tycostream.model import Changes, Row

TURNS = 9
APART = 0.9

Turn = tuple[float, float]
"""Which share of the sends came in segments of their own, and seconds of CPU."""


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


ROOMS = {
    (1, False): (Case(1, 1), Case(1, 32)),
    (10, False): (Case(10, 1), Case(10, 32)),
    (100, False): (Case(100, 1, goal=0.85), Case(100, 32, goal=0.80)),
    (1000, False): (Case(1000, 1, goal=0.80), Case(1000, 32, goal=0.75)),
    (100, True): (Case(100, 32, own_ids=True, goal=0.55),),
    (1000, True): (Case(1000, 32, own_ids=True, goal=0.65),),
}
"""What is measured with the same clients: by how many there are, and whether their ids are their own."""


async def fanout(scale: float) -> list[Result]:
    """Single changes and bursts of 32, to 1 client and up to 1,000."""
    allow_files(4096)
    results: list[Result] = []
    for (clients, own_ids), cases in ROOMS.items():
        count = clients if scale >= 0.1 else min(clients, 20)
        async with serving(1) as service, sink() as process:
            group = await process.connect(service.port, count, own_ids=own_ids)
            async with plain(process, count) as beside:
                room = Room(service, group, beside, count)
                results += [await room.measure(case, max(1, round(scale * TURNS))) for case in cases]
            await group.check(room.told, {"0": shown(room.current)})
    return results


class Room:
    """A service with its clients, as many that only read, and what they have had so far."""

    def __init__(self, service: FedService, group: Group, beside: Plain, count: int) -> None:
        self._service, self._group, self._beside, self._count = service, group, beside, count
        self._dispatcher = Dispatcher.current()
        self._plain = 0
        self.told = 1
        self.current = row(0)

    async def measure(self, case: Case, turns: int) -> Result:
        """One case. The first turn warms up."""
        sends = min(max(8000 // self._count, 8), 200 if case.burst == 1 else 32)
        data = update_frame(row(0, 1234.5, 10**9)) * case.burst
        pairs: list[tuple[Turn, Turn]] = []
        for turn in range(turns + 1):
            found = await self._ours(case.burst, sends), await self._limit(case.burst, sends, data)
            if turn:
                pairs.append(found)
        each = sends * case.burst * self._count / 1e6
        apart, used, least = _median(pairs)
        mine, least = used / each, least / each
        return Result(
            case.name,
            messages_per_second=1e6 / mine,
            cpu_per_message=mine,
            ratio=least / mine,
            limit=f"plain sends of {len(data) // case.burst} bytes: {least:.2f} µs each",
            missed="" if apart > 0.5 else "sends were joined",
            goal=None if case.goal is None else Goal("ratio", at_least=case.goal),
            points=(
                Point("clients", case.line, self._count, 1e6 / mine),
                *(() if case.own_ids else (Point("clients", f"plain sends, {case.line}", self._count, 1e6 / least),)),
            ),
        )

    async def _ours(self, burst: int, sends: int) -> Turn:
        emit = self._service.feed.emit
        used = 0.0
        for _ in range(sends):
            rows, events = _burst(self.told + 1, burst)
            before = cpu_seconds()
            for event in events:
                emit(event)
            await settled(self._dispatcher)
            used += cpu_seconds() - before
            self.told, self.current = self.told + burst, rows[-1]
        seen = await self._group.reached(self.told)
        return seen.segments / sends, used

    async def _limit(self, burst: int, sends: int, data: bytes) -> Turn:
        used = 0.0
        for _ in range(sends):
            _burst(self._plain, burst)
            before = cpu_seconds()
            self._beside.send(data)
            await asyncio.sleep(0)
            used += cpu_seconds() - before
        self._plain += sends * burst
        seen = await self._beside.group.reached(self._plain)
        return seen.segments / sends, used


def _burst(first: int, count: int) -> tuple[list[Row], list[Changes]]:
    """A row's versions, so many from this number on, each of them as a change."""
    rows = [row(0, 1000.5 + number, 10**9 + number) for number in range(first, first + count)]
    return rows, [Changes(number, [("0", one)]) for number, one in enumerate(rows, first)]


def _median(pairs: list[tuple[Turn, Turn]]) -> tuple[float, float, float]:
    """Of the turns whose sends went out one by one, or of those in which most did, the pair with the median share: how
    many did, our CPU and the limit's. A kernel whose readers are kept from reading joins sends, which is cheaper."""
    whole = [(min(ours[0], limit[0]), ours[1], limit[1]) for ours, limit in pairs]
    apart = min(APART, max(share for share, _ours, _limit in whole))
    usable = sorted((one for one in whole if one[0] >= apart), key=lambda one: one[2] / one[1])
    return usable[len(usable) // 2]
