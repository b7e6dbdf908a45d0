"""The feed actor: one stream for all who follow, told when it is lost, and left without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.actors.support import until
from tests.databases.postgres.support import feed_of
from tests.support.postgres import Database
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres.catalog import Table

TABLES = "SELECT count(*) FROM pg_publication_tables"


class Hearer:
    """A follower that counts."""

    def __init__(self, table: Table) -> None:
        self.tables: Sequence[Table] = (table,)
        self.heard: list[int] = []

    async def ready(self) -> None:
        return None

    def on_start(self, history: Any) -> None:
        return None

    def on_progress(self, lsn: int) -> None:
        return None

    def on_transaction(self, lsn: int, committed_at: float, changes: Sequence[Any], xid: int) -> None:
        self.heard.append(len(changes))


def table(postgres: Database, name: str) -> Table:
    postgres.execute(f"CREATE TABLE {name} (id int PRIMARY KEY)")
    ((oid,),) = postgres.execute("SELECT to_regclass(%s)::oid::bigint", (name,))
    return Table(int(oid), "public", name)


def quiet(_reason: str | None) -> None:
    return None


async def test_followers_share_a_stream_and_a_table_is_published_as_long_as_one_follows(postgres: Database) -> None:
    one, two = table(postgres, "one"), table(postgres, "two")
    async with feed_of(postgres) as feed:
        hearers = [Hearer(one), Hearer(one), Hearer(two)]
        for hearer in hearers:
            await feed.follow(hearer, quiet)
        await postgres.until("SELECT count(*) FROM pg_publication", [(1,)])
        postgres.execute("INSERT INTO one VALUES (1), (2); INSERT INTO two VALUES (1)")
        await until(lambda: [hearer.heard for hearer in hearers] == [[2], [2], [1]])
        await feed.unfollow(hearers[0])
        await feed.unfollow(hearers[0])
        postgres.execute("INSERT INTO one VALUES (3)")
        await until(lambda: hearers[1].heard == [2, 1])
        assert hearers[0].heard == [2]
        await feed.unfollow(hearers[1])
        await postgres.until(TABLES, [(1,)])
    await postgres.until("SELECT count(*) FROM pg_publication", [(0,)])


async def test_a_lost_stream_is_told_and_the_next_one_who_asks_makes_another(postgres: Database) -> None:
    one = table(postgres, "one")
    async with feed_of(postgres) as feed:
        lost = await feed.follow(Hearer(one), quiet)
        postgres.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"
        )
        with pytest.raises(DatabaseError):
            await asyncio.wait_for(lost, 10)
        hearer = Hearer(one)
        await feed.follow(hearer, quiet)
        postgres.execute("INSERT INTO one VALUES (1)")
        await until(lambda: hearer.heard == [1])
        await postgres.until("SELECT count(*) FROM pg_publication", [(1,)])


async def test_who_goes_before_the_stream_is_there_is_not_followed(postgres: Database) -> None:
    one = table(postgres, "one")
    writer = postgres.connect()
    writer.cursor().execute("INSERT INTO one VALUES (1)")
    reasons: list[str | None] = []
    async with feed_of(postgres) as feed:
        asking = asyncio.ensure_future(feed.follow(Hearer(one), reasons.append))
        await until(lambda: reasons)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        writer.rollback()
        writer.close()
        patient = Hearer(table(postgres, "two"))
        await feed.follow(patient, quiet)
        await postgres.until("SELECT tablename FROM pg_publication_tables", [("two",)])


async def test_a_database_that_is_not_there_is_told_to_each_who_asks(postgres: Database) -> None:
    one = table(postgres, "one")
    gone = Database(type(postgres.parameters)("/nowhere", 5432, "me", "", "shop"))
    async with feed_of(gone) as feed:
        for _ in range(2):
            with pytest.raises(DatabaseError, match="No such file"):
                await feed.follow(Hearer(one), quiet)
