"""`python -m benchmarks against URL [URL ...]`: the same clients and changes for several servers, side by side.

Each server is any that speaks GraphQL subscriptions over graphql-transport-ws and follows the same table. With
`--writer` the command changes rows of that table itself and measures how long a change takes to each client; without,
it only counts what comes. docs/performance.md says how to set other servers up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, nullcontext
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql

START_SECONDS = 60
TABLE = "bench:id:made_at:price"
PREPARED_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """What the writer changes: a number in each row, and the time at which it did so, in nanoseconds since 1970."""

    name: sql.Identifier
    key: str
    stamp: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """`[SCHEMA.]TABLE:KEY:STAMP:VALUE`. Raises argparse.ArgumentTypeError."""
        parts = text.split(":")
        if len(parts) != 4 or not all(re.fullmatch(r"[^\s:]+", part) for part in parts):
            raise argparse.ArgumentTypeError(f"found {text!r}, expected TABLE:KEY:STAMP:VALUE, such as {TABLE}")
        return cls(sql.Identifier(*parts[0].split(".")), *parts[1:])


class Writer:
    """A connection that changes rows. Everything here blocks."""

    def __init__(self, dsn: str, table: Table) -> None:
        self._connection = psycopg2.connect(dsn)
        self._table = table
        self._keys: list[Any] = []
        self.final: dict[Any, int] = {}
        """The stamp that each row ends with."""

    def prepare(self, rows: int) -> None:
        """Make the table anew, with so many rows."""
        names = {"table": self._table.name} | {
            part: sql.Identifier(getattr(self._table, part)) for part in ("key", "stamp", "value")
        }
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {table}").format(**names))
            cursor.execute(
                sql.SQL(
                    "CREATE TABLE {table} ({key} int PRIMARY KEY, {value} float8, {stamp} bigint, note text)"
                ).format(**names)
            )
            cursor.execute(
                sql.SQL("INSERT INTO {table} SELECT n, 1.0, 0, 'a note' FROM generate_series(1, %s) n").format(**names),
                (rows,),
            )

    def change(self, per_second: float, seconds: float, at_once: int) -> int:
        """Change rows in turn, `at_once` to a transaction; returns how many."""
        table = self._table
        if not self._keys:
            keys = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(table.key), table.name)
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(keys)
                self._keys = [key for (key,) in cursor.fetchall()]
        if not self._keys:
            raise RuntimeError("the table has no rows to change")
        update = sql.SQL("UPDATE {} SET {} = %s, {} = %s WHERE {} = %s").format(
            table.name, sql.Identifier(table.value), sql.Identifier(table.stamp), sql.Identifier(table.key)
        )
        self._connection.autocommit = at_once == 1
        began, made = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            # Materialize takes no UPDATE between BEGIN and COMMIT
            with nullcontext() if at_once == 1 else self._connection, self._connection.cursor() as cursor:
                for _ in range(at_once):
                    key, stamp = self._keys[made % len(self._keys)], time.time_ns()
                    cursor.execute(update, (float(made), stamp, key))
                    self.final[key] = stamp
                    made += 1
            time.sleep(max(0.0, began + made / per_second - now))
        return made

    def close(self) -> None:
        """End it."""
        self._connection.close()


class Target:
    """The clients of one server."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url, self._process = url, process

    async def finish(self, final: Sequence[int]) -> dict[str, Any]:
        """What they saw, once they have seen these stamps or have waited long for them."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(list(final)).encode())
        self._process.stdin.close()
        found: dict[str, Any] = await self._line()
        return found

    async def _line(self) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
        if not line:
            raise RuntimeError(f"the clients of {self.url} ended")
        return None if line == b"ready\n" else json.loads(line)

    async def ready(self) -> None:
        """When each has its first message."""
        await self._line()


@asynccontextmanager
async def connected(url: str, count: int, query: str, stamp: str, init: str) -> AsyncIterator[Target]:
    """So many clients of one server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.generic", url, str(count), query, stamp, init,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        target = Target(url, process)
        await target.ready()
        yield target
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(parsed: argparse.Namespace) -> list[dict[str, Any]]:
    """What the clients of each server saw, and how many changes there were."""
    queries = parsed.query if len(parsed.query) == len(parsed.urls) else parsed.query * len(parsed.urls)
    writer = Writer(parsed.writer, parsed.table) if parsed.writer else None
    try:
        async with AsyncExitStack() as stack:
            targets = [
                await stack.enter_async_context(connected(url, parsed.clients, query, parsed.table.stamp, parsed.init))
                for url, query in zip(parsed.urls, queries, strict=True)
            ]
            began = time.monotonic()
            if writer is None:
                made = 0
                await asyncio.sleep(parsed.seconds)
            else:
                made = await asyncio.to_thread(writer.change, parsed.rate, parsed.seconds, parsed.at_once)
            took = time.monotonic() - began
            final = [] if writer is None else list(writer.final.values())
            found = await asyncio.gather(*(target.finish(final) for target in targets))
    finally:
        if writer is not None:
            writer.close()
    return [{"url": url, "made": made, "seconds": took, **one} for url, one in zip(parsed.urls, found, strict=True)]


