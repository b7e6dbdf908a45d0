"""The process: how it starts, what it says when it can't, how it ends, and what it leaves when it is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from tests.support.client import connected
from tests.support.postgres import Database, Postgres

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String}
"""
TABLE = "CREATE TABLE trades (id int PRIMARY KEY, symbol text); INSERT INTO trades VALUES (1, 'AAPL')"
QUERY = "subscription { trades { operation data { id symbol } fields timestamp } }"
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


class Process:
    """`python -m tycostream` in a folder of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def ended(self) -> tuple[int, str]:
        """Exit code, and all that it printed."""
        output, _ = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None
        return self.process.returncode, output.decode()

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """An HTTP answer, as soon as there is one."""
        client = AsyncHTTPClient(force_instance=True)
        try:
            while True:
                try:
                    answer = await client.fetch(f"http://127.0.0.1:{self.port}{path}", raise_error=False)
                except ConnectionRefusedError:
                    assert self.process.returncode is None, await self.ended()
                    await asyncio.sleep(0.02)
                else:
                    return answer.code, json.loads(answer.body)
        finally:
            client.close()

    async def until_health(self, wanted: str) -> dict[str, Any]:
        """Until /health says so."""
        async with asyncio.timeout(20):
            while True:
                _, body = await self.get("/health")
                if body["status"] == wanted:
                    return body
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    folder: Path, environ: dict[str, str], *arguments: str, schema: str = SCHEMA
) -> AsyncIterator[Process]:
    (folder / "schema.yaml").write_text(schema)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE") if name in os.environ
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tycostream", *arguments,
        cwd=folder, env=kept | {"GRAPHQL_PORT": str(port), "GRAPHQL_HOST": "127.0.0.1"} | environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Process(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigterm_tells_clients_cleans_up_and_ends_with_code_0(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    async with running(tmp_path, postgres.environ) as service:
        await service.get("/ready")
        async with connected(service.port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: trades.rows)
            began = asyncio.get_running_loop().time()
            service.process.send_signal(signal.SIGTERM)
            assert (await client.closed())[0] == 1001
            code, output = await service.ended()
        assert code == 0, output
        assert asyncio.get_running_loop().time() - began < 5
        assert "Traceback" not in output
    await postgres.until("SELECT count(*) FROM pg_publication", [(0,)])
    await postgres.until(SLOTS, [(0,)])


async def test_what_a_killed_process_leaves_is_removed_by_the_next_start(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    eager = postgres.environ | {"SOURCE_START": "eager"}
    async with running(tmp_path, eager) as alive:
        await postgres.until("SELECT count(*) FROM pg_publication_tables", [(1,)])
        ((kept,),) = postgres.execute("SELECT pubname FROM pg_publication")
        async with running(tmp_path, eager) as killed:
            await postgres.until("SELECT count(*) FROM pg_publication_tables", [(2,)])
            killed.process.kill()
            await killed.process.wait()
        await postgres.until(SLOTS, [(1,)])  # the temporary slot is gone by itself, the publication is not
        assert postgres.execute("SELECT count(*) FROM pg_publication") == [(2,)]
        async with running(tmp_path, eager) as third, connected_when_up(third) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: trades.rows)
            assert postgres.execute("SELECT count(*) FROM pg_publication") == [(2,)]
            assert (kept,) in postgres.execute("SELECT pubname FROM pg_publication")
        assert alive.process.returncode is None


@asynccontextmanager
async def connected_when_up(service: Process) -> AsyncIterator[Any]:
    await service.get("/ready")
    async with connected(service.port) as client:
        yield client


async def test_every_mistake_in_the_configuration_is_told_with_code_2(tmp_path: Path) -> None:
    environ = {"DATABASE_TYPE": "postgers", "GRAPHQL_PORT": "99999"}
    schema = "sources:\n  trades:\n    primary_key: idd\n    columns: {id: Integr, side: String}\n"
    async with running(tmp_path, environ, schema=schema) as service:
        code, output = await service.ended()
    assert code == 2
    assert "Traceback" not in output
    for told in (
        "DATABASE_TYPE",
        "postgers",
        "GRAPHQL_PORT",
        "99999",
        "schema.yaml:3:",
        "idd",
        "schema.yaml:4:",
        "Integr",
        "Integer",
    ):
        assert told in output


async def test_an_unreachable_database_is_waited_for(tmp_path: Path) -> None:
    server = await asyncio.to_thread(Postgres)
    try:
        database = server.create_database()
        database.execute(TABLE)
        database.close()
        await asyncio.to_thread(server.halt)
        environ = database.environ | {"RECONNECT_MAX_MS": "200"}
        async with running(tmp_path, environ) as service, connected_when_up(service) as client:
            trades = await client.subscribe(QUERY)
            body = await service.until_health("degraded")
            assert "check that the database runs" in body["sources"]["trades"]["reason"]
            await asyncio.to_thread(server.start)
            await client.until(lambda: trades.rows)
            await service.until_health("ok")
            await asyncio.to_thread(server.kill)
            await service.until_health("degraded")
            assert (await service.get("/health"))[1]["sources"]["trades"]["state"] == "STALE"
            async with connected(service.port) as late:  # the rows are still served
                again = await late.subscribe(QUERY)
                await late.until(lambda: again.rows == trades.rows)
            await asyncio.to_thread(server.start)
            database.execute("INSERT INTO trades VALUES (2, 'MSFT')")
            database.close()
            await client.until(lambda: len(trades.rows) == 2)
            assert [message["operation"] for message in trades.messages] == ["INSERT", "INSERT"]
            service.process.send_signal(signal.SIGINT)
            assert (await service.ended())[0] == 0
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_port_that_is_taken_is_told(postgres: Database, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = postgres.environ | {"GRAPHQL_PORT": str(taken.getsockname()[1])}
        async with running(tmp_path, environ) as service:
            code, output = await service.ended()
    assert code == 1
    assert f"can't listen on port {environ['GRAPHQL_PORT']}: Address already in use" in output
    assert "Traceback" not in output


async def test_check_holds_the_file_against_the_database(postgres: Database, tmp_path: Path) -> None:
    async with running(tmp_path, postgres.environ, "check") as missing:
        code, output = await missing.ended()
    assert code == 1
    assert "trades: there is no relation trades in the database" in output
    postgres.execute(TABLE)
    async with running(tmp_path, postgres.environ, "check") as fitting:
        code, output = await fitting.ended()
    assert (code, "trades: fits; followed by logical replication" in output) == (0, True)
    async with running(tmp_path, postgres.environ | {"DATABASE_HOST": "/nowhere"}, "check", "--offline") as offline:
        assert (await offline.ended())[0] == 0


async def test_the_embedded_database_is_made_initialised_and_stopped(tmp_path: Path) -> None:
    (tmp_path / "init.sql").write_text(TABLE)
    environ = {"DATABASE_TYPE": "embedded", "EMBEDDED_INIT": "init.sql"}
    for _ in range(2):
        async with running(tmp_path, environ) as service, connected_when_up(service) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda trades=trades: trades.rows == {(1,): {"id": 1, "symbol": "AAPL"}})
            service.process.send_signal(signal.SIGTERM)
            code, output = await service.ended()
            assert code == 0, output
    assert not (tmp_path / ".tycostream" / "postgres" / "data" / "postmaster.pid").exists()
