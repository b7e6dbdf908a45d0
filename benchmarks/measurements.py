"""The measurements, one function each. `scale` below 1 makes them shorter."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from benchmarks.filters import filters
from benchmarks.harness import QUERY, SCHEMA, Meter, Result, clients, resident_mib, row, serving
from benchmarks.materialize import ingest
from benchmarks.slow import slow
from benchmarks.triggers import triggers
from tycostream.filters import parse_filter
from tycostream.graphql import Engine, Limits, SubscriptionPlan
from tycostream.model import Change, Changes, Operation
from tycostream.views import Outlet, Subscription
from tycostream.web.envelope import TextFrames

HELD = 100_000


async def snapshot(scale: float) -> list[Result]:
    """100,000 rows of 8 columns to one new client, while another one gets 200 changes a second."""
    rows = int(HELD * scale)
    async with serving(rows) as service:
        meter = Meter()
        async with clients(service.port, 1, rows) as newcomer:
            seen = await newcomer.seen()
        alone = Result(
            f"snapshot of {rows:,} rows",
            rows_per_second=rows / (seen.last - meter.began),
            cpu_per_message=meter.cpu_per(rows),
            resident=resident_mib(),
            note=f"first row after {(seen.first - meter.began) * 1000:.0f} ms, client's start included",
        )
        updates = 400
        watch = "subscription { trades(where: {id: {_eq: 0}}) { operation data { id made_at } fields } }"
        async with clients(service.port, 1, updates + 1, watch) as watcher:
            feeding = asyncio.create_task(_paced(service.feed.emit, updates, 5, 1, key=0))
            others = QUERY.replace("trades", "trades(where: {id: {_gt: 0}})")
            async with clients(service.port, 1, rows - 1, others) as newcomer:
                await newcomer.seen()
            await feeding
            other = await watcher.seen()
    return [alone, Result("  another client meanwhile", p50=other.percentile(0.5), p99=other.percentile(0.99))]


async def firehose(scale: float) -> list[Result]:
    """Updates of one column, 200 to a transaction, as fast as one client takes them; then at a steady pace."""
    held, updates = 10_000, int(400_000 * scale) // 200 * 200
    results = []
    async with serving(held) as service, clients(service.port, 1, held + updates) as client:
        await asyncio.sleep(0.5)
        meter = Meter()
        for batch in range(updates // 200):
            made = time.monotonic_ns()
            changes: list[Change] = [
                (str(number), row(number, 1.5 + batch, made))
                for number in ((batch * 200 + at) % held for at in range(200))
            ]
            service.feed.emit(Changes(batch + 2, changes))
            await service.feed.ready()
            await asyncio.sleep(0)
        seen = await client.seen()
        if seen.last_payload["payload"]["data"]["trades"]["data"]["price"] != 1.5 + updates // 200 - 1:
            raise RuntimeError("the last update is not the last one that was made")
        took = seen.last - meter.began
        results.append(
            Result(
                "firehose to one client",
                rows_per_second=updates / took,
                messages_per_second=updates / took,
                cpu_per_message=meter.cpu_per(updates),
                resident=resident_mib(),
                note="making the rows included",
            )
        )
    for per_second in (1000, 20_000):
        count = int(per_second * 4 * scale)
        async with serving(held) as service, clients(service.port, 1, held + count) as client:
            await asyncio.sleep(0.5)
            meter = Meter()
            await _paced(service.feed.emit, count, 1, per_second // 1000)
            seen = await client.seen()
            results.append(
                Result(
                    f"  {per_second:,} rows/s",
                    rows_per_second=count / (seen.last - meter.began),
                    cpu_per_message=meter.cpu_per(count),
                    p50=seen.percentile(0.5),
                    p99=seen.percentile(0.99),
                )
            )
    return results


async def _paced(
    emit: Callable[[Changes], None], count: int, every_ms: int, at_once: int, key: int | None = None
) -> None:
    """Emit `at_once` changes every so many milliseconds, each with the time at which it was made."""
    began = time.monotonic()
    for made in range(0, count, at_once):
        changes: list[Change] = []
        for number in range(made, made + at_once):
            which = number % 10_000 if key is None else key
            changes.append((str(which), row(which, 1.5 + number, time.monotonic_ns())))
        emit(Changes(made + 2, changes))
        await asyncio.sleep(max(0.0, began + (made / at_once + 1) * every_ms / 1000 - time.monotonic()))


async def fanout(scale: float) -> list[Result]:
    """One stream of changes to 100 clients, beside plain socket.send of the same bytes to as many."""
    results = []
    count = 100
    for burst, pause in ((1, 0.003), (32, 0.012)):  # a pace at which the clients, on the other core, keep up
        sends = max(1, int((1000 if burst == 1 else 300) * scale))
        messages = sends * burst
        limit, frame = await _plain_sends(count, sends, burst, pause)
        async with serving(1) as service, clients(service.port, count, messages + 1) as readers:
            await asyncio.sleep(0.5)
            meter = Meter()
            for number in range(sends):
                for at in range(burst):
                    price = 1.5 + number * burst + at
                    service.feed.emit(Changes(number * burst + at + 2, [("0", row(0, price, time.monotonic_ns()))]))
                await asyncio.sleep(pause)
            cpu = meter.cpu_per(messages * count)
            seen = await readers.seen()
            took = seen.last - meter.began
        results.append(
            Result(
                f"fan-out to {count} clients, {burst} a send",
                rows_per_second=messages / took,
                messages_per_second=messages * count / took,
                cpu_per_message=cpu,
                p50=seen.percentile(0.5),
                p99=seen.percentile(0.99),
                ratio=limit / cpu,
                note=f"plain sends of {frame} bytes: {limit:.2f} µs each",
            )
        )
    return results


async def _plain_sends(count: int, sends: int, burst: int, pause: float) -> tuple[float, int]:
    """CPU microseconds a message of plain socket.send to clients that read as fast, and the size of a message."""
    payload = row(0, 1234.5, time.monotonic_ns())
    plan = _plan("1")
    message = plan.wrap([plan.selection.render(Operation.UPDATE, payload, 0b1010000, 2)])
    joined = message * burst
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        readers = await asyncio.create_subprocess_exec(
            "python3", "-c", _DRAIN, str(port), str(count), stdout=asyncio.subprocess.DEVNULL
        )
        accepted = [server.accept()[0] for _ in range(count)]
        for one in accepted:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        meter = Meter()
        for _ in range(sends):
            for one in accepted:
                one.sendall(joined)
            await asyncio.sleep(pause)
        cpu = meter.cpu_per(sends * burst * count)
        for one in accepted:
            one.close()
        await readers.wait()
    return cpu, len(message)


_DRAIN = """
import selectors, socket, sys
selector = selectors.DefaultSelector()
left = int(sys.argv[2])
for _ in range(left):
    opened = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    opened.setblocking(False)
    selector.register(opened, selectors.EVENT_READ)
while left:
    for key, _ in selector.select():
        if not key.fileobj.recv(1 << 20):
            selector.unregister(key.fileobj)
            left -= 1
"""


def _plan(operation_id: str, where: dict[str, object] | None = None) -> Subscription:
    global _engine  # noqa: PLW0603  # one schema for all
    if _engine is None:
        import tempfile
        from pathlib import Path

        from tycostream.settings import load_schema

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "schema.yaml"
            file.write_text(SCHEMA)
            _engine = Engine(load_schema(file), Limits(), rows=None)  # type: ignore[arg-type]
    plan = _engine.prepare(QUERY, None, None)
    assert isinstance(plan, SubscriptionPlan)
    prefix = b'{"id":"%s","type":"next","payload":' % operation_id.encode()
    condition = parse_filter(plan.source, where)
    return Subscription(plan.source, condition, plan.selection, TextFrames(prefix), Outlet(None), operation_id)


_engine: Engine | None = None

MEASUREMENTS: dict[str, Callable[[float], Awaitable[list[Result]]]] = {
    "snapshot": snapshot,
    "firehose": firehose,
    "fanout": fanout,
    "filters": filters,
    "slow": slow,
    "materialize": ingest,
    "triggers": triggers,
}