def shown(found: Sequence[dict[str, Any]]) -> str:
    """As a Markdown table."""
    columns = (
        "changes",
        "seen by each",
        "messages/s",
        "MB/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "clients behind",
    )
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for one in found:
        latencies = [f"{value:.2f}" for value in one["latencies"]] or [""] * 4
        rates = f"{one['messages'] / one['seconds']:,.0f}", f"{one['bytes'] / one['seconds'] / 1e6:.2f}"
        cells = (one["url"], f"{one['made']:,}", f"{one['changes']:,}", *rates, *latencies, str(one["behind"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected JSON: {error}") from None
    return text


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks against", description="The same clients and changes for each server, side by side."
    )
    parser.add_argument("urls", nargs="*", metavar="URL", help="such as ws://localhost:4000/graphql")
    parser.add_argument(
        "--query",
        action="append",
        help="the subscription: one for all servers, or one for each in their order. It must select the stamp "
        "(default: tycostream's for the table that --prepare makes)",
    )
    parser.add_argument(
        "--init",
        type=_json,
        default="{}",
        metavar="JSON",
        help="the payload of connection_init, for servers that want one",
    )
    parser.add_argument("--clients", type=int, default=10, help="of each server (default: 10)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--writer", metavar="DSN", help="change rows: 'host=... dbname=...' or postgresql://...")
    parser.add_argument(
        "--table",
        type=Table.parse,
        default=Table.parse(TABLE),
        metavar="TABLE:KEY:STAMP:VALUE",
        help=f"what the writer changes: a bigint for the time, a number for a value (default: {TABLE})",
    )
    parser.add_argument("--rate", type=float, default=1000.0, help="changes a second (default: 1000)")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="changes in a transaction (default: 1)")
    parser.add_argument(
        "--prepare",
        type=int,
        metavar="ROWS",
        nargs="?",
        const=PREPARED_ROWS,
        help="make the table anew with so many rows (default: 1000) before servers are started, and do no more",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is asked for. Ends the process where that makes no sense."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    table: Table = parsed.table
    if parsed.prepare is not None and (not parsed.writer or parsed.urls):
        parser.error("--prepare needs --writer, and no URL: servers are started afterwards")
    if parsed.prepare is None and not parsed.urls:
        parser.error("which server? Give its URL")
    source = table.name.strings[-1]
    columns = f"{table.key} {table.value} {table.stamp}"
    parsed.query = parsed.query or [f"subscription {{ {source} {{ operation data {{ {columns} }} fields }} }}"]
    if parsed.urls and len(parsed.query) not in {1, len(parsed.urls)}:
        parser.error(f"{len(parsed.query)} queries for {len(parsed.urls)} servers: give one, or one for each")
    parsed.command = run
    return parsed


def run(parsed: argparse.Namespace) -> int:
    """Exit code: 0, or 1 where a client did not see what the rows ended with."""
    try:
        if parsed.prepare is not None:
            with closing(Writer(parsed.writer, parsed.table)) as writer:
                writer.prepare(parsed.prepare)
            return 0
        found = asyncio.run(measure(parsed))
    except (RuntimeError, psycopg2.Error) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1) if parsed.json else shown(found))
    return 1 if any(one["behind"] for one in found) else 0
