"""Between service and database: cuts at any byte, stalls, refusals and slowness. Clients stay, and end with the database's
answer."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from pathlib import Path

import pytest

from tests.end_to_end.test_any_history import TICKS
from tests.faults.support import Scene, follow, rounds, scene, settle
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.faults import Way
from tests.support.postgres import Database

WRITES = [
    "INSERT INTO accounts SELECT n, 'a', n, repeat('n', 40) FROM generate_series({0}, {0} + 5) n ON CONFLICT DO NOTHING",
    "UPDATE accounts SET id = id + 100 WHERE id = {0}",
    "DELETE FROM accounts WHERE id % 7 = {0} % 7",
]


@pytest.fixture(params=["postgres-loop", "materialize-loop", "materialize-process"])
def any_reader(request: pytest.FixtureRequest) -> tuple[AnyDatabase, str]:
    """A database, and how it is read."""
    kind, reader = request.param.split("-")
    return request.getfixturevalue(kind), reader


async def write(s: Scene, number: int) -> None:
    """A transaction of several tables."""
    await s.database.transaction([*(statement.format(number) for statement in WRITES), *TICKS])


@pytest.mark.parametrize("way", Way)
async def test_a_connection_that_is_cut_at_any_byte_loses_nothing(
    database: AnyDatabase, tmp_path: Path, way: Way
) -> None:
    """Those that follow are cut in the middle of transactions, and those that come after them while they connect or read
    their snapshot."""
    dice = random.Random(f"cuts {way}")
    async with scene(database, tmp_path) as s, connected(s.service.port) as client:
        await write(s, 0)
        wishes = [await follow(client, source) for source in ("accounts", "clock", "totals")]
        await settle(client, s.database, *wishes)
        numbers = count(1)
        for _round in range(1, rounds(6, 300)):
            cuts = s.to_database.cuts
            reset = dice.random() < 0.5
            first, second = (int(10 ** dice.uniform(0, 3.7)) for _ in range(2))
            s.to_database.cut_after(first, way, reset=reset)
            s.to_database.cut_after(second, way, reset=reset, new=True)
            await write(s, next(numbers))
            while s.to_database.cuts == cuts:
                if way is Way.TO_SERVER:
                    # What follows hardly speaks: those that come are cut, while they say what they want
                    s.to_database.cut_after(int(10 ** dice.uniform(0, 3)), way, reset=reset, new=True)
                    s.to_database.cut()
                await write(s, next(numbers))
            s.to_database.restore()
            await settle(client, s.database, *wishes)
        assert all(s.state_of(wish.source)[0] in ("LIVE", "STALE") for wish in wishes)


async def test_a_database_that_stalls_is_noticed_and_taken_up_again(database: AnyDatabase, tmp_path: Path) -> None:
    async with (
        scene(database, tmp_path, {"DATABASE_SILENCE_SECONDS": "1.2"}) as s,
        connected(s.service.port) as client,
    ):
        await write(s, 0)
        wishes = [await follow(client, source) for source in ("accounts", "clock", "totals")]
        await settle(client, s.database, *wishes)
        s.to_database.stall()
        await write(s, 1)
        reasons = await asyncio.gather(*(s.state(wish.source, "STALE") for wish in wishes))
        for reason in reasons:
            assert "silent for" in reason or "stood still" in reason or "no answer" in reason
        await write(s, 2)
        s.to_database.restore()
        await settle(client, s.database, *wishes)
        await asyncio.gather(*(s.state(wish.source, "LIVE") for wish in wishes))


async def test_a_calm_postgresql_is_not_taken_for_one_that_stalls(postgres: Database, tmp_path: Path) -> None:
    """Nothing comes while nothing changes, so it is asked."""
    async with (
        scene(postgres, tmp_path, {"DATABASE_SILENCE_SECONDS": "0.8"}) as s,
        connected(s.service.port) as client,
    ):
        wish = await follow(client, "clock")
        await settle(client, s.database, wish)
        await s.to_database.until(lambda: len(s.to_database.links) == 2)  # the copy's connections have gone
        connections = s.to_database.accepted
        # Four signs of life take as long as the silence that is borne
        for _ in range(6):
            heard = s.to_database.passed[Way.TO_CLIENT]
            await s.to_database.until(lambda: s.to_database.passed[Way.TO_CLIENT] > heard)  # noqa: B023
        assert (len(s.to_database.links), s.to_database.accepted) == (2, connections)
        assert s.state_of("clock")[0] == "LIVE"


async def test_a_first_snapshot_that_stalls_is_noticed(any_reader: tuple[AnyDatabase, str], tmp_path: Path) -> None:
    """No stream tells of silence there: the statement waits."""
    database, reader = any_reader
    async with (
        scene(database, tmp_path, {"DATABASE_SILENCE_SECONDS": "0.4", "DATABASE_READER": reader}) as s,
        connected(s.service.port) as client,
    ):
        rows = "INSERT INTO accounts SELECT n, 'a', n, repeat('n', 100) FROM generate_series(1, 20000) n"
        await s.database.run(rows)
        wish = await follow(client, "accounts")
        await s.to_database.until(lambda: s.to_database.passed[Way.TO_CLIENT] > 500_000)
        s.to_database.stall()
        await s.state("accounts", "CONNECTING", "silent for|stood still|no answer")
        s.to_database.restore()
        await settle(client, s.database, wish)


async def test_a_database_that_refuses_for_a_while_is_tried_again(database: AnyDatabase, tmp_path: Path) -> None:
    async with scene(database, tmp_path) as s, connected(s.service.port) as client:
        await write(s, 0)
        wishes = [await follow(client, source) for source in ("accounts", "totals")]
        await settle(client, s.database, *wishes)
        s.to_database.refuse()
        s.to_database.cut(reset=True)
        await asyncio.gather(*(s.state(wish.source, "STALE") for wish in wishes))
        for number in range(1, 4):
            await write(s, number)
        s.to_database.restore()
        await settle(client, s.database, *wishes)


async def test_a_slow_connection_is_slow_and_nothing_else(database: AnyDatabase, tmp_path: Path) -> None:
    """It delays what it carries, and neither counts as silent nor loses anything."""
    async with (
        scene(database, tmp_path, {"DATABASE_SILENCE_SECONDS": "3"}) as s,
        connected(s.service.port) as client,
    ):
        await write(s, 0)
        wish = await follow(client, "accounts")
        await settle(client, s.database, wish)
        connections = s.to_database.accepted
        s.to_database.slow(rounds(4000, 1000), Way.TO_CLIENT)
        for number in range(1, rounds(6, 60)):
            await write(s, number)
        await settle(client, s.database, wish)
        assert s.to_database.accepted == connections


async def test_what_takes_longer_to_come_than_silence_is_borne_comes(
    any_reader: tuple[AnyDatabase, str], tmp_path: Path
) -> None:
    """A part of it is a sign of life."""
    database, reader = any_reader
    async with (
        scene(database, tmp_path, {"DATABASE_SILENCE_SECONDS": "2", "DATABASE_READER": reader}) as s,
        connected(s.service.port) as client,
    ):
        await write(s, 0)
        wish = await follow(client, "accounts")
        await settle(client, s.database, wish)
        connections = s.to_database.accepted
        s.to_database.slow(4000, Way.TO_CLIENT)
        await s.database.run("INSERT INTO accounts SELECT n, 'a', n, repeat('n', 40) FROM generate_series(101, 300) n")
        await settle(client, s.database, wish)
        assert s.to_database.accepted == connections
