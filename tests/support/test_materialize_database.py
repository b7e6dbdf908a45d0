"""The simulated Materialize with PostgreSQL as its SQL engine, and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.materialize.clients import text_client
from tests.support.materialize.database import MaterializeDatabase

TABLES = """
CREATE TABLE accounts (id int PRIMARY KEY, kind text, amount numeric);
CREATE VIEW totals AS SELECT kind, sum(amount) AS total, count(*) AS n FROM accounts GROUP BY 1;
"""


def test_sql_is_run_by_postgresql_and_seen_by_the_simulator(materialize: MaterializeDatabase) -> None:
    simulator = materialize.simulator
    materialize.execute(TABLES)
    assert set(simulator.relations()) == {"accounts", "totals"}
    columns = [(one.name, one.type, one.oid, one.nullable) for one in simulator.relation("accounts").columns]
    assert columns == [("id", "integer", 23, False), ("kind", "text", 25, True), ("amount", "numeric", 1700, True)]
    assert simulator.relation("totals").columns[2].type == "bigint"
    before = simulator.frontier
    materialize.execute("INSERT INTO accounts VALUES (1, 'a', 1.50), (2, 'a', NULL), (3, NULL, 7)")
    assert simulator.contents("accounts") == Counter([("1", "a", "1.50"), ("2", "a", None), ("3", None, "7")])
    assert simulator.contents("totals") == Counter([("a", "1.50", "2"), (None, "7", "1")])
    ((one, changes),) = simulator.relation("accounts").between(before, simulator.frontier)
    ((other, _),) = simulator.relation("totals").between(before, simulator.frontier)
    assert (one, len(changes)) == (other, 3)  # one commit for all
    frontier = simulator.frontier
    assert materialize.execute("SELECT id FROM accounts WHERE kind = %s ORDER BY 1", ("a",)) == [(1,), (2,)]
    assert simulator.frontier == frontier  # nothing changed, nothing is told
    materialize.execute("TRUNCATE accounts")
    assert not simulator.contents("accounts")


def test_values_are_printed_as_postgresql_prints_them(materialize: MaterializeDatabase) -> None:
    materialize.execute("""
        CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE TABLE t AS SELECT true AS a, '2024-01-02 03:04:05.60+02'::timestamptz AS b, 'NaN'::float8 AS c, '{"x": [1]}'::jsonb AS d,
            ARRAY['a,b', NULL] AS e, '\\xff'::bytea AS f, 'ok'::mood AS g, 'x'::char(3) AS h, '1 day 2 hours'::interval AS i
    """)
    ((row, count),) = materialize.simulator.contents("t").items()
    assert row == (
        "t",
        "2024-01-02 01:04:05.6+00",
        "NaN",
        '{"x": [1]}',
        '{"a,b",NULL}',
        "\\xff",
        "ok",
        "x  ",
        "1 day 02:00:00",
    )
    assert count == 1
    oids = [column.oid for column in materialize.simulator.relation("t").columns]
    assert oids == [16, 1184, 701, 3802, 1009, 17, 25, 1042, 1186]


def test_relations_come_and_go_and_change(materialize: MaterializeDatabase) -> None:
    simulator = materialize.simulator
    materialize.execute("CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'x'), (1, 'x')")
    assert simulator.contents("t") == Counter({("1", "x"): 2})
    first = simulator.relation("t").id
    materialize.execute("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD w bigint")
    assert [column.name for column in simulator.relation("t").columns] == ["id", "w"]
    second = simulator.relation("t").id
    materialize.execute("DROP TABLE t; CREATE TABLE t (id int, w bigint)")
    assert len({first, second, simulator.relation("t").id}) == 3
    materialize.execute("DROP TABLE t")
    assert not simulator.relations()


def test_a_view_that_fails_is_poisoned(materialize: MaterializeDatabase) -> None:
    materialize.execute(
        "CREATE TABLE t (id int); CREATE VIEW v AS SELECT 1 / id AS x FROM t; INSERT INTO t VALUES (1); CREATE TABLE later AS SELECT 1 AS n"
    )
    simulator = materialize.simulator
    assert simulator.contents("v") == Counter([("1",)])
    materialize.execute("INSERT INTO t VALUES (0); UPDATE later SET n = 2")
    assert simulator.contents("later") == Counter([("2",)])  # the others go on
    assert simulator.relation("v").poison == "division by zero"
    assert len(simulator.contents("t")) == 2
    materialize.execute("DELETE FROM t")
    assert simulator.relation("v").poison is None
    assert not simulator.contents("v")


async def test_transactions_commit_or_leave_no_trace(materialize: MaterializeDatabase) -> None:
    simulator = materialize.simulator
    await materialize.run(TABLES)
    inserts = ["INSERT INTO accounts VALUES (1, 'a', 1)", "INSERT INTO accounts VALUES (2, 'a', 1)"]
    await materialize.transaction(inserts, commit=False)
    assert not simulator.contents("accounts")
    before = simulator.frontier
    await materialize.transaction(inserts)
    ((_, changes),) = simulator.relation("accounts").between(before, simulator.frontier)
    assert len(changes) == 2
    await materialize.until("SELECT count(*) FROM accounts", [(2,)])
    connection = materialize.connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM accounts WHERE id = 1")
    connection.close()
    await materialize.capture()
    assert len(simulator.contents("accounts")) == 1


async def test_only_the_loops_thread_may_commit(materialize: MaterializeDatabase) -> None:
    with pytest.raises(RuntimeError, match="run or transaction"):
        await asyncio.to_thread(materialize.execute, "SELECT 1")


async def test_captures_that_overtake_each_other(materialize: MaterializeDatabase) -> None:
    await materialize.run("CREATE TABLE t (id int)")
    await asyncio.gather(*(materialize.run("INSERT INTO t VALUES (%s)", (number,)) for number in range(20)))
    assert materialize.simulator.contents("t") == Counter((str(number),) for number in range(20))
    older, newer = materialize._read(), materialize._read()
    materialize.database.execute("INSERT INTO t VALUES (20)")
    newest = materialize._read()
    for snapshot in (newest, older, newer):
        materialize._apply(snapshot)
    assert len(materialize.simulator.contents("t")) == 21


writes = st.lists(
    st.sampled_from([
        "INSERT INTO t VALUES (1, 'x')", "INSERT INTO t VALUES (2, NULL)", "UPDATE t SET v = 'y' WHERE id = 1", "DELETE FROM t WHERE id = 2",
        "TRUNCATE t", "UPDATE t SET id = 3 - id",
    ]),
    max_size=6,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(st.tuples(writes, st.booleans()), max_size=5))
def test_a_subscriber_sums_up_to_what_postgresql_holds(
    history: list[tuple[list[str], bool]], materialize: MaterializeDatabase, io_loop: IOLoop
) -> None:
    async def follow() -> None:
        await materialize.run("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v text)")
        async with text_client(materialize.simulator.dsn) as client:
            await client.declare("t")
            await client.rows("FETCH 0 c")
            for statements, commit in history:
                await materialize.transaction(statements, commit=commit)
            told: Counter[tuple[str | None, ...]] = Counter()
            for _, diff, *row in await client.rows("FETCH ALL c WITH (TIMEOUT = '0s')"):
                told[tuple(row)] += int(diff or "")
        assert +told == Counter((str(key), value) for key, value in materialize.database.execute("SELECT * FROM t"))
        assert not -told

    io_loop.run_sync(follow)


async def test_a_process_of_its_own() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.materialize", "--rows", "50", "--changes-per-batch", "10",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None

    async def ask(command: str) -> dict[str, int]:
        process.stdin.write(f"{command}\n".encode())
        return json.loads(await process.stdout.readline())

    try:
        port = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["port"]
        async with text_client(f"host=127.0.0.1 port={port} user=u dbname=materialize") as client:
            await client.declare("trades ENVELOPE UPSERT (KEY (id)) WITH (PROGRESS)")
            rows = await client.rows("FETCH 51 c")
            assert [row[2] for row in rows] == [None] + ["upsert"] * 50
            assert sum(len(value or "") for value in rows[-1][3:]) in range(60, 90)
            prepared = await ask("prepare 25")
            going = asyncio.create_task(client.rows("FETCH 1000 c WITH (TIMEOUT = '1h')"))
            await ask("cpu")
            assert not going.done()
            await ask("go")
            process.stdin.write(b"stream 1000\n")
            found = await going
            changes = [row for row in found if row[1] == "f"]
            assert Counter(row[0] for row in changes[:25]).most_common() == [(row[0], n) for row, n in ((changes[0], 10), (changes[10], 10), (changes[20], 5))]  # fmt: skip
            assert int(changes[24][0] or "") == prepared["timestamp"]
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
