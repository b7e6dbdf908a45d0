"""What an idle connection and a cached row keep. Right only in a process that has done nothing else: see `one.py`."""

from __future__ import annotations

import asyncio
import gc

from benchmarks.bare import bare_server
from benchmarks.harness import Goal, Result, allow_files, resident_mib, row, serving, sink
from benchmarks.rows import shown
from tycostream.model import Row

CONNECTIONS = 2000
ROWS = 200_000
QUERY = "subscription { trades(where: {id: {_eq: 0}}) { operation data { id account symbol side price quantity made_at note } fields } }"  # fmt: skip  # noqa: E501


async def memory(scale: float) -> list[Result]:
    """2,000 connections with one subscription each, beside those of a bare Tornado; 200,000 rows, beside a dictionary
    of the same tuples. Resident memory, all that the process grows by."""
    allow_files(8192)
    count, rows = max(20, int(CONNECTIONS * min(1.0, scale * 4))), int(ROWS * scale)
    before = _resident()
    kept: dict[str, Row] = {}
    for number in range(rows):
        values = row(number)
        assert values[0] is not None
        kept[values[0]] = values
    dictionary = (_resident() - before) / rows
    before = _resident()
    async with serving(rows) as service:
        cached = (_resident() - before) / rows
        async with sink() as clients:
            first = await clients.connect(service.port, count // 10, QUERY)  # what is made once, for all
            before = _resident()
            group = await clients.connect(service.port, count, QUERY)
            await asyncio.sleep(0.2)
            connection = (_resident() - before) / count
            for one in (first, group):
                await one.check(1, {"0": shown(row(0))})
    async with bare_server() as (port, process), sink() as clients:
        await clients.connect(port, count // 10)
        before = resident_mib(process)
        await clients.connect(port, count)
        bare = (resident_mib(process) - before) * 2**20 / count
    del kept
    return [
        Result(
            "an idle connection with one subscription",
            bytes_each=connection,
            ratio=bare / connection if connection > 0 else None,
            limit=f"bare Tornado: {bare:,.0f} bytes",
            goal=Goal("bytes_each", at_most=20 * 1024),
        ),
        Result(
            "a cached row of 8 columns",
            bytes_each=cached,
            ratio=dictionary / cached if cached > 0 else None,
            limit=f"a dictionary of tuples of text: {dictionary:,.0f} bytes",
            goal=Goal("bytes_each", at_most=600),
        ),
    ]


def _resident() -> float:
    gc.collect()
    return resident_mib() * 2**20
