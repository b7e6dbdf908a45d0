"""From a Materialize to the cache, beside psycopg2 alone that throws the rows away."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from psycopg2 import sql

from benchmarks.harness import Meter, Result, cpu_seconds, resident_mib
from benchmarks.simulated import SCHEMA, Database, database
from tycostream.app import Service
from tycostream.databases.connection import opened
from tycostream.databases.materialize.reading import FETCH
from tycostream.databases.materialize.subscribe import subscribe_statement
from tycostream.model import Source
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings
from tycostream.wiring import connection_parameters

HOW = {"loop": "", "process": ", read by a process"}


async def ingest(scale: float) -> list[Result]:
    """A snapshot of 300,000 rows of 8 columns, and as many changes, 100 to a timestamp, to the cache; read on the loop,
    and by a process."""
    results = []
    for reader in HOW:
        results += await _to_the_cache(int(300_000 * scale), reader)
    return results


@asynccontextmanager
async def _serving(source: Database, reader: str) -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.yaml"
        file.write_text(SCHEMA)
        environ = {"GRAPHQL_PORT": "0", "GRAPHQL_HOST": "127.0.0.1", "SOURCE_START": "eager"}
        environ |= {"OUTBOX_ROWS": "10000000", "OUTBOX_MAX_ROWS": "10000000", "DATABASE_READER": reader}
        service = Service(load_settings(environ | source.environ, Path(folder)), load_schema(file))
    await service.start()
    tune_collector()
    try:
        yield service
    finally:
        await service.stop()
        gc.unfreeze()


async def _to_the_cache(rows: int, reader: str) -> list[Result]:
    async with database(rows, 100) as source:
        meter = Meter()
        async with _serving(source, reader) as service:
            await _until(lambda: service.status().sources[0].state == "LIVE")
            name = f"Materialize: snapshot of {rows:,} rows to the cache{HOW[reader]}"
            snapshot = _result(name, rows, meter, await reader_seconds(service))
            last = await source.prepare(rows)
            meter, before = Meter(), await reader_seconds(service)
            await source.say("go")
            while await _timestamp(service) < last:
                await asyncio.sleep(0.002)
            name = f"Materialize: {rows:,} changes to the cache, 100 a timestamp{HOW[reader]}"
            changes = _result(name, rows, meter, await reader_seconds(service) - before)
            async with opened(connection_parameters(service.settings)) as connection:
                limit = await _read(connection, service.catalog.sources["trades"], rows)
    for one in (snapshot, changes):
        assert one.cpu_per_message is not None
        one.ratio = limit / one.cpu_per_message
        one.limit = f"psycopg2 alone: {limit:.2f} µs each"
    return [snapshot, changes]


def _result(name: str, rows: int, meter: Meter, read: float) -> Result:
    took = time.monotonic() - meter.began
    note = f"the reader process: {read / rows * 1e6:.2f} µs each" if read else ""
    return Result(name, rows / took, cpu_per_message=meter.cpu_per(rows), resident=resident_mib(), note=note)


async def reader_seconds(service: Service) -> float:
    """CPU seconds of the reader process, its start included; 0 where there is none."""
    (source,) = await service.actors("source")
    pid = source["details"]["reader_pid"]
    if pid is None:
        return 0.0
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


async def _read(connection: Any, source: Source, rows: int) -> float:
    """CPU microseconds a row of the same FETCHes, their rows thrown away."""
    await connection.execute("BEGIN")
    await connection.execute(sql.SQL("DECLARE c CURSOR FOR ") + subscribe_statement(source))
    before, seen = cpu_seconds(), 0
    while seen <= rows:  # and the first progress
        seen += len((await connection.run(FETCH)).fetchall())
    return (cpu_seconds() - before) / rows * 1e6


async def _timestamp(service: Service) -> int:
    (source,) = await service.actors("source")
    return int(source["details"]["timestamp"])


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not condition():
            await asyncio.sleep(0.002)
