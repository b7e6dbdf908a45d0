"""A real service whose rows come from the measurement itself, clients in another process, and what it cost."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tycostream.app import MakeDriver, Service
from tycostream.databases.driver import Ready
from tycostream.model import Event, Position, Row, SnapshotComplete, SnapshotRows, SnapshotStarted, Source
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns:
      {id: Integer, account: BigInt, symbol: String, side: String, price: Float, quantity: Integer, made_at: BigInt,
       note: String}
"""
QUERY = "subscription { trades { operation data { id account symbol side price quantity made_at note } fields } }"


def row(number: int, price: float = 1.0, made_at: int = 0) -> Row:
    """A row of 8 mixed columns."""
    return (
        str(number),
        str(number * 7919),
        f"SYM{number % 500}",
        "buy",
        repr(price),
        str(number % 1000),
        str(made_at),
        "a note",
    )


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
        }
        environ |= {"OUTBOX_MAX_ROWS": "10000000"}
        service = FedService(load_settings(environ, Path(folder)), load_schema(file))
        service.feed = Feed(rows)
        await service.start()
        await service.feed.started.wait()
        tune_collector()
        try:
            yield service
        finally:
            await service.stop()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the clients saw. Times in seconds of the monotonic clock, latencies in milliseconds."""

    first: float
    last: float
    last_payload: dict[str, Any]
    latencies: list[float]

    def percentile(self, share: float) -> float | None:
        """The latency that this share of the rows stayed below."""
        if not self.latencies:
            return None
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Clients:
    """The process in which the clients read."""

    def __init__(self, process: asyncio.subprocess.Process, messages: int) -> None:
        self._process = process
        self._messages = messages

    async def seen(self) -> Seen:
        """When every client has had all messages. A message lost is an error."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        found = json.loads(line)
        if found["frames"] != [self._messages, self._messages]:
            raise RuntimeError(f"messages were lost or doubled: {found['frames']}, not {self._messages}")
        return Seen(found["first"] / 1e9, found["last"] / 1e9, json.loads(found["last_payload"]), found["latencies"])


@asynccontextmanager
async def clients(port: int, count: int, messages: int, query: str = QUERY) -> AsyncIterator[Clients]:
    """So many subscribed clients, each of which expects so many messages."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.sink", str(port), str(count), str(messages), query,
        stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        if (await process.stdout.readline()).strip() != b"ready":
            raise RuntimeError("the clients could not connect")
        yield Clients(process, messages)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def cpu_seconds() -> float:
    """What this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident_mib() -> float:
    """This process's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@dataclass(slots=True)
class Result:
    """A line of the table. `ratio` is the share of the limit measured beside it."""

    name: str
    rows_per_second: float | None = None
    messages_per_second: float | None = None
    cpu_per_message: float | None = None
    p50: float | None = None
    p99: float | None = None
    resident: float | None = None
    ratio: float | None = None
    note: str = ""


class Meter:
    """Wall and CPU time from its making on."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._cpu = cpu_seconds()

    def cpu_per(self, messages: int) -> float:
        """Microseconds of this process's CPU for each message."""
        return (cpu_seconds() - self._cpu) / messages * 1e6
