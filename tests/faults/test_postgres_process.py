"""PostgreSQL itself is killed, stopped for a while, or comes back as it was some time ago. Clients stay, and end in its state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg2
import pytest

from tests.end_to_end.test_source_status import follow as follow_status
from tests.faults.support import Scene, follow, returning, rounds, scene, settle
from tests.faults.test_client_link import ACCOUNTS, TOTALS
from tests.faults.test_database_link import write
from tests.support.client import GraphQLClient, connected
from tests.support.postgres import DURABLE, Postgres

SOURCES = ("accounts", "clock", "totals", "unkeyed")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One that only these tests use."""
    made = Postgres(DURABLE)
    yield made
    made.stop()


@asynccontextmanager
async def followed(
    server: Postgres, folder: Path, environ: dict[str, str]
) -> AsyncIterator[tuple[Scene, GraphQLClient]]:
    """A service over a database of this server, and a client of it."""
    database = server.create_database()
    async with scene(database, folder, environ) as s, connected(s.service.port) as client:
        await write(s, 0)
        await database.run("INSERT INTO unkeyed VALUES (1, 'a')")
        yield s, client
    database.close()


@asynccontextmanager
async def storm(s: Scene) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Transactions without a pause, until the end of the block; while there is no database they fail. The function that
    it is handed waits until so many more have been committed."""
    committed = 0
    over = False
    more = asyncio.Condition()

    async def blow() -> None:
        nonlocal committed
        number = 0
        while not over:
            number += 10
            try:
                await write(s, number)
            except (psycopg2.OperationalError, psycopg2.InterfaceError):
                await asyncio.sleep(0.01)
                continue
            async with more:
                committed += 1
                more.notify_all()

    async def until_more(count: int) -> None:
        wanted = committed + count
        async with asyncio.timeout(60), more:
            await more.wait_for(lambda: committed >= wanted)

    blowing = asyncio.ensure_future(blow())
    try:
        yield until_more
    finally:
        over = True
        await blowing


async def test_a_server_that_is_killed_in_a_storm_ten_times_over(server: Postgres, tmp_path: Path) -> None:
    async with (
        followed(server, tmp_path, {}) as (s, client),
        returning(s.port, ACCOUNTS, TOTALS) as clients,
    ):
        wishes = [await follow(client, source) for source in SOURCES]
        await settle(client, s.database, *wishes)
        async with storm(s) as until_more:
            for number in range(10):
                await until_more(5)
                if number % 2:
                    s.to_service.cut(reset=True)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await until_more(5)
        s.database.close()
        await settle(client, s.database, *wishes)
        for one in clients:
            await one.settle_alone(s.database)


async def test_a_server_that_stands_still_is_told_and_goes_on(server: Postgres, tmp_path: Path) -> None:
    """Every source, however it is followed: streamed, queried, polled."""
    silence, still = rounds(1, 10), rounds(0, 20)
    async with followed(server, tmp_path, {"DATABASE_SILENCE_SECONDS": str(silence)}) as (s, client):
        wishes = [await follow(client, source) for source in SOURCES]
        status = await follow_status(client)
        await settle(client, s.database, *wishes)
        await asyncio.gather(*(s.state(source, "LIVE") for source in SOURCES))
        with server.stopped():
            await client.until(lambda: all(status.states(source)[-1] == "STALE" for source in SOURCES))
            await asyncio.sleep(still)
        await client.until(lambda: all(status.states(source)[-1] == "LIVE" for source in SOURCES))
        await write(s, 1)
        await settle(client, s.database, *wishes)


async def test_a_server_that_stands_still_for_a_moment_is_nothing_to_tell(server: Postgres, tmp_path: Path) -> None:
    async with followed(server, tmp_path, {"DATABASE_SILENCE_SECONDS": "10"}) as (s, client):
        wishes = [await follow(client, source) for source in SOURCES]
        await settle(client, s.database, *wishes)
        await asyncio.gather(*(s.state(source, "LIVE") for source in SOURCES))
        status = await follow_status(client)
        async with storm(s) as until_more:
            await until_more(3)
            for _ in range(3):
                with server.stopped():
                    await asyncio.sleep(0.1)
                await until_more(3)
        await settle(client, s.database, *wishes)
        assert all(status.states(source) == ["LIVE"] for source in SOURCES)


async def test_a_server_that_comes_back_as_it_was_some_time_ago(server: Postgres, tmp_path: Path) -> None:
    """A backup is restored, or a standby that was behind takes over: commits that clients have seen never were. Time
    goes back, and cursors of the other time are good for nothing."""
    async with (
        followed(server, tmp_path, {}) as (s, _),
        returning(s.service.port, ACCOUNTS, TOTALS) as staying,
        returning(s.port, ACCOUNTS, TOTALS) as cut,
    ):
        for one in staying + cut:
            await one.settle_alone(s.database)
        s.database.close()
        await asyncio.to_thread(server.back_up)
        for number in range(1, 6):
            await write(s, number)
        for one in staying + cut:
            await one.settle_alone(s.database)
        s.to_service.refuse()
        s.to_service.cut()
        s.database.close()
        await asyncio.to_thread(server.go_back)
        for one in staying:
            await one.settle_alone(s.database)
        s.to_service.restore()
        for number in range(6, 9):
            await write(s, number)
            for one in staying + cut:
                await one.settle_alone(s.database)
        assert [one.visits for one in staying] == [1, 1]
        assert all(one.resets for one in cut), "they were told to forget what they knew"
