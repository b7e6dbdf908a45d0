"""A durable slot: what is followed through it goes on after a lost connection or a restart without being read anew,
as long as the slot tells of everything; and otherwise it is read anew."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.databases.postgres.support import Replica, feed_of, following, rows_of, source_of
from tests.support.postgres import Database, Postgres
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres import DurableOptions, kept
from tycostream.databases.postgres.replication import ReplicationStream
from tycostream.model import Changes, ColumnType, Position, SnapshotComplete, SnapshotStarted

COLUMNS = {"id": ColumnType.INTEGER, "v": ColumnType.STRING}
ONE, TWO = source_of("one", COLUMNS), source_of("two", COLUMNS)
TABLES = "CREATE TABLE one (id int PRIMARY KEY, v text); CREATE TABLE two (id int PRIMARY KEY, v text)"
FILL = "INSERT INTO one VALUES (1, 'a'), (2, 'b'); INSERT INTO two VALUES (1, 'a')"
KILL = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{}' AND active"


@pytest.fixture
def slot(postgres: Database) -> str:
    """A slot's name, beside two tables."""
    postgres.execute(TABLES)
    postgres.execute(FILL)
    return postgres.slot


def events_since(replica: Replica, mark: int) -> list[str]:
    """The kinds of what was reported since, but for notes and progress."""
    kinds = [type(event).__name__ for event in replica.events[mark:]]
    return [kind for kind in kinds if kind not in ("Waiting", "Progress")]


async def until_same(replica: Replica, postgres: Database) -> None:
    expected = await asyncio.to_thread(rows_of, postgres, replica.source)
    await replica.until(lambda: replica.rows == expected)


@asynccontextmanager
async def lost(postgres: Database, slot: str, replica: Replica) -> AsyncIterator[None]:
    """Within: the connection has been cut."""
    await postgres.run(KILL.format(slot))
    with pytest.raises(DatabaseError):
        await replica.until(lambda: False)
    yield


