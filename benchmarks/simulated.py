"""A Materialize that is simulated at the wire level, in a process of its own: the database of ingest and firehose.

It has everything encoded before the clock starts, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.materialize.__main__ import row
from tycostream.model import Row

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns:
      {id: BigInt, symbol: String, side: String, price: Numeric, quantity: Integer, active: Boolean,
       executed_at: Timestamp, note: String}
"""
COLUMNS = ("id", "symbol", "side", "price", "quantity", "active", "executed_at", "note")
QUERY = f"subscription {{ trades {{ operation data {{ {' '.join(COLUMNS)} }} fields }} }}"


class Database:
    """The simulator's process, and the rows that it has."""

    def __init__(self, process: asyncio.subprocess.Process, rows: int, per_timestamp: int) -> None:
        self._process = process
        self._per_timestamp = per_timestamp
        self._versions = [0] * rows
        self._batches = self._next = 0
        self.environ: dict[str, str] = {}

    async def answer(self) -> dict[str, Any]:
        """Its next line."""
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 300))
        return found

    async def say(self, command: str) -> dict[str, Any]:
        """One command, and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        return await self.answer()

    async def prepare(self, count: int) -> int:
        """Have so many changes ready; returns the timestamp of the last."""
        for start in range(0, count, self._per_timestamp):
            self._batches += 1
            for _ in range(min(self._per_timestamp, count - start)):
                self._versions[self._next] = self._batches
                self._next = (self._next + 1) % len(self._versions)
        return int((await self.say(f"prepare {count}"))["timestamp"])

    def rows(self) -> dict[str, dict[str, Any]]:
        """Its rows after what was prepared, as QUERY shows them: by the simulator's rules, not by what it sent."""
        return {str(number): shown(row(number, version)) for number, version in enumerate(self._versions, 1)}


def shown(values: Row) -> dict[str, Any]:
    """A row as QUERY shows it."""
    found: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    assert values[4] is not None
    return found | {"quantity": int(values[4]), "active": values[5] == "t"}


@asynccontextmanager
async def database(rows: int, per_timestamp: int) -> AsyncIterator[Database]:
    """A running one with so many rows."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.materialize",
        "--rows", str(rows), "--changes-per-batch", str(per_timestamp),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    found = Database(process, rows, per_timestamp)
    try:
        found.environ = {name: str(value) for name, value in (await found.answer()).items() if name != "port"}
        yield found
    finally:
        process.kill()
        await process.wait()
