"""From a database to live rows in a terminal, with nothing but the commands."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.postgres import Database

TABLES = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE trades (id bigint PRIMARY KEY, symbol text NOT NULL, side side, price numeric(10, 2), at timestamptz);
CREATE VIEW totals AS SELECT symbol, sum(price) AS total FROM trades GROUP BY symbol;
INSERT INTO trades VALUES (1, 'AAPL', 'buy', 1.25, '2024-01-02');
"""
WAIT_SECONDS = 30.0


async def test_generate_check_serve_and_subscribe(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLES)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = os.environ | postgres.environ | {"GRAPHQL_PORT": str(port), "GRAPHQL_HOST": "127.0.0.1"}
    generated = await started(tmp_path, environ, "schema", "generate", "-s", "trades", "-s", "totals", "-p", "symbol")
    assert await ended(generated) == (0, "")
    (tmp_path / "schema.yaml").write_bytes(await printed(generated))
    checked = await started(tmp_path, environ, "check")
    code, errors = await ended(checked)
    assert (code, errors) == (0, "")
    assert (await printed(checked)).endswith(b"\nEverything fits.\n")
    service = await started(tmp_path, environ)
    subscribed = None
    assert service.stderr is not None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while b"serving trades, totals at" not in await service.stderr.readline():
                pass
        subscribed = await started(tmp_path, environ, "subscribe", "totals", "--limit-updates", "2")
        assert subscribed.stdout is not None
        assert (
            await asyncio.wait_for(subscribed.stdout.readline(), WAIT_SECONDS) == b"INSERT  symbol=AAPL  total=1.25\n"
        )
        await postgres.run("INSERT INTO trades VALUES (2, 'AAPL', 'sell', 2, now())")
        assert (
            await asyncio.wait_for(subscribed.stdout.readline(), WAIT_SECONDS) == b"UPDATE  symbol=AAPL  total=3.25\n"
        )
        assert await ended(subscribed) == (0, "")
    finally:
        if subscribed is not None and subscribed.returncode is None:
            subscribed.kill()
            await subscribed.communicate()
        service.send_signal(signal.SIGTERM)
        await asyncio.wait_for(service.communicate(), WAIT_SECONDS)
    assert service.returncode == 0


async def started(folder: Path, environ: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    """A command in that folder."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tycostream", *arguments, cwd=folder, env=environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Exit code and standard error."""
    assert process.stderr is not None
    errors = await asyncio.wait_for(process.stderr.read(), WAIT_SECONDS)
    return await asyncio.wait_for(process.wait(), WAIT_SECONDS), errors.decode()


async def printed(process: asyncio.subprocess.Process) -> bytes:
    """All of standard output, of a process that has ended."""
    assert process.stdout is not None
    return await process.stdout.read()
