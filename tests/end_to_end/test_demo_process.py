"""`python -m tycostream demo`, the process: what it says, what it serves, how it ends, twice in a row."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.client import connected
from tycostream.databases.connection import opened
from tycostream.databases.embedded import EmbeddedPostgres


@pytest.fixture
def folder() -> Iterator[Path]:
    """Outside of pytest's folders, which only their owner may enter: as root the server runs as another user."""
    made = Path(tempfile.mkdtemp(prefix="tyco-"))
    yield made
    shutil.rmtree(made)


class Run:
    """A demonstration in a process of its own; `said` are the lines it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port
        self.said: list[str] = []

    async def says(self, text: str) -> None:
        """Wait until it prints a line with this text."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while line := await self.process.stdout.readline():
                self.said.append(line.decode())
                if text in self.said[-1]:
                    return
        raise AssertionError("".join(self.said))

    async def ends(self) -> int:
        """Its exit code."""
        output, _ = await asyncio.wait_for(self.process.communicate(), 30)
        self.said += output.decode().splitlines(keepends=True)
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def output(self) -> str:
        return "".join(self.said)


@asynccontextmanager
async def running(folder: Path, *arguments: str, port: int | None = None) -> AsyncIterator[Run]:
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tycostream", "demo", "--port", str(port), *arguments,
        cwd=folder, start_new_session=True, env=kept | {"GRAPHQL_HOST": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Run(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        async with asyncio.timeout(30):  # a server that was told to stop still writes a checkpoint
            while left(folder):
                await asyncio.sleep(0.02)


def left(folder: Path) -> list[str]:
    """What runs in a folder below this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in process.cwd() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.name()}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


async def test_it_starts_serves_and_ends_twice_in_a_row(folder: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        async with running(folder) as demo:
            await demo.says("It goes on. Ctrl-C ends it.")
            for told in (
                "Starting a private PostgreSQL",
                "Making up a market of 24",
                f"http://localhost:{demo.port}/demo",
            ):
                assert told in demo.output
            assert demo.output.count("  INSERT  symbol=") == 3
            assert demo.output.count("  UPDATE  symbol=") == 9
            client = AsyncHTTPClient(force_instance=True)
            page = await client.fetch(f"http://127.0.0.1:{demo.port}/demo")
            assert b"/demo/main.js" in page.body
            command = next(line for line in demo.said if "curl -s" in line)
            query = json.loads(command.partition(" -d '")[2].rstrip().rstrip("'"))["query"]
            answer = await client.fetch(
                f"http://127.0.0.1:{demo.port}/graphql", method="POST", body=json.dumps({"query": query}),
                headers={"Content-Type": "application/json"},
            )  # fmt: skip
            assert len(json.loads(answer.body)["data"]["live_pnl"]) == 3
            client.close()
            async with connected(demo.port) as socket_client:
                alerts = await socket_client.subscribe(
                    "subscription { alerts { operation data { id kind symbol } fields timestamp } }"
                )
                trades = await socket_client.subscribe(
                    "subscription { trades { operation data { id } fields timestamp } }"
                )
                await socket_client.until(lambda trades=trades: trades.rows)
                first = max(trades.rows)
                await socket_client.until(lambda trades=trades, first=first: max(trades.rows) > first)
                assert alerts.errors == trades.errors == []
            began = asyncio.get_running_loop().time()
            demo.process.send_signal(number)
            assert await demo.ends() == 0, demo.output
            assert asyncio.get_running_loop().time() - began < 8
            assert "Traceback" not in demo.output
            assert not (folder / ".tycostream" / "demo" / "owner").exists()


async def test_its_alerts_come_by_themselves(folder: Path) -> None:
    async with running(folder, "--instruments", "300", "--rate", "2000") as demo:
        await demo.says("Ctrl-C ends it.")
        async with connected(demo.port) as client:
            alerts = await client.subscribe(
                "subscription { alerts { operation data { id kind symbol } fields timestamp } }"
            )
            await client.until(lambda: {row["kind"] for row in alerts.rows.values()} >= {"FIRE", "CLEAR"})
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ends() == 0, demo.output


async def test_a_port_that_is_taken_is_told_before_anything_else(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with running(folder, port=taken.getsockname()[1]) as demo:
            assert await demo.ends() == 1
            assert (
                demo.output
                == f"Can't listen on port {demo.port}: Address already in use. Choose another with --port.\n"
            )
    assert not (folder / ".tycostream").exists()


async def test_a_second_one_in_the_same_folder_is_refused(folder: Path) -> None:
    async with running(folder) as first:
        await first.says("first 12 updates")
        async with running(folder) as second:
            second_code = await second.ends()
            assert second_code == 1
            assert f"in use by another tycostream (pid {first.process.pid})" in second.output
            assert "Traceback" not in second.output
            first.process.send_signal(signal.SIGINT)
            assert await first.ends() == 0, "the first one is as it was"


async def test_ctrl_c_twice_leaves_nothing_behind(folder: Path) -> None:
    async with running(folder) as demo:
        await demo.says("Ctrl-C ends it.")
        os.killpg(demo.process.pid, signal.SIGINT)
        os.killpg(demo.process.pid, signal.SIGINT)
        assert await demo.ends() in (0, 128 + signal.SIGINT), demo.output
        assert "Traceback" not in demo.output


async def test_ctrl_c_while_it_starts_ends_it_as_well(folder: Path) -> None:
    for told in ("Starting a private PostgreSQL", "Making up a market"):
        async with running(folder) as demo:
            await demo.says(told)
            os.killpg(demo.process.pid, signal.SIGINT)  # a terminal tells the tools of PostgreSQL as well
            assert await demo.ends() == 0, demo.output
            assert demo.output.replace("Stopped.\n", "").count("\n") <= 2, demo.output


@pytest.mark.parametrize("broken", ["it does not start", "it does not answer"])
async def test_a_database_that_is_broken_is_told_with_a_way_out(folder: Path, broken: str) -> None:
    home = folder / ".tycostream" / "demo"
    database = EmbeddedPostgres(home)
    parameters = await database.start()
    if broken == "it does not answer":
        async with opened(replace(parameters, name="template1")) as connection:
            await connection.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
    await database.stop()
    if broken == "it does not start":
        with (home / "data" / "postgresql.conf").open("a") as file:
            file.write("nonsense = on\n")
    async with running(folder) as demo:
        assert await demo.ends() == 1
        assert "PostgreSQL " + broken.replace("it does", "did" if "start" in broken else "does") in demo.output
        assert f"remove {home} and start again" in demo.output
        assert "Traceback" not in demo.output
    shutil.rmtree(home)
    async with running(folder) as demo:
        await demo.says("/demo")
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ends() == 0


async def test_a_folder_that_can_not_hold_a_database_is_told(folder: Path) -> None:
    (folder / ".tycostream").write_text("in the way")
    async with running(folder) as demo:
        assert await demo.ends() == 1
        assert "PostgreSQL did not start: " in demo.output
        assert "EMBEDDED_PATH" in demo.output
        assert "Traceback" not in demo.output
