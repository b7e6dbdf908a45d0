"""The process is stopped or killed and started anew: who comes back with a cursor is told what was missed, where the
database can tell."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.end_to_end.test_process import running
from tests.end_to_end.test_resuming import SMALL, TRADES, Follower, trades
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database


def environ_of(database: AnyDatabase, workers: int = 0) -> dict[str, str]:
    """With a durable slot, where it has slots."""
    slot = {} if isinstance(database, MaterializeDatabase) else {"REPLICATION_SLOT": database.slot}
    return {name: value for name, value in database.environ.items() if value} | slot | {"WORKERS": str(workers)}


async def follow_and_be_cut(
    database: AnyDatabase, folder: Path, followers: list[Follower], ending: signal.Signals, workers: int = 0
) -> None:
    """Follow until a first change has come; then the process ends."""
    async with running(folder, environ_of(database, workers), schema=SMALL) as service:
        await service.get("/ready")
        async with connected(service.port) as client:
            for number, follower in enumerate(followers):
                await follower.subscribe(client, str(number))
                await follower.settle(client, database)
            await database.run("UPDATE trades SET price = 5 WHERE id = 2")
            for follower in followers:
                await follower.settle(client, database)
            service.process.send_signal(ending)
            await client.closed()
        await service.ended()


async def come_back(
    database: AnyDatabase, folder: Path, followers: list[Follower], *more: str, workers: int = 0
) -> None:
    async with running(folder, environ_of(database, workers), schema=SMALL) as service:
        await service.get("/ready")
        async with connected(service.port) as client:
            for number, follower in enumerate(followers):
                await follower.subscribe(client, str(number))
            for follower in followers:
                await follower.settle(client, database)
            for write in more:
                await database.run(write)
            for follower in followers:
                await follower.settle(client, database)


MISSED = (
    "UPDATE trades SET price = 10 WHERE id = 1",
    "INSERT INTO trades VALUES (3, 'C', 3), (4, 'D', 400)",
    "DELETE FROM trades WHERE id = 2",
    "UPDATE trades SET price = 9 WHERE id = 4",
)


@pytest.mark.parametrize(("ending", "workers"), [(signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGTERM, 2)])
async def test_cursors_outlive_the_process(
    database: AnyDatabase, tmp_path: Path, ending: signal.Signals, workers: int
) -> None:
    database.execute(TRADES)
    followers = [trades(), Follower("trades", "id", "id price", {"price": {"_gte": 4}}, "price >= 4")]
    await follow_and_be_cut(database, tmp_path, followers, ending, workers)
    for write in MISSED:
        await database.run(write)
    await come_back(database, tmp_path, followers, "INSERT INTO trades VALUES (5, 'E', 5)", workers=workers)
    assert all(follower.marks_heard == [None] * len(follower.heard) for follower in followers), "no snapshot"
    told = [(one["operation"], one["data"]["id"]) for one in followers[0].heard]
    # PostgreSQL tells which rows have changed, Materialize also what they were before
    first = "UPDATE" if isinstance(database, MaterializeDatabase) else "INSERT"
    assert sorted(told, key=lambda one: one[1]) == [
        (first, 1), ("DELETE", 2), ("INSERT", 3), ("INSERT", 4), ("INSERT", 5)
    ]  # fmt: skip


async def test_who_was_cut_within_its_first_rows_begins_anew(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TRADES)
    follower = trades()
    follower.left = 1
    async with running(tmp_path, environ_of(database), schema=SMALL) as service:
        await service.get("/ready")
        async with connected(service.port) as client:
            await follower.subscribe(client, "1")
            await client.until(lambda: follower.heard)
    follower.left = 1_000_000
    await come_back(database, tmp_path, [follower])
    assert follower.marks_heard == ["RESET", "ROW"]


async def test_where_the_log_begins_later_a_snapshot_follows(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TRADES)
    followers = [trades()]
    await follow_and_be_cut(postgres, tmp_path, followers, signal.SIGKILL)
    await postgres.until(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{postgres.slot}'", [(False,)])
    await postgres.run("SET synchronous_commit = on; UPDATE trades SET price = 7")
    await postgres.run(f"SELECT pg_replication_slot_advance('{postgres.slot}', pg_current_wal_lsn())")
    await come_back(postgres, tmp_path, followers)
    assert followers[0].marks_heard == ["RESET", "ROW"]


async def test_where_the_table_was_truncated_a_snapshot_follows(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TRADES)
    followers = [trades()]
    await follow_and_be_cut(postgres, tmp_path, followers, signal.SIGTERM)
    await postgres.run("TRUNCATE trades; INSERT INTO trades VALUES (8, 'H', 8)")
    await come_back(postgres, tmp_path, followers)
    assert followers[0].marks_heard == ["RESET"]


async def test_another_table_of_the_same_name_is_another_history(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TRADES)
    followers = [trades()]
    await follow_and_be_cut(postgres, tmp_path, followers, signal.SIGTERM)
    await postgres.run("DROP TABLE trades")
    await postgres.run(TRADES)
    await come_back(postgres, tmp_path, followers)
    assert followers[0].marks_heard == ["RESET", "ROW"]
