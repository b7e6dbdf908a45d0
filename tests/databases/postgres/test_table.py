"""Tables: the copy and the stream join exactly, whatever is written meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.databases.postgres.support import feed_of, following, rows_of, source_of
from tests.support.postgres import Database
from tycostream.databases.driver import DatabaseError
from tycostream.model import ColumnType as T

PLAIN = {"id": T.INTEGER, "v": T.STRING}
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


async def test_rows_first_then_every_change(postgres: Database) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5000) g"
    )
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        assert replica.rows == rows_of(postgres, source)
        await postgres.run(
            "UPDATE t SET v = 'y' WHERE id <= 10; DELETE FROM t WHERE id > 4000; INSERT INTO t VALUES (-1, NULL)"
        )
        await replica.until(lambda: replica.rows == rows_of(postgres, source))
        assert replica.snapshots == 1


async def test_a_transaction_arrives_whole_and_an_aborted_one_not_at_all(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, '10'), (2, '0')")
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        writer = postgres.connect()
        with writer.cursor() as cursor:
            cursor.execute("DELETE FROM t")
            writer.rollback()
            for amount in range(1, 11):
                cursor.execute("UPDATE t SET v = %s WHERE id = 1", (str(10 - amount),))
                cursor.execute("UPDATE t SET v = %s WHERE id = 2", (str(amount),))
                writer.commit()
        writer.close()
        await replica.until(lambda: replica.rows["2"][1] == "10")
        assert [int(state["1"][1] or 0) + int(state["2"][1] or 0) for state in replica.states] == [10] * 11


async def test_sources_that_attach_under_writes_miss_nothing_and_double_nothing(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)")
    stop = threading.Event()

    def write() -> None:
        writer = postgres.connect()
        with writer.cursor() as cursor:
            number = 0
            while not stop.is_set():
                number += 1
                for table in ("t", "u"):
                    cursor.execute(
                        f"INSERT INTO {table} VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
                        (number * 7919 % 500, str(number)),
                    )
                    cursor.execute(f"DELETE FROM {table} WHERE id = %s", (number * 104729 % 500,))
                writer.commit()
        writer.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        async with feed_of(postgres) as feed:
            one, two = source_of("t", PLAIN), source_of("u", PLAIN)
            async with following(postgres, one, feed) as first:
                await first.until(lambda: len(first.states) > 5)
                async with following(postgres, two, feed) as second, following(postgres, one, feed) as third:
                    await second.until(lambda: len(second.states) > 200)
                    await third.until(lambda: len(third.states) > 200)
                    stop.set()
                    await asyncio.to_thread(thread.join)
                    for replica in (first, second, third):
                        await replica.until(lambda replica=replica: replica.rows == rows_of(postgres, replica.source))
                        assert replica.snapshots == 1
    finally:
        stop.set()
        thread.join()


async def test_an_open_transaction_delays_the_start_and_says_so(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    writer = postgres.connect()
    writer.cursor().execute("INSERT INTO t VALUES (1, 'open')")
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.note)
        assert "waiting for an open transaction to end (pid" in (replica.note or "")
        assert replica.snapshots == 0
        writer.commit()
        writer.close()
        await replica.until(lambda: replica.rows == {"1": ("1", "open")})
        assert replica.note is None


async def test_an_open_transaction_that_does_not_end_is_an_error_that_names_it(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    writer = postgres.connect()
    writer.cursor().execute("INSERT INTO t VALUES (1, 'open')")
    message = r"no replication slot within 1\.5 s: waiting for an open transaction"
    source = source_of("t", PLAIN)
    async with feed_of(postgres, slot_timeout=1.5) as feed, following(postgres, source, feed) as replica:
        with pytest.raises(DatabaseError, match=message):
            await replica.until(lambda: replica.snapshots)
    writer.rollback()
    writer.close()


async def test_the_text_of_every_type_is_the_same_in_copy_and_stream(postgres: Database) -> None:
    columns = {
        "i2": "int2", "i4": "int4", "i8": "int8", "f4": "float4", "f8": "float8", "n": "numeric", "s": "text",
        "c": "char(5)", "vc": "varchar(9)", "u": "uuid", "ts": "timestamp", "tz": "timestamptz", "d": "date", "t": "time",
        "tt": "timetz", "b": "boolean", "j": "json", "jb": "jsonb", "a": "text[]", "ia": "int[]", "by": "bytea",
        "iv": "interval", "ip": "inet", "m": "money", "r": "int4range", "p": "point", "bits": "bit(3)",
    }  # fmt: skip
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    postgres.execute(f"CREATE TABLE t (id int PRIMARY KEY, {declared})")
    rows = """
        (%(id)s, -1, 2147483647, 9007199254740993, 0.1, 1e-7, 1.50, E'tab\\t line\\n back\\\\ é \\U0001F600', 'ab', '',
         'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '2024-01-02 03:04:05.678', '2024-01-02 03:04:05+02', '0044-03-15 BC',
         '24:00:00', '12:00:00+02', true, '{"a": [1, 2]}', '{"b":null}', ARRAY['a,b', 'c"d', NULL, 'NULL', ''], '{1,2}',
         '\\x00ff', '1 mon 2 days', '10.0.0.1/8', 12.34, '[1,5)', '(1,2)', B'101'),
        (%(id)s + 1, NULL, NULL, NULL, 'NaN', 'Infinity', 'NaN', '', '', ' ', NULL, 'infinity', '-infinity', 'infinity',
         '00:00:00', NULL, false, 'null', '"x"', '{}', NULL, '', NULL, NULL, NULL, 'empty', NULL, NULL)"""
    postgres.execute(f"INSERT INTO t VALUES {rows}", {"id": 1})
    source = source_of("t", {"id": T.INTEGER} | dict.fromkeys(columns, T.STRING))
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run(f"INSERT INTO t VALUES {rows}", {"id": 3})
        await replica.until(lambda: len(replica.rows) == 4)
        assert replica.rows["3"][1:] == replica.rows["1"][1:]
        assert replica.rows["4"][1:] == replica.rows["2"][1:]
        assert replica.rows["1"][source.positions["s"]] == "tab\t line\n back\\ é \U0001f600"
        assert replica.rows["1"][source.positions["b"]] == "t"


async def test_large_values_that_did_not_change_are_kept_even_when_the_key_changes(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, n int, big text)")
    postgres.execute("ALTER TABLE t ALTER big SET STORAGE EXTERNAL; INSERT INTO t VALUES (1, 0, repeat('é', 100000))")
    source = source_of("t", {"id": T.INTEGER, "big": T.STRING, "n": T.INTEGER})
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run("UPDATE t SET n = 1")
        await postgres.run("UPDATE t SET id = 2, n = 2")
        await postgres.run("BEGIN; UPDATE t SET id = 3; UPDATE t SET n = 3; UPDATE t SET id = 4; COMMIT")
        await replica.until(lambda: list(replica.rows) == ["4"])
        assert replica.rows == {"4": ("4", "é" * 100000, "3")}


async def test_keys_that_move_and_swap(postgres: Database) -> None:
    postgres.execute(
        "CREATE TABLE t (a int, b int, v text, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')"
    )
    source = source_of("t", {"v": T.STRING, "b": T.INTEGER, "a": T.INTEGER}, key=("a", "b"))
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run(
            "BEGIN; UPDATE t SET a = 3 WHERE a = 1; UPDATE t SET a = 1, b = 1 WHERE a = 2; UPDATE t SET a = 2, b = 2 WHERE a = 3; COMMIT"
        )
        await replica.until(lambda: len(replica.states) == 2)
        assert replica.rows == {("1", "1"): ("y", "1", "1"), ("2", "2"): ("x", "2", "2")}


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX other"])
async def test_other_replica_identities_that_carry_the_key(postgres: Database, identity: str) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text, code int NOT NULL); CREATE UNIQUE INDEX other ON t (code)"
    )
    postgres.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}; INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20)")
    source = source_of("t", {"code": T.INTEGER, "v": T.STRING}, key="code")
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        assert replica.note is None
        await postgres.run("UPDATE t SET code = 11 WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET v = 'c'")
        await replica.until(lambda: replica.rows == {"11": ("11", "c")})


async def test_truncate_empties_the_source_and_keeps_what_was_inserted_after_it(postgres: Database) -> None:
    postgres.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g"
    )
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run(
            "BEGIN; INSERT INTO t VALUES (-1, 'gone'); TRUNCATE t; INSERT INTO t VALUES (1, 'new'), (2, 'b'); DELETE FROM t WHERE id = 2; COMMIT"
        )
        await replica.until(lambda: replica.rows == {"1": ("1", "new")})
        await postgres.run("TRUNCATE t")
        await replica.until(lambda: replica.rows == {})
        await postgres.run("INSERT INTO t VALUES (5, 'after')")
        await replica.until(lambda: replica.rows == {"5": ("5", "after")})


async def test_partitions_are_one_table(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")
    postgres.execute(
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200)"
    )
    postgres.execute("INSERT INTO t VALUES (1, 'a'), (101, 'b')")
    source = source_of("t", PLAIN)
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        assert replica.note is None
        await postgres.run("UPDATE t SET id = 102 WHERE id = 1; UPDATE t2 SET v = 'c' WHERE id = 101")
        await postgres.run(
            "CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (200) TO (300); INSERT INTO t VALUES (201, 'd')"
        )
        await replica.until(lambda: replica.rows == {"102": ("102", "a"), "101": ("101", "c"), "201": ("201", "d")})


async def test_a_column_that_is_dropped_is_an_error_that_names_it(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    async with following(postgres, source_of("t", PLAIN)) as replica:
        await replica.until(lambda: replica.snapshots)
        await postgres.run("ALTER TABLE t DROP v; INSERT INTO t VALUES (1)")
        with pytest.raises(DatabaseError, match="column v of t is gone"):
            await replica.until(lambda: replica.rows)


async def test_a_large_transaction_does_not_hold_up_the_loop(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    async with following(postgres, source_of("t", PLAIN)) as replica:
        await replica.until(lambda: replica.snapshots)
        writing = asyncio.create_task(
            asyncio.to_thread(postgres.execute, "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 200000) g")
        )
        worst = 0.0
        while not replica.rows:
            before = time.thread_time()  # not the clock's: other processes may hold this one up
            await asyncio.sleep(0.001)
            worst = max(worst, time.thread_time() - before)
        await writing
        assert len(replica.rows) == 200_000
        assert worst < 1.0


async def test_a_lost_connection_is_told_to_every_follower(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)")
    async with feed_of(postgres) as feed:
        async with (
            following(postgres, source_of("t", PLAIN), feed) as one,
            following(postgres, source_of("u", PLAIN), feed) as two,
        ):
            await one.until(lambda: one.snapshots)
            await two.until(lambda: two.snapshots)
            await postgres.run(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL"
            )
            for replica in (one, two):
                with pytest.raises(DatabaseError):
                    await replica.until(lambda: False)
        async with following(postgres, source_of("t", PLAIN), feed) as again:
            await again.until(lambda: again.snapshots)


async def test_nothing_is_left_in_the_database(postgres: Database) -> None:
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    async with feed_of(postgres) as feed:
        async with following(postgres, source_of("t", PLAIN), feed) as replica:
            await replica.until(lambda: replica.snapshots)
            await postgres.until("SELECT count(*) FROM pg_publication_tables", [(1,)])
            # The slot of the copy is gone, the feed's own is there
            await postgres.until(SLOTS, [(1,)])
        await postgres.until("SELECT count(*) FROM pg_publication_tables", [(0,)])
    await postgres.until("SELECT count(*) FROM pg_publication", [(0,)])
    await postgres.until(SLOTS, [(0,)])


async def test_who_writes_does_not_notice_that_a_stream_ends(postgres: Database) -> None:
    """PostgreSQL fails statements that meet a publication which is being dropped with tables in it."""
    source = source_of("t", {"id": T.INTEGER})
    postgres.execute("CREATE TABLE t (id int PRIMARY KEY)")
    postgres.execute(
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT FROM pg_publication_rel)"
        " THEN RAISE EXCEPTION 'in use'; END IF; END $$;"
        "CREATE EVENT TRIGGER watch ON ddl_command_start WHEN TAG IN ('DROP PUBLICATION') EXECUTE FUNCTION watch()"
    )
    async with following(postgres, source) as replica:
        await replica.until(lambda: replica.snapshots)
        postgres.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database()"
        )
        await replica.until(lambda: replica.error)
        await postgres.until("SELECT count(*) FROM pg_publication", [(0,)])
