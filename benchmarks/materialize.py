"""From a Materialize to the cache, beside psycopg2 alone that throws the rows away; and to a client.

The database is the simulator of the tests in a process of its own; it has everything encoded before the clock starts.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import Meter, Result, cpu_seconds, resident_mib
from benchmarks.simulated import SCHEMA, database
from tycostream.app import Service
from tycostream.databases.connection import opened
from tycostream.databases.materialize.reading import FETCH
from tycostream.databases.materialize.subscribe import subscribe_statement
from tycostream.model import Source
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings
from tycostream.wiring import connection_parameters


async def ingest(scale: float) -> list[Result]:
    """A snapshot of 300,000 rows of 8 columns, and as many changes, 100 to a timestamp, to the cache, and to a client;
    read on the loop, and by a process."""
    results = []
    for reader in HOW:
        results += await _to_the_cache(int(300_000 * scale), reader)
    for reader in HOW:
        results.append(await _to_a_client(int(300_000 * scale), reader))
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
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "schema.yaml"
            file.write_text(SCHEMA)
            environ = {"GRAPHQL_PORT": "0", "GRAPHQL_HOST": "127.0.0.1", "SOURCE_START": "eager"} | source.environ
            settings, catalog = load_settings(environ, Path(folder)), load_schema(file)
            parameters = connection_parameters(settings)
            async with opened(parameters) as connection:
                limit = await _read(connection, catalog.sources["trades"], rows)
            service = Service(settings, catalog)
            meter = Meter()
            await service.start()
            try:
                await _until(lambda: service.status().sources[0].state == "LIVE")
                snapshot = _result(f"Materialize: snapshot of {rows:,} rows to the cache", rows, meter, limit)
                tune_collector()
                last = await source.prepare(rows)
                meter = Meter()
                await source.say("go")
                while await _timestamp(service) < last:
                    await asyncio.sleep(0.002)
                changes = _result(f"Materialize: {rows:,} changes to the cache, 100 a timestamp", rows, meter, limit)
            finally:
                await service.stop()
    return [snapshot, changes]


def _result(name: str, rows: int, meter: Meter, limit: float) -> Result:
    took, cpu = time.monotonic() - meter.began, meter.cpu_per(rows)
    beside = f"psycopg2 alone: {limit:.2f} µs each"
    return Result(name, rows / took, cpu_per_message=cpu, resident=resident_mib(), ratio=limit / cpu, limit=beside)


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