async def test_after_a_lost_connection_both_go_on_where_they_were(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one, following(postgres, TWO, feed) as two:
            await one.until(lambda: one.snapshots)
            await two.until(lambda: two.snapshots)
            await postgres.run("UPDATE one SET v = 'seen'")
            await until_same(one, postgres)
            marks = len(one.events), len(two.events)
            async with lost(postgres, slot, one):
                await postgres.run("DELETE FROM one WHERE id = 1; INSERT INTO two VALUES (2, 'missed')")
        async with following(postgres, ONE, feed, one):
            await until_same(one, postgres)
            await postgres.run("INSERT INTO one VALUES (3, 'c')")
            await until_same(one, postgres)
            # Who comes late has missed nothing either
            await postgres.run("INSERT INTO two VALUES (3, 'late')")
            await one.until(lambda: one.rows)
            async with following(postgres, TWO, feed, two):
                await until_same(two, postgres)
                await postgres.run("INSERT INTO two VALUES (4, 'live')")
                await until_same(two, postgres)
        assert events_since(one, marks[0]) == ["Resumed", "Changes", "Changes"]
        assert events_since(two, marks[1]) == ["Resumed", "Changes", "Changes", "Changes"]


async def test_a_connection_that_is_cut_within_a_transaction_brings_it_whole(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one:
            await one.until(lambda: one.snapshots)
            mark = len(one.events)
            await asyncio.gather(
                postgres.run("INSERT INTO one SELECT g, 'x' FROM generate_series(100, 60000) g"), _cut(postgres, slot)
            )
            with pytest.raises(DatabaseError):
                await one.until(lambda: False)
        async with following(postgres, ONE, feed, one):
            await until_same(one, postgres)
        assert "SnapshotStarted" not in events_since(one, mark)
        assert len(one.states) == 2, "all of the transaction at once"


async def _cut(postgres: Database, slot: str) -> None:
    """Cut the connection as soon as the server is sending the transaction."""
    other = Database(postgres.parameters)
    sending = "SELECT count(*) FROM pg_stat_replication_slots WHERE slot_name = %s AND total_txns > 0"
    try:
        for _ in range(200):
            active = await other.run(
                "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'walsender' AND wait_event = 'WalSenderWriteData'"
            )
            if active or await other.run(sending, (slot,)) == [(1,)]:
                break
        await other.run(KILL.format(slot))
    finally:
        other.close()


async def test_what_was_not_followed_all_the_time_is_read_anew(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one, following(postgres, TWO, feed) as two:
            await one.until(lambda: one.snapshots)
            await two.until(lambda: two.snapshots)
            async with lost(postgres, slot, one):
                # Somebody takes a table out of the publication, and writes, and another one gives it back
                await postgres.run(f"ALTER PUBLICATION {slot} DROP TABLE two")
                await postgres.run("INSERT INTO two VALUES (2, 'unseen'); INSERT INTO one VALUES (5, 'seen')")
                await postgres.run(f"ALTER PUBLICATION {slot} ADD TABLE ONLY two")
            marks = len(one.events), len(two.events)
        async with following(postgres, ONE, feed, one), following(postgres, TWO, feed, two):
            await until_same(one, postgres)
            await until_same(two, postgres)
        assert events_since(one, marks[0]) == ["Resumed", "Changes"]
        assert events_since(two, marks[1])[0] == "SnapshotStarted"


async def test_a_table_that_is_added_later_is_followed_from_then_on(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
        await one.until(lambda: one.snapshots)
        await postgres.run("INSERT INTO two VALUES (7, 'before')")
        async with following(postgres, TWO, feed) as two:
            await two.until(lambda: two.snapshots)
            await postgres.run("INSERT INTO two VALUES (8, 'after')")
            await until_same(two, postgres)


async def test_a_slot_that_was_invalidated_is_made_anew_and_told(
    postgres: Database, slot: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one:
            await one.until(lambda: one.snapshots)
            async with lost(postgres, slot, one):
                await postgres.until(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'", [(False,)])
                await postgres.run(f"SELECT pg_drop_replication_slot('{slot}')")
                await postgres.run("DELETE FROM one WHERE id = 1")
            mark = len(one.events)
        async with following(postgres, ONE, feed, one):
            await until_same(one, postgres)
        assert events_since(one, mark)[0] == "SnapshotStarted"
    await postgres.run(f"DROP PUBLICATION {slot}")
    with caplog.at_level(logging.WARNING, "tycostream.postgres"):
        async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
            await one.until(lambda: one.snapshots)
    assert "its publication is gone" in caplog.text
    assert "[SLOT_LOST]" in caplog.text


async def test_a_slot_whose_log_is_gone_is_made_anew() -> None:
    server = Postgres(
        "wal_level = logical\nmax_slot_wal_keep_size = '1MB'\nmin_wal_size = '32MB'\nmax_wal_size = '32MB'\nfsync = off"
    )
    postgres = server.create_database()
    try:
        postgres.execute(TABLES)
        postgres.execute(FILL)
        async with feed_of(postgres, slot="short") as feed, following(postgres, ONE, feed) as one:
            await one.until(lambda: one.snapshots)
        async with feed_of(postgres, slot="short") as feed:
            await postgres.until("SELECT active FROM pg_replication_slots WHERE slot_name = 'short'", [(False,)])
            while await postgres.run("SELECT wal_status FROM pg_replication_slots") != [("lost",)]:
                await postgres.run("INSERT INTO two SELECT g, repeat('x', 500) FROM generate_series(100, 40000) g")
                await postgres.run("DELETE FROM two WHERE id >= 100; SELECT pg_switch_wal(); CHECKPOINT")
            async with following(postgres, ONE, feed) as one:
                await one.until(lambda: one.snapshots)
                await postgres.until("SELECT wal_status <> 'lost' FROM pg_replication_slots", [(True,)])
                await postgres.run("INSERT INTO one VALUES (9, 'z')")
                await until_same(one, postgres)
    finally:
        postgres.close()
        server.stop()


async def test_a_slot_that_another_process_has_is_left_alone_and_named(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
        await one.until(lambda: one.snapshots)
        second = ReplicationStream(postgres.parameters, slot_timeout=1, durable=DurableOptions(slot))
        with pytest.raises(DatabaseError, match=f"slot {slot} is in use by process [0-9]+ .*tycostream") as caught:
            await second.open(lambda _reason: None)
        await second.close()
        assert not caught.value.permanent
        await postgres.run("INSERT INTO one VALUES (9, 'z')")
        await until_same(one, postgres)


async def test_a_slot_of_another_kind_is_refused(postgres: Database, slot: str) -> None:
    await postgres.run("SELECT pg_create_physical_replication_slot(%s)", (slot,))
    async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
        with pytest.raises(DatabaseError, match="is physical") as caught:
            await one.until(lambda: one.snapshots)
        assert caught.value.permanent


async def test_a_new_process_is_told_of_the_changes_that_led_to_its_first_rows(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot, hold_back=300) as feed, following(postgres, ONE, feed) as one:
        await one.until(lambda: one.snapshots)
        await postgres.run("UPDATE one SET v = 'told' WHERE id = 1")
        await until_same(one, postgres)
        position = one.position
    assert position is not None
    await postgres.run("UPDATE one SET v = 'missed' WHERE id = 2")
    await postgres.run("DELETE FROM one WHERE id = 1")
    async with feed_of(postgres, slot=slot, hold_back=300) as feed:
        wish = Position(position.timestamp, position.relation, known=False)
        async with following(postgres, ONE, feed, resume=wish) as one:
            await one.until(lambda: one.snapshots)
            assert one.relation == position.relation
            complete = next(event for event in one.events if isinstance(event, SnapshotComplete))
            assert complete.since is not None
            assert complete.since <= position.timestamp
            shown = next(event for event in one.events if isinstance(event, SnapshotStarted)).timestamp
            missed = [
                event for event in one.events if isinstance(event, Changes) and event.timestamp > position.timestamp
            ]
            assert [[key for key, _row in event.changes] for event in missed] == [["2"], ["1"]]
            assert all(event.timestamp <= shown for event in missed)
            await until_same(one, postgres)


async def test_more_than_is_kept_leads_to_a_new_beginning(
    postgres: Database, slot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "KEPT_ROWS", 10)
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one, following(postgres, TWO, feed) as two:
            await one.until(lambda: one.snapshots)
            await two.until(lambda: two.snapshots)
            async with lost(postgres, slot, one):
                await postgres.run("INSERT INTO one SELECT g, 'x' FROM generate_series(100, 111) g")
            mark = len(one.events)
        async with following(postgres, TWO, feed, two):
            await postgres.run("INSERT INTO two VALUES (2, 'b')")
            await until_same(two, postgres)  # so the stream has come beyond
            async with following(postgres, ONE, feed, one):
                await until_same(one, postgres)
        assert events_since(one, mark)[0] == "SnapshotStarted"


async def test_tables_that_nobody_comes_back_to_are_withdrawn(
    postgres: Database, slot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = "SELECT tablename::text FROM pg_publication_tables ORDER BY 1"
    async with (
        feed_of(postgres, slot=slot) as feed,
        following(postgres, ONE, feed) as one,
        following(postgres, TWO, feed) as two,
    ):
        await one.until(lambda: one.snapshots)
        await two.until(lambda: two.snapshots)
    await postgres.until(published, [("one",), ("two",)])
    monkeypatch.setattr("tycostream.databases.postgres.replication.KEEP_SECONDS", 0.5)
    async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
        await one.until(lambda: one.snapshots)
        await postgres.until(published, [("one",)])
        await postgres.run("INSERT INTO one VALUES (9, 'z')")
        await until_same(one, postgres)


@pytest.mark.parametrize("table", ["one", "two"])
async def test_what_is_old_enough_is_confirmed_so_that_the_log_does_not_grow(
    postgres: Database, slot: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is for us or not."""
    monkeypatch.setattr("tycostream.databases.postgres.replication.KEEP_SECONDS", 0.2)
    confirmed = f"SELECT confirmed_flush_lsn {{}} FROM pg_replication_slots WHERE slot_name = '{slot}'"
    async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
        await one.until(lambda: one.snapshots)
        await postgres.run(f"INSERT INTO {table} SELECT g, 'x' FROM generate_series(100, 10000) g")
        ((written,),) = await postgres.run("SELECT pg_current_wal_lsn()")
        deadline = asyncio.get_running_loop().time() + 30  # it is told every ten seconds
        while await postgres.run(confirmed.format(f">= '{written}'")) != [(True,)]:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.1)


async def test_who_comes_back_while_a_transaction_is_read_gets_all_of_it(
    postgres: Database, slot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one, following(postgres, TWO, feed) as two:
            await one.until(lambda: one.snapshots)
            await two.until(lambda: two.snapshots)
            async with lost(postgres, slot, one):
                await postgres.run(
                    "BEGIN; INSERT INTO two VALUES (2, 'b'); INSERT INTO one SELECT g, 'x' FROM"
                    " generate_series(100, 9000) g; UPDATE two SET v = 'c'; COMMIT"
                )
            mark = len(one.events)
        monkeypatch.setattr("tycostream.databases.postgres.replication.TICK_MESSAGES", 3)
        actor = feed._directory["feed", "postgres"]._actor_weakref()
        async with following(postgres, TWO, feed, two):
            while actor._stream is None or not actor._stream._within:
                await asyncio.sleep(0)
            async with following(postgres, ONE, feed, one):
                await until_same(two, postgres)
                await until_same(one, postgres)
        assert events_since(one, mark) == ["Resumed", "Changes"]


async def test_a_stream_that_was_lost_does_not_keep_what_came_through_it(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
        await one.until(lambda: one.snapshots)
    gc.collect()
    gc.disable()
    try:
        async with feed_of(postgres, slot=slot) as feed, following(postgres, ONE, feed) as one:
            await one.until(lambda: one.snapshots)
            await postgres.run("UPDATE one SET v = 'kept'")
            await until_same(one, postgres)
            assert kept_changes() > 0
            async with lost(postgres, slot, one), asyncio.timeout(20):
                while kept_changes():
                    await asyncio.sleep(0.01)
    finally:
        gc.enable()


async def test_nothing_is_kept_once_everybody_is_back(postgres: Database, slot: str) -> None:
    async with feed_of(postgres, slot=slot) as feed:
        async with following(postgres, ONE, feed) as one, following(postgres, ONE, feed) as other:
            await one.until(lambda: one.snapshots)
            await other.until(lambda: other.snapshots)
            await postgres.run(KILL.format(slot))
            for replica in (one, other):
                with pytest.raises(DatabaseError):
                    await replica.until(lambda: False)
        async with following(postgres, ONE, feed, one):
            await postgres.run("UPDATE one SET v = 'missed by the other'")
            await until_same(one, postgres)
            assert kept_changes() > 0
            mark = len(other.events)
            async with following(postgres, ONE, feed, other):
                await until_same(other, postgres)
                assert events_since(other, mark) == ["Resumed", "Changes"]
                assert kept_changes() == 0
                await postgres.run("UPDATE one SET v = 'seen by both'")
                await until_same(one, postgres)
                await until_same(other, postgres)
                assert kept_changes() == 0


def kept_changes() -> int:
    return sum(len(one.transactions) for one in gc.get_objects() if isinstance(one, kept.Kept))
