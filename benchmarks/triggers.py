"""What triggers cost: changes that cross none of many, and a source's latency while webhooks are slow."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.harness import SCHEMA, FedService, Goal, Meter, Result, clients, resident_mib, row, serving
from tycostream.filters import parse_filter
from tycostream.model import Changes, Operation, Source
from tycostream.settings.schema_file import parse_schema
from tycostream.triggers.watches import Watch, Watches
from tycostream.views import Applied, ViewChange
from tycostream.views.states import Rule

SLOW_SECONDS = 0.5
"""How long the slow receiver takes for an answer."""

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


async def triggers(scale: float) -> list[Result]:
    """Changes that cross no threshold of 10 and of 10,000; then a subscriber's latency beside 1,000 triggers, one of
    which fires or clears with each change, on a receiver that takes half a second for each call."""
    source = parse_schema("schema.yaml", SCHEMA).sources["trades"]
    few, many = (_crossing_none(source, count, int(200_000 * scale)) for count in (10, 10_000))
    assert few.cpu_per_message is not None
    assert many.cpu_per_message is not None
    many.limit, many.ratio = f"10 triggers: {few.cpu_per_message:.2f} µs", few.cpu_per_message / many.cpu_per_message
    many.goal = Goal("ratio", at_least=0.5)
    results = [few, many]
    return [*results, *[await _beside_slow_webhooks(count, int(4000 * scale)) for count in (0, 1000)]]


def _rule(source: Source, threshold: float) -> Rule:
    fire = parse_filter(source, {"price": {"_gt": threshold}})
    return Rule("fired", fire, parse_filter(source, {"price": {"_lt": threshold - 0.5}}))


def _crossing_none(source: Source, count: int, events: int) -> Result:
    before = resident_mib()
    watches = Watches(source)
    for number in range(count):
        watches.add(Watch(_rule(source, 1000.0 + number)))
    held = resident_mib() - before
    changed = 1 << source.positions["price"]
    prices = random.Random(1)
    rows = [row(1, prices.uniform(1.0, 999.0)) for _ in range(1001)]
    changes: list[ViewChange] = [(Operation.UPDATE, "1", new, changed, 1) for new in rows[1:]]
    applied = Applied(changes, list(rows[:-1]))
    meter = Meter()
    for _ in range(max(1, events // 1000)):
        watches.route(applied)
        if watches.flush():
            raise RuntimeError("a trigger fired that must not")
    cost = meter.cpu_per(max(1, events // 1000) * 1000)
    return Result(
        f"change that crosses none of {count:,} triggers",
        cpu_per_message=cost,
        note=f"{held * 1024 / count:.1f} KiB a watch" if count > 1000 else "",
    )


async def _beside_slow_webhooks(count: int, changes: int) -> Result:
    """1,000 changes a second, each of which crosses one threshold of `count` triggers, up and down in turn."""
    async with _slow_receiver() as url, serving(10) as service:
        await _create(service, count, url)
        async with clients(service.port, 1, 10 + changes) as client:
            await asyncio.sleep(0.5)
            meter = Meter()
            for number in range(changes):
                step = number % (2 * max(1, count))
                place = min(step, 2 * max(1, count) - step)
                service.feed.emit(Changes(number + 2, [("0", row(0, 1000.25 + place, time.monotonic_ns()))]))
                await asyncio.sleep(max(0.0, meter.began + (number + 1) / 1000 - time.monotonic()))
            seen = await client.seen()
            cost = meter.cpu_per(changes)
        source = service.catalog.sources["trades"]
        crossed = sum(one.fired + one.cleared for one in service._triggers.all_of(source))
        for one in list(service._triggers.all_of(source)):  # so that the end need not wait for what waits
            await service._triggers.delete(source, one.definition.name)
        if count and crossed < changes * 0.9:
            raise RuntimeError(f"{crossed} crossings, not {changes}: the triggers did not work")
        return Result(
            f"1,000 changes/s, {count:,} triggers on a slow receiver",
            cpu_per_message=cost,
            p50=seen.percentile(0.5),
            p99=seen.percentile(0.99),
            note=f"{crossed:,} crossings" if count else "",
        )


async def _create(service: FedService, count: int, url: str) -> None:
    source = service.catalog.sources["trades"]
    for number in range(count):
        threshold = 1000.0 + number
        wish = {
            "name": f"above {threshold}",
            "webhook": url,
            "fire": {"price": {"_gt": threshold}},
            "clear": {"price": {"_lt": threshold}},
        }
        await service._triggers.create(source, wish)


@asynccontextmanager
async def _slow_receiver() -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(SLOW_SECONDS)
            writer.write(ANSWER)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def guarded() -> None:
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.transport.abort()

        task = asyncio.ensure_future(guarded())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
