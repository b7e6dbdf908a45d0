"""Everything between a database and one client, as fast as it goes, beside a reference loop that does the least.

The database is the simulated Materialize in a process of its own, the client is another process. Service and reference
take turns; each reads a snapshot first, and then a backlog of changes that the clock is held against.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.clients import Sink
from benchmarks.harness import Goal, Meter, Result, sink
from benchmarks.plain import plain
from benchmarks.reference import Reference
from benchmarks.simulated import QUERY, SCHEMA, Database, database
from tycostream.app import Service
from tycostream.serving import tune_collector
from tycostream.settings import load_schema, load_settings

HELD = 20_000
PER_TIMESTAMP = 100
READER = "DATABASE_READER"
ONE_PROCESS, TWO_PROCESSES = 250 / 300, 400 / 300
"""The goals are given for a machine on which the reference does 300,000 rows a second."""


async def firehose(scale: float) -> list[Result]:
    """Updates of a hot table to one client."""
    held, changes = max(200, int(HELD * scale)), int(200_000 * scale) // PER_TIMESTAMP * PER_TIMESTAMP
    readers = {"loop": ONE_PROCESS, "process": TWO_PROCESSES}
    async with database(held, PER_TIMESTAMP) as source:
        best = dict.fromkeys(("reference", *readers), (0.0, 0.0))
        for _ in range(2 if scale >= 0.1 else 1):
            async with sink() as clients:
                best["reference"] = max(best["reference"], await _reference(source, clients, held, changes))
            for reader in readers:
                async with sink() as clients:
                    best[reader] = max(best[reader], await _service(source, clients, held, changes, reader))
    reference = best.pop("reference")
    results = []
    for reader, (rows, cpu) in best.items():
        results.append(
            Result(
                f"firehose, {changes:,} changes, {'one process' if reader == 'loop' else 'with the reader process'}",
                rows_per_second=rows,
                cpu_per_message=cpu,
                ratio=rows / reference[0],
                limit=f"reference loop: {reference[0]:,.0f} rows/s, {reference[1]:.2f} µs",
                goal=Goal("ratio", at_least=readers[reader]),
            )
        )
    return results


async def _reference(source: Database, clients: Sink, held: int, changes: int) -> tuple[float, float]:
    """Rows a second, and microseconds of CPU each."""
    environ = source.environ
    parameters = {
        "host": environ["DATABASE_HOST"],
        "port": environ["DATABASE_PORT"],
        "user": environ["DATABASE_USER"],
        "password": environ.get("DATABASE_PASSWORD", "materialize"),
        "dbname": environ["DATABASE_NAME"],
    }
    async with plain(clients, 1) as client:
        loop = Reference(parameters, client.sockets[0])
        try:
            await asyncio.to_thread(loop.pump, held)
            await client.group.reached(held)
            await source.prepare(changes)
            tune_collector()
            await source.say("go")
            meter = Meter()
            loop.pump(changes)
            cpu = meter.cpu_per(changes)
            seen = await client.group.reached(held + changes)
        finally:
            loop.close()
        await client.group.check(held + changes, source.rows())
    return changes / (seen.last - meter.began), cpu


async def _service(source: Database, clients: Sink, held: int, changes: int, reader: str) -> tuple[float, float]:
    async with following(source, {READER: reader}) as service:
        group = await clients.connect(service.port, 1, QUERY, first=held)
        await source.prepare(changes)
        tune_collector()
        await source.say("go")
        meter = Meter()
        seen = await group.reached(held + changes)
        cpu = meter.cpu_per(changes)
        await group.check(held + changes, source.rows())
    return changes / (seen.last - meter.began), cpu


@asynccontextmanager
async def following(source: Database, environ: dict[str, str]) -> AsyncIterator[Service]:
    """A running service on that database."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "schema.yaml"
        file.write_text(SCHEMA)
        found = {
            "GRAPHQL_PORT": "0",
            "GRAPHQL_HOST": "127.0.0.1",
            "PING_SECONDS": "0",
            "DRAIN_SECONDS": "0",
            **source.environ,
            **environ,
        }
        service = Service(load_settings(found, Path(folder)), load_schema(file))
        await service.start()
        try:
            yield service
        finally:
            await service.stop()
