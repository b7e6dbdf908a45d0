"""The command `tycostream subscribe`: lines, JSON, the live table in a terminal, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from tests.support.postgres import Database
from tests.support.service import serving
from tests.terminal.screen import Terminal
from tests.terminal.support import ROWS, SCHEMA, TABLE, WAIT_SECONDS, cutting, url_of


async def command(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tycostream", "subscribe", *arguments, **{"stdout": pipe, "stderr": pipe} | options
    )


async def test_json_lines(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        environ = os.environ | {"GRAPHQL_PORT": str(service.port)}
        process = await command("trades", "--json", "--limit-updates", "2", env=environ, cwd=tmp_path)
        out, errors = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert (process.returncode, errors) == (0, b"")
    updates = [json.loads(line) for line in out.decode().splitlines()]
    assert [list(update) for update in updates] == [["operation", "data", "fields", "timestamp", "event_id"]] * 2
    assert [update["data"]["id"] for update in updates] == [1, 2]


async def test_lines_for_people_until_it_is_interrupted(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        process = await command("trades", "--url", f"http://127.0.0.1:{service.port}/graphql")
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            assert await process.stdout.readline() == b"INSERT  id=1  day=2024-01-02  symbol=AAPL  price=1.5\n"
            assert await process.stdout.readline() == b"INSERT  id=2  day=2024-01-03  symbol=null  price=2.5\n"
            await postgres.run("UPDATE trades SET symbol = E'a\\033[2J' WHERE id = 2")
            assert await process.stdout.readline() == b"UPDATE  id=2  day=2024-01-03  symbol=a\\u001b[2J\n"
            await postgres.run("DELETE FROM trades WHERE id = 1")
            assert await process.stdout.readline() == b"DELETE  id=1  day=2024-01-02\n"
            process.send_signal(signal.SIGINT)
            out, errors = await process.communicate()
    assert (process.returncode, out, errors) == (0, b"", b"")


async def test_a_reader_that_has_enough(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        reading, writing = os.pipe()
        process = await command("trades", "--url", url_of(service.port), stdout=writing)
        os.close(writing)
        try:
            assert b"INSERT" in await asyncio.to_thread(os.read, reading, 100)
        finally:
            os.close(reading)
        await postgres.run("UPDATE trades SET price = 9; UPDATE trades SET price = 10")
        _, errors = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert (process.returncode, errors) == (0, b"")


async def test_errors_end_it_with_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = await command("trades", "--url", url_of(port))
    _, errors = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert process.returncode == 1
    assert errors.decode().startswith("tycostream subscribe: can't connect to ws://127.0.0.1:")
    assert errors.decode().endswith("Connection refused (is tycostream running there? --url says where)\n")


async def test_the_live_table_in_a_terminal(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    terminal = Terminal(50, 8)
    try:
        async with serving(tmp_path, SCHEMA, postgres.environ) as service, cutting(service.port) as cable:
            process = await command(
                "trades", "--url", url_of(cable.port),
                stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs, env=os.environ | {"TERM": "xterm"},
            )  # fmt: skip
            await terminal.until(
                "  id  symbol  price  day",
                "   1  AAPL      1.5  2024-01-02",
                ">  2  null      2.5  2024-01-03",
                "2 rows, newest: INSERT id=2 day=2024-01-03",
            )
            await postgres.run("UPDATE trades SET price = 20.25 WHERE id = 1")
            await terminal.until(
                "  id  symbol  price  day",
                ">  1  AAPL    20.25  2024-01-02",
                "   2  null      2.5  2024-01-03",
                "2 rows, newest: UPDATE id=1 day=2024-01-02",
            )
            await postgres.run("INSERT INTO trades SELECT n, 'x', 0, '2024-01-04' FROM generate_series(3, 12) n")
            await terminal.until(
                "  id  symbol  price  day",
                "   8  x           0  2024-01-04",
                "   9  x           0  2024-01-04",
                "  10  x           0  2024-01-04",
                "  11  x           0  2024-01-04",
                "> 12  x           0  2024-01-04",
                "12 rows, 7 not shown, newest: INSERT id=12 day=2…",
            )
            await postgres.run("DELETE FROM trades WHERE id > 1")
            await terminal.until(
                "  id  symbol  price  day",
                "   1  AAPL    20.25  2024-01-02",
                "1 row, newest: DELETE id=12 day=2024-01-04",
            )
            assert not terminal.screen.broken_lines
            terminal.resize(24, 8)
            await postgres.run("UPDATE trades SET price = 3 WHERE id = 1")
            await terminal.until(
                "  id  symbol  price",
                ">  1  AAPL        3",
                "1 row, 1 column not sh…",
            )
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
            assert terminal.screen.text[0] == "  id  symbol  price"
            assert (terminal.screen.row, terminal.screen.column) == (3, 0)
    finally:
        terminal.close()


async def test_the_table_after_a_cut_stands_below_what_is_said_of_it(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; INSERT INTO trades VALUES (1, 'AAPL', 1.5, '2024-01-02')")
    terminal = Terminal(120, 10)
    try:
        async with serving(tmp_path, SCHEMA, postgres.environ) as service, cutting(service.port) as cable:
            process = await command(
                "trades", "--columns", "symbol", "--url", url_of(cable.port),
                stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs, env=os.environ | {"TERM": "xterm"},
            )  # fmt: skip
            table = ["  symbol", "> AAPL", "1 row, newest: INSERT id=1 day=2024-01-02"]
            await terminal.until(*table)
            cable.cut(hold=True)
            told = "the connection was closed: without a word; rows cleared, trying again in 0.2 s"
            await terminal.until(told, "  symbol", "0 rows")
            cable.whole.set()
            await terminal.until(told, *table)
            process.terminate()
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
    finally:
        terminal.close()
