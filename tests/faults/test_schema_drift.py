"""A relation changes under a running service: its source says what does not fit, and goes on by itself when it fits again; the
others notice nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.support import follow, scene, settle
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database

VIEW = (
    "CREATE VIEW totals AS SELECT coalesce(kind, '-') AS kind, sum(amount) AS total,"
    " (SELECT min(tick) FROM clock) AS tick FROM accounts GROUP BY 1"
)
DRIFTS = {  # what happens, of which source, what it says, what mends it
    "a column is dropped": (
        "ALTER TABLE unkeyed DROP COLUMN kind",
        "unkeyed",
        "kind",
        "ALTER TABLE unkeyed ADD COLUMN kind text",
    ),
    "a column of a table that is streamed is dropped": (
        "ALTER TABLE clock DROP COLUMN tick",
        "clock",
        "tick",
        "ALTER TABLE clock ADD COLUMN tick int DEFAULT 7",
    ),
    "a column is renamed": (
        "ALTER TABLE clock RENAME COLUMN tick TO tock",
        "clock",
        "tick",
        "ALTER TABLE clock RENAME COLUMN tock TO tick",
    ),
    "a view is dropped": ("DROP VIEW totals", "totals", "totals", VIEW),
    "a view is another one": (
        "DROP VIEW totals; CREATE VIEW totals AS SELECT kind, sum(amount) AS sum FROM accounts GROUP BY 1",
        "totals",
        "total|tick",
        f"DROP VIEW totals; {VIEW}",
    ),
    "a table is dropped": (
        "ALTER TABLE unkeyed RENAME TO elsewhere",
        "unkeyed",
        "unkeyed",
        "ALTER TABLE elsewhere RENAME TO unkeyed",
    ),
}


@pytest.mark.parametrize("drift", DRIFTS)
async def test_what_does_not_fit_any_more_is_told_and_heals(database: AnyDatabase, tmp_path: Path, drift: str) -> None:
    change, source, reason, mended = DRIFTS[drift]
    async with scene(database, tmp_path) as s, connected(s.service.port) as client:
        if source != "totals":
            await s.database.run(
                "DROP VIEW totals; CREATE VIEW totals AS SELECT kind, 1::bigint AS total, 1 AS tick FROM accounts"
            )
        await s.database.run("INSERT INTO accounts VALUES (1, 'a', 1, ''); INSERT INTO unkeyed VALUES (1, 'a')")
        wishes = {name: await follow(client, name) for name in ("accounts", "clock", "totals", "unkeyed")}
        await settle(client, s.database, *wishes.values())
        for name in wishes:
            await s.state(name, "LIVE")
        known = dict(wishes[source].subscription.rows)
        await s.database.run(change)
        # What is streamed is looked at when it changes
        await s.database.run("UPDATE clock SET id = -id; UPDATE accounts SET amount = amount + 1")
        told = await s.state(source, "FAILED", reason)
        assert told
        assert wishes[source].subscription.rows == known, "who follows keeps the last rows that fit"
        others = [wish for name, wish in wishes.items() if name != source]
        for name in wishes:
            if name != source:
                assert s.state_of(name)[0] == "LIVE", name
        await s.database.run(mended)
        await s.state(source, "LIVE")
        await s.database.run(
            "UPDATE clock SET id = -id; INSERT INTO accounts VALUES (2, 'b', 1, ''); INSERT INTO unkeyed VALUES (2, 'b')"
        )
        await settle(client, s.database, *others, wishes[source])


async def test_a_type_that_does_not_fit_any_more_is_told_and_heals(postgres: Database, tmp_path: Path) -> None:
    """Nothing is streamed of the rows that are written anew. It is noticed with the next change."""
    async with scene(postgres, tmp_path) as s, connected(s.service.port) as client:
        wish = await follow(client, "clock")
        await settle(client, postgres, wish)
        await s.state("clock", "LIVE")
        await postgres.run("DROP VIEW totals; ALTER TABLE clock ALTER COLUMN tick TYPE text USING 'tock'")
        await postgres.run("UPDATE clock SET id = -id WHERE id = 1")
        await s.state("clock", "FAILED", "column tick: Integer does not fit the database's text")
        await postgres.run("ALTER TABLE clock ALTER COLUMN tick TYPE int USING 5")
        await s.state("clock", "LIVE")
        await settle(client, postgres, wish)


async def test_rows_that_were_written_anew_by_another_type_that_fits_are_read_again(
    postgres: Database, tmp_path: Path
) -> None:
    async with scene(postgres, tmp_path) as s, connected(s.service.port) as client:
        wish = await follow(client, "clock")
        await settle(client, postgres, wish)
        await postgres.run("DROP VIEW totals; UPDATE clock SET tick = 3")
        await postgres.run("ALTER TABLE clock ALTER COLUMN tick TYPE smallint USING tick * 100")
        await postgres.run("UPDATE clock SET id = -id WHERE id = 1")
        await settle(client, postgres, wish)
        assert {row["tick"] for row in wish.subscription.rows.values()} == {300}


async def test_materialize_serves_a_type_that_does_not_fit_as_far_as_it_does(
    materialize: MaterializeDatabase, tmp_path: Path
) -> None:
    async with scene(materialize, tmp_path) as s, connected(s.service.port) as client:
        wish = await follow(client, "clock")
        await settle(client, materialize, wish)
        await materialize.run("DROP VIEW totals; ALTER TABLE clock ALTER COLUMN tick TYPE bigint USING 7")
        await settle(client, materialize, wish)
        await s.state("clock", "LIVE", "column tick: Integer does not fit")
