"""A real service whose rows come from the measurement itself, and what it cost."""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from actors.runtime import Dispatcher
from benchmarks.clients import clients, sink
from benchmarks.results import Goal, Point, Result
from benchmarks.rows import QUERY, SCHEMA, row, shown
from tycostream.app import MakeDriver, Service
from tycostream.databases.driver import Ready
from tycostream.model import (
    Change,
    Changes,
    Event,
    Position,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
)
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings

__all__ = [
    "QUERY",
    "SCHEMA",
    "FedService",
    "Feed",
    "Goal",
    "Meter",
    "Point",
    "Result",
    "allow_files",
    "clients",
    "cpu_seconds",
    "paced",
    "resident_mib",
    "row",
    "serving",
    "settled",
    "shown",
    "sink",
]


class Feed:
    """A driver that the measurement feeds by hand: first `rows` as the snapshot, then whatever goes through `emit`."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.started = asyncio.Event()
        self.emit: Callable[[Event], None]
        self.ready: Ready

    async def run(self, emit: Callable[[Event], None], ready: Ready, _resume: Position | None) -> None:
        """See `databases.driver.Driver`."""
        self.emit, self.ready = emit, ready
        emit(SnapshotStarted(1))
        for start in range(0, self._rows, 2000):
            emit(SnapshotRows([row(number) for number in range(start, min(start + 2000, self._rows))]))
            await ready()
        emit(SnapshotComplete())
        await settled()
        self.started.set()
        await asyncio.Event().wait()


class FedService(Service):
    """The service with a Feed in place of a database."""

    feed: Feed

    async def _start_database(self) -> MakeDriver:
        def make_driver(_source: Source) -> Feed:
            return self.feed

        return make_driver


@asynccontextmanager
async def serving(rows: int) -> AsyncIterator[FedService]:
    """A running service that holds so many rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.yaml"
        file.write_text(SCHEMA)
        environ = {
            "DATABASE_TYPE": "postgres",
            "GRAPHQL_PORT": "0",
            "GRAPHQL_HOST": "127.0.0.1",
            "SOURCE_START": "eager",
            "PING_SECONDS": "0",  # so that clients with the same subscription read the same bytes
            "OUTBOX_MAX_ROWS": "10000000",
            "DRAIN_SECONDS": "0",
        }
        service = FedService(load_settings(environ, Path(folder)), load_schema(file))
        service.feed = Feed(rows)
        await service.start()
        await service.feed.started.wait()
        tune_collector()
        try:
            yield service
        finally:
            await service.stop()


async def settled(dispatcher: Dispatcher | None = None) -> None:
    """When every actor has handled what it was told, and has sent what that gave rise to. `dispatcher`: the loop's, for
    whoever counts what it takes to look that up."""
    dispatcher = dispatcher or Dispatcher.current()
    await asyncio.sleep(0)
    while dispatcher._ready or dispatcher._scheduled:
        await asyncio.sleep(0)


async def paced(
    emit: Callable[[Changes], None], make: Callable[[int], Change], count: int, at_once: int, every: float
) -> list[Change]:
    """Emit so many changes, `at_once` of them to a transaction, one transaction each `every` seconds; returns them."""
    began = time.monotonic()
    all_changes: list[Change] = []
    for made in range(0, count, at_once):
        changes = [make(number) for number in range(made, made + at_once)]
        emit(Changes(time.monotonic_ns(), changes))  # later than any before
        all_changes += changes
        await asyncio.sleep(max(0.0, began + (made / at_once + 1) * every - time.monotonic()))
    return all_changes


def allow_files(count: int) -> None:
    """Let this process, and those that it starts, have so many files open. Raises RuntimeError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise RuntimeError(f"{count:,} open files are needed, and the machine allows {hard:,} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def cpu_seconds() -> float:
    """What this process has used, in user and system. (`process_time` has the kernel's ticks while a timer of the
    profiler runs.)"""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_mib(process: int | str = "self") -> float:
    """A process's memory: this one's, or that of a number."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Meter:
    """Wall and CPU time from its making on."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._cpu = cpu_seconds()

    def cpu_per(self, messages: int) -> float:
        """Microseconds of this process's CPU for each message."""
        return (cpu_seconds() - self._cpu) / messages * 1e6
