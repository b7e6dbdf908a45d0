"""Fan-out from one process, and from worker processes on the same machine."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from benchmarks.harness import QUERY, SCHEMA, FedService, Feed, Result, clients, row
from tycostream.model import Change, Changes
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings

CLIENTS = 100
BURST = 100


async def workers(scale: float) -> list[Result]:
    """New rows to 100 clients as fast as they take them, with 0, 1 and 2 workers. The clients, a process of their own,
    share the machine's cores."""
    rows = max(BURST, int(10_000 * scale) // BURST * BURST)
    return [await _fan_out(count, rows) for count in (0, 1, 2)]


async def _fan_out(count: int, rows: int) -> Result:
    async with _serving(count) as service, clients(service.port, CLIENTS, rows + 1, QUERY) as readers:
        await service.feed.started.wait()
        spent, began = _cpu_seconds(), time.monotonic()
        for start in range(1, rows + 1, BURST):
            changes: list[Change] = [(str(key), row(key, 1.5, 0)) for key in range(start, start + BURST)]
            service.feed.emit(Changes(start + 1, changes))
            await service.feed.ready()
        seen = await readers.seen()
        took = seen.last - began
        messages = rows * CLIENTS
        name = f"fan-out to {CLIENTS} clients, {count} worker{'s' * (count != 1)}"
        cpu = (_cpu_seconds() - spent) / messages * 1e6
        return Result(name, messages_per_second=messages / took, cpu_per_message=cpu, note="CPU of all processes")


@asynccontextmanager
async def _serving(count: int) -> AsyncIterator[FedService]:
    """A running service with so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.yaml"
        file.write_text(SCHEMA)
        environ = {"DATABASE_TYPE": "postgres", "GRAPHQL_PORT": "0", "GRAPHQL_HOST": "127.0.0.1", "LOG_LEVEL": "warn"}
        environ |= {"OUTBOX_ROWS": "10000000", "OUTBOX_MAX_ROWS": "10000000", "WORKERS": str(count)}
        service = FedService(load_settings(environ, Path(folder)), load_schema(file))
        service.feed = Feed(1)
        await service.start()
        tune_collector()
        try:
            yield service
        finally:
            await service.stop()


def _cpu_seconds() -> float:
    """What this process and its children have used, but not that in which the clients read."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children()):
        if "benchmarks.sink" not in process.cmdline():
            used = process.cpu_times()
            total += used.user + used.system
    return total
