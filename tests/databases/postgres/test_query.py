"""Views and relations that can't be streamed: queried when something beneath changes, or at an interval."""

from __future__ import annotations

import asyncio

import pytest

from tests.databases.postgres.support import following, rows_of, source_of
from tests.support.postgres import Database
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres.query import is_visible
from tycostream.model import ColumnType as T
from tycostream.model import SnapshotStarted

PLAIN = {"id": T.INTEGER, "v": T.STRING}


async def test_a_view_over_views_follows_the_tables_beneath(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, w text)")
    postgres.execute("CREATE VIEW inner_view AS SELECT t.id, w FROM t JOIN u USING (id)")
    postgres.execute("CREATE VIEW outer_view AS SELECT id, upper(w) AS v FROM inner_view")
    source = source_of("outer_view", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        assert replica.note is None
        await postgres.run("INSERT INTO t VALUES (1, 'x'); INSERT INTO u VALUES (1, 'w')")
        await replica.until(lambda: replica.rows == {"1": ("1", "W")})
        await postgres.run("UPDATE u SET w = 'z'")
        await replica.until(lambda: replica.rows == {"1": ("1", "Z")})
        timestamps = [event.timestamp for event in replica.events if isinstance(event, SnapshotStarted)]
        assert timestamps == sorted(timestamps)


async def test_a_commit_that_is_streamed_before_it_is_visible_is_not_forgotten(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW w AS SELECT id, v FROM t")
    source = source_of("w", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        # Commits are written and streamed, but nobody sees them before a standby that does not exist has them
        postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        try:
            postgres.execute("SELECT pg_reload_conf()")
            number, waits = 0, False
            while not waits:
                number += 1
                insert = ["SET synchronous_commit = on", f"INSERT INTO t VALUES ({number}, 'x')"]
                writing = asyncio.create_task(postgres.transaction(insert))
                waits = not (await asyncio.wait({writing}, timeout=0.5))[0]
            known = replica.snapshots
            await replica.until(lambda: replica.snapshots > known)
            assert str(number) not in replica.rows
        finally:
            postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
            postgres.execute("SELECT pg_reload_conf()")
        await writing
        await replica.until(lambda: replica.rows == rows_of(postgres, source))
        assert str(number) in replica.rows


@pytest.mark.parametrize(
    ("xid", "snapshot", "visible"),
    [
        (9, "10:10:", True),
        (10, "10:10:", False),
        (11, "10:10:", False),
        (10, "10:12:10", False),
        (11, "10:12:10", True),
        (4294967295, "4294967297:4294967297:", True),
        (0, "4294967297:4294967297:", True),
        (4294967295, "4294967294:4294967297:4294967295", False),
        (1, "4294967295:4294967295:", False),
    ],
)
def test_what_a_snapshot_shows(xid: int, snapshot: str, visible: bool) -> None:
    assert is_visible(xid, snapshot) is visible


async def test_a_burst_of_changes_leads_to_few_queries(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW w AS SELECT id, v FROM t")
    source = source_of("w", PLAIN)
    async with following(postgres, source, view=0.2) as replica:
        await replica.until(lambda: replica.snapshots)
        for number in range(300):
            await postgres.run("INSERT INTO t VALUES (%s, 'x')", (number,))
        await replica.until(lambda: len(replica.rows) == 300)
        assert replica.snapshots < 30


async def test_a_table_without_a_key_stays_writable_and_is_polled(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'x')")
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        assert replica.note is not None
        assert "polled every 50 ms: t has no replica identity" in replica.note
        await postgres.run("UPDATE t SET v = 'y'; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (3, 'z')")
        await replica.until(lambda: replica.rows == rows_of(postgres, source))


async def test_a_materialized_view_changes_when_it_is_refreshed(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE MATERIALIZED VIEW m AS SELECT * FROM t")
    source = source_of("m", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run("INSERT INTO t VALUES (1, 'x'); REFRESH MATERIALIZED VIEW m")
        await replica.until(lambda: replica.rows == {"1": ("1", "x")})
        assert "materialized view" in (replica.note or "")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("(1, 'x'), (1, 'y')", r"two rows have the same key \(id='1'\)"),
        ("(1, 'x'), (NULL, 'y')", r"a row has no key \(id=NULL\)"),
    ],
)
async def test_a_key_that_does_not_tell_rows_apart_is_a_clear_error(
    postgres: Database, rows: str, message: str
) -> None:
    postgres.execute("CREATE TABLE t (id int, v text)")
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run(f"INSERT INTO t VALUES {rows}")
        with pytest.raises(DatabaseError, match=message) as caught:
            await replica.until(lambda: replica.rows)
        assert "must name columns that tell the rows of t apart" in (caught.value.hint or "")


async def test_a_view_that_is_dropped_is_a_permanent_error(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW w AS SELECT id, v FROM t")
    async with following(postgres, source_of("w", PLAIN)) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run("DROP VIEW w; INSERT INTO t VALUES (1, 'x')")
        with pytest.raises(DatabaseError, match=r'relation "public\.w" does not exist'):
            await replica.until(lambda: replica.rows)


async def test_many_rows_come_in_pieces(postgres: Database) -> None:
    postgres.execute("CREATE VIEW w AS SELECT g AS id, 'x' AS v FROM generate_series(1, 10000) g")
    source = source_of("w", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        assert replica.rows == rows_of(postgres, source)
