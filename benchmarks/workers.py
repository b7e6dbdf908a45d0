"""Fan-out from one process, and from worker processes on the same machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from benchmarks.harness import QUERY, SCHEMA, FedService, Feed, Result, row, shown, sink
from tycostream.model import Change, Changes
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings

CLIENTS = 100
BURST = 100


async def workers(scale: float) -> list[Result]:
    """New rows to 100 clients as fast as they take them, with 0, 1 and 2 workers. The clients, a process of their own,
    share the machine's cores."""
    rows = max(BURST, int(10_000 * scale) // BURST * BURST)
    alone = await _fan_out(0, rows)
    results = [alone]
    for count in (1, 2):
        found = await _fan_out(count, rows)
        assert found.messages_per_second is not None
        assert alone.messages_per_second is not None
        found.ratio = found.messages_per_second / alone.messages_per_second
        found.limit = f"without workers: {alone.messages_per_second:,.0f} messages/s"
        results.append(found)
    return results


async def _fan_out(count: int, rows: int) -> Result:
    async with _serving(count) as service, sink() as clients:
        group = await clients.connect(service.port, CLIENTS, QUERY)
        spent, began = _cpu_seconds(), time.monotonic()
        for start in range(1, rows + 1, BURST):
            changes: list[Change] = [(str(key), row(key, 1.5)) for key in range(start, start + BURST)]
            service.feed.emit(Changes(start + 1, changes))
            await service.feed.ready()
        seen = await group.reached(rows + 1)
        cpu = (_cpu_seconds() - spent) / (rows * CLIENTS) * 1e6
        expected = {str(key): shown(row(key, 1.5 if key else 1.0)) for key in range(rows + 1)}
        await group.check(rows + 1, expected)
    return Result(
        f"fan-out of new rows to {CLIENTS} clients, {count} worker{'s' * (count != 1)}",
        messages_per_second=rows * CLIENTS / (seen.last - began),
        cpu_per_message=cpu,
        note="CPU of all its processes",
    )


@asynccontextmanager
async def _serving(count: int) -> AsyncIterator[FedService]:
    """A running service with so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.yaml"
        file.write_text(SCHEMA)
        environ = {
            "DATABASE_TYPE": "postgres",
            "GRAPHQL_PORT": "0",
            "GRAPHQL_HOST": "127.0.0.1",
            "LOG_LEVEL": "warn",
            "PING_SECONDS": "0",
            "OUTBOX_ROWS": "10000000",
            "OUTBOX_MAX_ROWS": "10000000",
            "DRAIN_SECONDS": "0",
            "WORKERS": str(count),
        }
        service = FedService(load_settings(environ, Path(folder)), load_schema(file))
        service.feed = Feed(1)
        await service.start()
        tune_collector()
        try:
            yield service
        finally:
            await service.stop()


def _cpu_seconds() -> float:
    """What this process and its workers have used."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children()):
        if "benchmarks.sink" not in process.cmdline():
            used = process.cpu_times()
            total += used.user + used.system
    return total
