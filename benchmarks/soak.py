"""`python -m benchmarks.soak --minutes 30`: the service under everything that changes, for long; does it grow?

A real PostgreSQL with writers; clients that come, leave, are cut, read slowly and come back with cursors; triggers that
are made and deleted, with a receiver of their webhooks; the schema file that changes; connections to the database that
are cut. Memory, threads, descriptors and actors are looked at every two seconds. It fails where memory grows by more
than a bound for sure, where the others grow at all, or where somebody who was there all the time ends with wrong rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from benchmarks.soak_clients import WISHES, Client, Following, long_lived, passing
from benchmarks.trend import Trend, trend
from tests.support.postgres import Database, Postgres

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float, note: String}
  orders:
    primary_key: id
    columns: {id: Integer, quantity: Integer}
  totals:
    primary_key: symbol
    columns: {symbol: String, many: BigInt}
"""
EXTRA = """
  extra:
    relation: trades
    primary_key: id
    columns: {id: Integer, price: Float}
"""
TABLES = """
CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8, note text);
CREATE TABLE orders (id int PRIMARY KEY, quantity int);
CREATE VIEW totals AS SELECT symbol, count(*) AS many FROM trades GROUP BY symbol;
INSERT INTO trades SELECT g, (ARRAY['AAPL','MSFT','TSLA'])[1 + g % 3], g % 1000, 'a note'
  FROM generate_series(1, 2000) g;
INSERT INTO orders SELECT g, g % 100 FROM generate_series(1, 500) g;
"""
WRITES = (
    "UPDATE trades SET price = random() * 1000 WHERE id % 97 = {n}",
    "UPDATE orders SET quantity = (random() * 100)::int WHERE id % 31 = {n}",
    "DELETE FROM trades WHERE id % 89 = {n}",
    (
        "INSERT INTO trades SELECT g, (ARRAY['AAPL','MSFT','TSLA'])[1 + g % 3], g % 7 * 100, md5(g::text) FROM"
        " generate_series(1, 2000) g WHERE g % 89 = {n} ON CONFLICT (id) DO UPDATE SET price = 1"
    ),
    "UPDATE trades SET note = md5(random()::text), symbol = 'AAPL' WHERE id % 101 = {n}",
)
# Rarely crossed: what waits for a receiver that is too slow would be memory too, up to WEBHOOK_QUEUE
CREATE = """mutation ($name: String!, $url: String!) {
  create_trades_trigger(input: {name: $name, webhook: $url, fire: {price: {_gte: 980}}, clear: {price: {_lt: 500}}}) {
    name
  }
}"""
DELETE = "mutation ($name: String!) { delete_trades_trigger(name: $name) { name } }"
TRIGGERS = 20
SAMPLE_SECONDS = 2.0
BLOCK_MINUTES = 0.5
WARM_MINUTES = 7.0
LEAST_MINUTES = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process has. `minute` since the soak began."""

    minute: float
    resident_kib: float
    threads: int
    descriptors: int
    actors: dict[str, int]


class Soak:
    """See the module."""

    def __init__(self, postgres: Database, folder: Path) -> None:
        self.postgres = postgres
        self.folder = folder
        self.process: asyncio.subprocess.Process
        self.port = 0
        self.hook_port = 0
        self.samples: list[Sample] = []
        self.counts: Counter[str] = Counter()
        self.stopping = False
        self.writing = True
        self.watched = [Following(*wish) for wish in WISHES]
        self._http = AsyncHTTPClient()
        self._began = time.monotonic()

    # The service

    async def start(self) -> None:
        """Start the service and the receiver of webhooks."""
        sockets = bind_sockets(0, "127.0.0.1")
        self.hook_port = sockets[0].getsockname()[1]
        counts = self.counts

        class Hook(RequestHandler):
            def post(self) -> None:
                counts["webhooks"] += 1

        HTTPServer(Application([("/.*", Hook)])).add_sockets(sockets)
        self.write_schema(SCHEMA)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environ = os.environ | {name: value for name, value in self.postgres.environ.items() if value}
        environ |= {
            "GRAPHQL_HOST": "127.0.0.1",
            "GRAPHQL_PORT": str(self.port),
            "SCHEMA_PATH": str(self.folder / "schema.yaml"),
            "REPLICATION_SLOT": self.postgres.slot,
            "SOURCE_LINGER_SECONDS": "2",
            "RECENT_CHANGES_SECONDS": "30",
            "LOG_LEVEL": "error",
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tycostream", cwd=self.folder, env=environ
        )
        while True:
            with suppress(OSError):
                await self._http.fetch(f"http://127.0.0.1:{self.port}/ready")
                return
            if self.process.returncode is not None:
                raise RuntimeError("the service has ended")
            await asyncio.sleep(0.1)

    def write_schema(self, text: str) -> None:
        """At once, so that nobody reads half of it."""
        new = self.folder / "schema.new"
        new.write_text(text)
        new.rename(self.folder / "schema.yaml")

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """A query or mutation over HTTP."""
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}/graphql", "POST", {"Content-Type": "application/json"},
            json.dumps({"query": query, "variables": variables}),
        )  # fmt: skip
        answer: dict[str, Any] = json.loads((await self._http.fetch(request)).body)
        return answer

    # What goes on

    async def write(self) -> None:
        """Some twenty transactions a second."""
        while not self.stopping:
            if self.writing:
                some = [random.choice(WRITES).format(n=random.randrange(31)) for _ in range(random.randint(1, 3))]
                await self.postgres.transaction(some, commit=random.random() < 0.95)
                self.counts["transactions"] += 1
            await asyncio.sleep(random.uniform(0.0, 0.1))

    async def come_and_go(self) -> None:
        """Some four new clients a second."""
        running: set[asyncio.Task[None]] = set()
        while not self.stopping:
            running.add(task := asyncio.create_task(passing(self.port, self.counts["clients"])))
            task.add_done_callback(running.discard)
            self.counts["clients"] += 1
            await asyncio.sleep(random.uniform(0.0, 0.5))
        await asyncio.gather(*running)

    async def make_triggers(self) -> None:
        """One comes and the oldest goes."""
        names: list[str] = []
        while not self.stopping:
            names.append(name := f"soak {self.counts['triggers']}")
            answer = await self.ask(CREATE, name=name, url=f"http://127.0.0.1:{self.hook_port}/{len(names)}")
            self.counts["triggers refused"] += "errors" in answer
            self.counts["triggers"] += 1
            if len(names) > TRIGGERS:
                await self.ask(DELETE, name=names.pop(0))
            await asyncio.sleep(random.uniform(0.2, 2.0))
        for name in names:
            await self.ask(DELETE, name=name)

    async def change_schema(self) -> None:
        """A source more, a source less."""
        while not self.stopping:
            await self._sleep(random.uniform(8, 15))
            more = self.counts["reloads"] % 2 == 0
            self.write_schema(SCHEMA + EXTRA if more else SCHEMA)
            self.process.send_signal(signal.SIGHUP)
            self.counts["reloads"] += 1
            if more:
                client = Client(self.port, [Following("extra", "id", "id price", None, "")])
                with suppress(OSError):
                    await client.run(random.uniform(1, 5))

    async def disturb(self) -> None:
        """The database's connections are cut."""
        while not self.stopping:
            await self._sleep(random.uniform(15, 40))
            await self.postgres.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tycostream'"
                + (" AND backend_type = 'walsender'" if random.random() < 0.5 else "")
            )
            self.counts["disturbances"] += 1

    async def look(self) -> None:
        """What the process has."""
        process = psutil.Process(self.process.pid)
        while self.process.returncode is None and not self.stopping:
            self.samples.append(await self.sample(process))
            await self._sleep(SAMPLE_SECONDS)

    async def sample(self, process: psutil.Process) -> Sample:
        """Of this moment."""
        answer = await self._http.fetch(f"http://127.0.0.1:{self.port}/debug/actors?format=json")
        listed = json.loads(answer.body)
        listed = listed["actors"] if isinstance(listed, dict) else listed
        return Sample(
            (time.monotonic() - self._began) / 60,
            process.memory_info().rss / 1024,
            process.num_threads(),
            process.num_fds(),
            dict(Counter(one["kind"] for one in listed)),
        )

    async def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < until:
            await asyncio.sleep(min(0.5, max(0.0, until - time.monotonic())))

    # The whole

    async def run(self, minutes: float) -> tuple[Sample, list[str]]:
        """All of it, for so long. Returns what is left once only those remain who were there all the time, and who of
        them has wrong rows."""
        gone = False
        staying = [asyncio.create_task(long_lived(Client(self.port, [one]), lambda: gone)) for one in self.watched]
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.write, self.come_and_go, self.make_triggers, self.change_schema, self.disturb, self.look,
        ]  # fmt: skip
        tasks = [asyncio.create_task(work()) for work in works]
        self._began = time.monotonic()
        await asyncio.wait(tasks, timeout=minutes * 60, return_when=asyncio.FIRST_EXCEPTION)
        self.stopping = True
        await asyncio.gather(*tasks)
        wrong = await self._compare()
        self.write_schema(SCHEMA)
        self.process.send_signal(signal.SIGHUP)
        gone = True
        await asyncio.gather(*staying)
        left = await self._at_rest()
        return left, wrong

    async def _compare(self) -> list[str]:
        """Those who have other rows than the database, after they have had a minute."""
        wrong: list[str] = []
        for one in self.watched:
            names = one.columns.split()
            rows = await self.postgres.run(
                f"SELECT {one.columns.replace(' ', ', ')} FROM {one.source} WHERE {one.condition}"
            )
            expected = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
            for row in expected.values():
                if "many" in row:
                    row["many"] = str(row["many"])
            deadline = time.monotonic() + 60
            while one.rows != expected and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            if one.rows != expected:
                wrong.append(
                    f"{one.source} where {one.condition}: {len(one.rows)} rows, not {len(expected)}; {one.error}"
                )
        return wrong

    async def _at_rest(self) -> Sample:
        """What is left when everybody has gone."""
        process = psutil.Process(self.process.pid)
        deadline = time.monotonic() + 30
        while True:
            left = await self.sample(process)
            if not left.actors.get("connection") or time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out. `problems` is empty where it is well."""

    memory: Trend
    problems: list[str]


def judge(samples: list[Sample], left: Sample, wrong: list[str], bound: float) -> Verdict:
    """Warming up takes about seven minutes, until logs, caches and the allocator's pools are as large as they get; of a
    shorter run only the last third counts."""
    whole = samples[-1].minute
    warm = max(whole / 4, min(WARM_MINUTES, whole * 0.65))
    after = [one for one in samples if one.minute >= warm]
    memory = trend([(one.minute, one.resident_kib) for one in after], BLOCK_MINUTES)
    problems = [f"wrong rows: {one}" for one in wrong]
    if memory.least > bound:
        problems.append(f"memory grows by {memory.slope:.0f} KiB a minute at least {memory.least:.0f}")
    for name, slack in (("threads", 1), ("descriptors", 5)):
        slope = trend([(one.minute, float(getattr(one, name))) for one in after], BLOCK_MINUTES)
        if slope.least * (after[-1].minute - after[0].minute) > slack:
            problems.append(f"{name} grow by {slope.slope:.2f} a minute")
    if left.actors.get("connection") or left.actors.get("trigger"):
        problems.append(f"actors are left when everybody has gone: {left.actors}")
    fewest = min(one.descriptors for one in samples)
    if left.descriptors > fewest + 5:
        problems.append(f"{left.descriptors} descriptors are left, {fewest} were enough at some time")
    return Verdict(memory, problems)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--bound", type=float, default=100.0, help="KiB a minute that memory may grow by for sure")
    parser.add_argument("--seed", type=int, help="for the order of events, as far as that goes")
    parser.add_argument("--json", type=Path, help="also write samples and verdict to this file")
    return parser


async def soak(minutes: float) -> tuple[Soak, Sample, list[str]]:
    """Set everything up, run it, and take it down."""
    server = Postgres()
    postgres = server.create_database()
    try:
        postgres.execute(TABLES)
        with tempfile.TemporaryDirectory() as folder:
            one = Soak(postgres, Path(folder))
            await one.start()
            try:
                left, wrong = await one.run(minutes)
            finally:
                if one.process.returncode is None:
                    one.process.terminate()
                await one.process.wait()
        return one, left, wrong
    finally:
        postgres.close()
        server.stop()


def main() -> None:
    """Run it, print what came out, and exit with 1 where it is not well."""
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.minutes < LEAST_MINUTES:
        parser.error(f"--minutes: {LEAST_MINUTES:g} at least, for fewer tell nothing of growth")
    random.seed(arguments.seed)
    logging.getLogger("tornado").setLevel(logging.CRITICAL)  # sockets that are cut are what this is about
    one, left, wrong = asyncio.run(soak(arguments.minutes))
    verdict = judge(one.samples, left, wrong, arguments.bound)
    first, last = one.samples[0], one.samples[-1]
    print(", ".join(f"{count} {name}" for name, count in one.counts.items()))
    print(f"resident: {first.resident_kib / 1024:.1f} MiB at first, {last.resident_kib / 1024:.1f} at last;"
          f" {verdict.memory.slope:+.1f} ± {verdict.memory.error:.1f} KiB a minute after warming up")  # fmt: skip
    print(f"threads {first.threads}..{last.threads}, descriptors {first.descriptors}..{last.descriptors},"
          f" at rest {left.descriptors}; actors {left.actors}")  # fmt: skip
    print(
        "clients that stayed: "
        + "; ".join(f"{who.source} {who.messages} messages, {who.resets} snapshots" for who in one.watched)
    )
    print("\n".join(verdict.problems) or "well")
    if arguments.json:
        report = {"counts": one.counts, "verdict": asdict(verdict), "left": asdict(left)}
        arguments.json.write_text(json.dumps(report | {"samples": [asdict(s) for s in one.samples]}, indent=1))
    sys.exit(bool(verdict.problems))


if __name__ == "__main__":
    main()
