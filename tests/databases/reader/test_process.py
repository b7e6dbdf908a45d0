"""A reader process over a real PostgreSQL: whole lines in their order, errors as on the loop, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

import psutil
import pytest

from tests.support.postgres import Database
from tycostream.databases.connection import connect
from tycostream.databases.driver import DatabaseError
from tycostream.databases.reader import ReaderProcess, started


async def lines_of(process: ReaderProcess, database: Database, statement: str) -> list[bytes]:
    """All pieces of a COPY."""
    await process.copy(database.parameters, statement)
    pieces = []
    while piece := await process.read(database.parameters):
        assert piece.endswith(b"\n")
        pieces.append(piece)
    return pieces


async def test_all_lines_come_once_and_in_order(postgres: Database) -> None:
    async with started() as process:
        pieces = await lines_of(process, postgres, "COPY (SELECT generate_series(1, 300000)) TO STDOUT")
    assert b"".join(pieces) == b"".join(b"%d\n" % number for number in range(1, 300_001))
    assert len(pieces) < 300_000 / 100, "rows that come together are sent together"
    assert not psutil.pid_exists(process.pid)


async def test_a_line_of_any_length_comes_whole(postgres: Database) -> None:
    async with started() as process:
        statement = "COPY (SELECT repeat('x', n * 1000000) FROM generate_series(0, 5) n) TO STDOUT"
        pieces = await lines_of(process, postgres, statement)
    assert b"".join(pieces) == b"".join(b"x" * number * 1_000_000 + b"\n" for number in range(6))


async def test_what_the_server_refuses_has_its_code_and_its_words(postgres: Database) -> None:
    async with started() as process:
        await process.copy(postgres.parameters, "COPY (SELECT 1 FROM nothing) TO STDOUT")
        with pytest.raises(DatabaseError, match=r'^relation "nothing" does not exist$') as caught:
            await process.read(postgres.parameters)
    assert caught.value.sqlstate == "42P01"


async def test_an_error_comes_after_the_lines_before_it(postgres: Database) -> None:
    async with started() as process:
        await process.copy(
            postgres.parameters, "COPY (SELECT 1 / (2000 - n) FROM generate_series(1, 3000) n) TO STDOUT"
        )
        found = b""
        while found.count(b"\n") < 1999:
            found += await process.read(postgres.parameters)
        with pytest.raises(DatabaseError, match="division by zero"):
            await process.read(postgres.parameters)


async def test_a_server_that_is_not_there_is_told_as_on_the_loop(postgres: Database) -> None:
    nowhere = replace(postgres.parameters, host="127.0.0.1", port=1, password="a secret")
    with pytest.raises(DatabaseError) as on_the_loop:
        await connect(nowhere)
    async with started() as process:
        with pytest.raises(DatabaseError) as caught:
            await process.copy(nowhere, "SELECT 1")
    before, _, reason = str(on_the_loop.value).rpartition(": ")  # libpq says more while it blocks
    assert str(caught.value).startswith(f"{before}: ")
    assert str(caught.value).endswith(f": {reason}")
    assert (caught.value.hint, caught.value.private) == (on_the_loop.value.hint, True)


async def test_the_password_is_seen_nowhere(postgres: Database) -> None:
    parameters = replace(postgres.parameters, password="a secret")
    async with started() as process:
        await process.copy(parameters, "COPY (SELECT pg_sleep(60)) TO STDOUT")
        seen = psutil.Process(process.pid)
        assert "a secret" not in " ".join((*seen.cmdline(), *seen.environ().values()))
        with pytest.raises(DatabaseError) as caught:
            await process.copy(parameters, "no second statement is heard: this ends it")
    assert "a secret" not in f"{caught.value}{process!r}"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_a_process_that_dies_is_an_error(postgres: Database, number: signal.Signals) -> None:
    async with started() as process:
        await process.copy(postgres.parameters, "COPY (SELECT pg_sleep(60)) TO STDOUT")
        os.kill(process.pid, number)
        with pytest.raises(DatabaseError, match="the process that read from the database has ended") as caught:
            await process.read(postgres.parameters)
    assert caught.value.sqlstate is None
    assert not caught.value.permanent


async def test_one_that_is_not_needed_any_more_is_gone_and_so_is_its_connection(postgres: Database) -> None:
    async def read() -> None:
        async with started() as process:
            pids.append(process.pid)
            await process.copy(postgres.parameters, "COPY (SELECT generate_series(1, 1000000000000)) TO STDOUT")
            for number in (signal.SIGTERM, signal.SIGINT):  # it is the service that decides
                os.kill(process.pid, number)
            for _ in range(100):  # more than was on its way
                assert await process.read(postgres.parameters)
            copying.set()
            await asyncio.Event().wait()

    pids: list[int] = []
    copying = asyncio.Event()
    reading = asyncio.ensure_future(read())
    await asyncio.wait_for(copying.wait(), 20)
    # Nobody reads on, so it waits, and with it the server
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%'"
    await postgres.until(f"{running} AND wait_event = 'ClientWrite'", [(1,)])
    os.kill(pids[0], signal.SIGSTOP)  # even one that does not run
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(reading, 20)
    assert not psutil.pid_exists(pids[0])
    await postgres.until(running, [(0,)])
