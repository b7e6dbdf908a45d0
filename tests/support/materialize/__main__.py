"""The simulator as a process of its own, to feed a benchmark: `python -m tests.support.materialize --rows 100000`.

The first line of stdout is JSON: `{"port": ...}`. Relation `trades` has eight columns (about 73 bytes of text a row) and that many rows.
Then it obeys lines on stdin, and answers each with a line of JSON:

    prepare N   change N rows, `--changes-per-batch` of them at each timestamp; live subscribes have the rows ready, encoded, but can't
                take them yet. Answers with the last timestamp.
    go          let them take what was prepared.
    stream N    prepare and go at once.
    cpu         the process's CPU seconds so far, and the bytes that were sent.

It ends with the end of stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import random
import sys
import time
from typing import Any

from tests.support.materialize import statements as sql
from tests.support.materialize.formats import COPY_LINE, DATA_ROW
from tests.support.materialize.relations import Row
from tests.support.materialize.server import Simulator
from tests.support.materialize.world import Change

COLUMNS = {
    "id": "bigint not null", "symbol": "text", "side": "text", "price": "numeric", "quantity": "integer", "active": "boolean",
    "executed_at": "timestamp with time zone", "note": "text",
}  # fmt: skip
SYMBOLS = ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "TSLA")


def row(number: int, version: int) -> Row:
    """A trade; versions differ in price, quantity and time."""
    chance = random.Random(number * 1_000_003 + version)
    moment = f"2026-01-01 {version % 24:02}:{number % 60:02}:00.{chance.randrange(1_000_000):06}+00"
    price = f"{chance.randrange(1_000_000) / 100:.2f}"
    side = "buy" if number % 2 else "sell"
    return (
        str(number),
        SYMBOLS[number % 6],
        side,
        price,
        str(chance.randrange(10_000)),
        "t",
        moment,
        f"note {number:08}",
    )


class Feeder:
    """Obeys the commands."""

    def __init__(self, simulator: Simulator, rows: int, changes_per_batch: int) -> None:
        self._simulator, self._per_batch = simulator, changes_per_batch
        self._rows = {number: row(number, 0) for number in range(1, rows + 1)}
        self._versions = itertools.count(1)
        self._next = itertools.cycle(self._rows)
        simulator.create("trades", COLUMNS)
        simulator.insert("trades", *self._rows.values())
        plan = simulator.plan(sql.Subscribe(("trades",), key=("id",), progress=True))
        for rows_format in (DATA_ROW, COPY_LINE):  # encode all rows before anybody measures
            simulator.unsubscribe(simulator.subscribe(plan, rows_format, lambda: None))

    def prepare(self, count: int) -> dict[str, Any]:
        """Changes behind the gate."""
        self._simulator.close_gate()
        timestamp = 0
        for start in range(0, count, self._per_batch):
            version = next(self._versions)
            changes: list[Change] = []
            for number in itertools.islice(self._next, min(self._per_batch, count - start)):
                new = row(number, version)
                changes += (("trades", self._rows[number], -1), ("trades", new, 1))
                self._rows[number] = new
            timestamp = self._simulator.commit(changes)
        self._simulator.compact(timestamp)
        return {"prepared": count, "timestamp": timestamp}

    def obey(self, line: str) -> dict[str, Any]:
        """One command's answer."""
        match line.split():
            case ["prepare", count]:
                return self.prepare(int(count))
            case ["go"]:
                self._simulator.open_gate()
                return {"going": True}
            case ["stream", count]:
                answer = self.prepare(int(count))
                self._simulator.open_gate()
                return answer
            case ["cpu"]:
                sent = sum(session.connection.sent_bytes for session in self._simulator.all_sessions)
                return {"cpu_seconds": time.process_time(), "sent_bytes": sent}
        return {"error": f"unknown command {line!r}"}


async def main() -> None:
    """Until the end of stdin."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.materialize")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--changes-per-batch", type=int, default=100)
    arguments = parser.parse_args()
    gc.disable()  # nothing here is only held by a cycle, and millions of rows are long to walk through
    simulator = await Simulator.start()
    feeder = Feeder(simulator, arguments.rows, arguments.changes_per_batch)
    print(json.dumps({"port": simulator.port, **simulator.environ}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(feeder.obey(line)), flush=True)
    await simulator.stop()


if __name__ == "__main__":
    asyncio.run(main())
