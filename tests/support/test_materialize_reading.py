"""FETCH and COPY of the simulated Materialize: what waits for what, and which statement an error comes with."""

from __future__ import annotations

import asyncio
import io
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.materialize import simulating
from tests.support.materialize.clients import report, text_client, wire_client
from tests.support.materialize.formats import copy_field
from tests.support.materialize.syntax import interval_seconds
from tests.support.postgres import Database
from tycostream.databases.connection import ConnectionParameters, opened

ONE, TWO, THREE = ("1",), ("2",), ("3",)


async def test_fetch_without_timeout_waits_for_a_row_and_takes_what_is_ready() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t")
        (session,) = simulator.sessions
        fetching = asyncio.create_task(client.rows("FETCH 10 c"))
        await simulator.until(lambda: session.waiting)
        simulator.insert("t", ONE, TWO)
        assert [row[2] for row in await fetching] == ["1", "2"]
        assert client.cursor.statusmessage == "FETCH 2"
        assert client.raw.info.transaction_status == 2  # in a transaction


@pytest.mark.parametrize(
    ("fetch", "expected"),
    [("FETCH c", 1), ("FETCH FROM c", 1), ("FETCH 2 c", 2), ("FETCH FORWARD 2 FROM c", 2), ("FETCH ALL c", 3),
     ("FETCH FORWARD ALL FROM c", 3), ("FETCH 0 c", 0), ("FETCH 9 c WITH (TIMEOUT '0s')", 3)],
)  # fmt: skip
async def test_fetch_counts(fetch: str, expected: int) -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        simulator.insert("t", ONE, TWO, THREE)
        await client.declare("t")
        assert len(await client.rows(fetch)) == expected
        assert [column.name for column in client.cursor.description] == ["mz_timestamp", "mz_diff", "id"]
        assert len(await client.rows("FETCH ALL c WITH (TIMEOUT = '0s')")) == 3 - expected  # what was not taken stays


async def test_the_timestamp_is_chosen_by_the_first_fetch() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t WITH (SNAPSHOT = false)")
        simulator.insert("t", ONE)
        assert simulator.active_subscribes() == 0
        await client.rows("FETCH 0 c")
        assert simulator.active_subscribes("t") == 1
        simulator.insert("t", TWO)
        assert [row[2] for row in await client.rows("FETCH ALL c")] == ["2"]


async def test_fetch_with_timeout_returns_when_the_count_or_the_time_is_reached() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        simulator.insert("t", ONE)
        loop = asyncio.get_running_loop()
        await client.declare("t")
        began = loop.time()
        assert len(await client.rows("FETCH ALL c WITH (TIMEOUT = '200ms')")) == 1  # ALL is never reached
        assert loop.time() - began >= 0.2
        assert await client.rows("FETCH 5 c WITH (TIMEOUT = '10ms')") == []
        fetching = asyncio.create_task(client.rows("FETCH 2 c WITH (TIMEOUT = '1h')"))
        await simulator.until(lambda: simulator.sessions[0].waiting)
        simulator.insert("t", TWO)
        await simulator.until(lambda: simulator.sessions[0].waiting)
        assert not fetching.done()
        simulator.insert("t", THREE)
        assert [row[2] for row in await fetching] == ["2", "3"]
        ending = asyncio.create_task(client.error("FETCH 2 c WITH (TIMEOUT = '1h')"))
        await simulator.until(lambda: simulator.sessions[0].waiting)
        simulator.drop("t")
        assert (await ending)[0] == "42704"


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("1s", 1), ("0s", 0), ("250ms", 0.25), ("1.5 seconds", 1.5), ("2", 2), ("00:01:01.5", 61.5), ("1 day", 86400)],
)
def test_intervals(words: str, seconds: float) -> None:
    assert interval_seconds(words) == pytest.approx(seconds)


async def test_an_empty_answer_at_once_proves_nothing() -> None:
    async with (
        simulating(tick_seconds=None, zero_timeout_luck=Random(1)) as simulator,
        text_client(simulator.dsn) as client,
    ):
        simulator.create("t", {"id": "integer"})
        simulator.insert("t", *[(str(number),) for number in range(20)])
        await client.declare("t")
        counts = {len(await client.rows("FETCH 1 c WITH (TIMEOUT = '0s')")) for _ in range(20)}
        assert counts == {0, 1}


async def test_a_fetch_that_waits_returns_nothing_only_at_the_end() -> None:
    now = 1_000
    async with simulating(tick_seconds=None, clock=lambda: now) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t UP TO 2000")
        fetching = asyncio.create_task(client.rows("FETCH ALL c"))
        await simulator.until(lambda: simulator.sessions[0].waiting)
        now = 1_999
        simulator.tick()
        await asyncio.sleep(0)
        assert simulator.sessions[0].waiting
        now = 2_000
        simulator.tick()
        assert await fetching == []
        assert await client.rows("FETCH ALL c") == []


async def test_cursors_live_in_a_transaction() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        client.raw.autocommit = True
        await client.declare("t")  # no error, but the cursor is gone at once
        assert await client.error("FETCH c") == ("34000", 'cursor "c" does not exist')
        assert await client.error("DECLARE c CURSOR FOR SUBSCRIBE t; CLOSE c; FETCH c") == ("34000", 'cursor "c" does not exist')  # fmt: skip
        await client.rows("BEGIN")
        await client.declare("t")
        assert (await client.error("DECLARE c CURSOR FOR SUBSCRIBE t"))[0] == "42P03"
        await client.rows("ROLLBACK")
        await client.rows("BEGIN")
        await client.declare("t")
        await client.rows("FETCH 0 c")
        assert simulator.active_subscribes() == 1
        await client.rows("CLOSE c")
        assert simulator.active_subscribes() == 0
        assert (await client.error("FETCH c"))[0] == "34000"
        await client.rows("COMMIT")
        assert (await client.error("FETCH c"))[0] == "34000"


async def test_after_an_error_the_transaction_is_aborted() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t AS OF 1")
        assert (await client.error("FETCH c"))[0] == "22000"
        assert client.raw.info.transaction_status == 3  # in a failed transaction
        for statement in ("FETCH c", "SELECT 1", "DECLARE d CURSOR FOR SUBSCRIBE t"):
            assert await client.error(statement) == (
                "25P02", "current transaction is aborted, commands ignored until end of transaction block",
            )  # fmt: skip
        await client.rows("COMMIT")
        assert client.cursor.statusmessage == "ROLLBACK"
        assert await client.rows("SELECT 1") == [("1",)]


@pytest.mark.parametrize("second", ["SELECT 1", "FETCH d", "SHOW COLUMNS FROM t", "COPY (SUBSCRIBE t) TO STDOUT"])
async def test_a_subscribe_is_the_only_read_of_its_transaction(second: str) -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t")
        await client.declare("t", "d")
        await client.rows("FETCH 0 c")
        await client.rows("SHOW cluster")  # not a read
        error = ("25000", "SUBSCRIBE in transactions must be the only read statement")
        assert await client.error(second) == error
        await client.call(client.raw.rollback)
        await client.rows("SELECT 1")
        await client.declare("t")
        assert await client.error("FETCH 0 c") == error


async def test_cluster_is_set_before_the_transaction() -> None:
    async with simulating() as simulator, text_client(simulator.dsn) as client:
        assert "cannot be called in an active transaction" in (await client.error("SET cluster = 'c'"))[1]
        await client.call(client.raw.rollback)
        client.raw.autocommit = True
        await client.rows("SET cluster = 'c'")
        assert await client.rows("SHOW cluster") == [("c",)]


async def test_copy_on_the_wire() -> None:
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("t", {"id": "integer", "v": "text"})
        time = simulator.insert("t", ("1", None))
        client.query("COPY (SUBSCRIBE t WITH (PROGRESS)) TO STDOUT")
        assert await client.message() == ("H", b"\0" + (5).to_bytes(2, "big") + b"\0\0" * 5)
        expected = [f"{time}\tt\t\\N\t\\N\t\\N\n", f"{time}\tf\t1\t1\t\\N\n", f"{time + 1}\tt\t\\N\t\\N\t\\N\n"]
        for line in expected:
            assert await client.message() == ("d", line.encode())
        simulator.drop("t")
        kind, body = await client.message()
        assert (kind, report(body)["C"]) == ("E", "42704")
        assert report(body)["M"] == "relation 'materialize.public.t' was dropped"
        assert await client.message() == ("Z", b"I")  # no CopyDone


async def test_copy_ends_and_counts_its_rows() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        simulator.insert("t", ONE, TWO)
        lines: list[bytes] = []
        assert await client.copy(f"t WITH (PROGRESS) UP TO {simulator.frontier}", lines.append) == 3
        assert [line.split(b"\t")[-1] for line in lines] == [b"\\N\n", b"1\n", b"2\n"]
        await client.call(client.raw.rollback)
        assert await client.rows("SELECT 1") == [("1",)]


async def test_asynchronous_psycopg2_on_the_simulators_own_loop() -> None:
    """Whatever the size of the pieces that answers come in."""
    async with simulating(tick_seconds=None, chunk_bytes=3) as simulator:
        simulator.create("t", {"v": "text"})
        simulator.insert("t", ("Füße",))
        parameters = ConnectionParameters("127.0.0.1", simulator.port, "u", "", "materialize")
        async with opened(parameters) as connection:
            assert simulator.sessions[0].options["timezone"] == "UTC"
            await connection.execute("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE t WITH (PROGRESS)")
            rows = await connection.execute("FETCH ALL c")
            assert [row[1:] for row in rows] == [("t", None, None), ("f", "1", "Füße"), ("t", None, None)]
            fetching = asyncio.ensure_future(connection.execute("FETCH ALL c"))
            await simulator.until(lambda: simulator.sessions[0].waiting)
            simulator.insert("t", ("x",))
            assert (await fetching)[0][2:] == ("1", "x")


async def test_large_copy_to_a_slow_client() -> None:
    """More than fits into any buffer: the server waits for the client, and nothing is lost."""
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("t", {"id": "integer", "v": "text"})
        simulator.insert("t", *[(str(number), "v" * 1000) for number in range(20_000)])
        client.query(f"COPY (SUBSCRIBE t UP TO {simulator.frontier}) TO STDOUT")
        await simulator.until(lambda: simulator.sessions[0].waiting)  # the client reads nothing yet
        assert simulator.sessions[0].connection.sent_bytes < 20_000_000
        assert (await client.message())[0] == "H"
        found = [int((await client.message())[1].split(b"\t")[2]) for _ in range(20_000)]
        assert found == list(range(20_000))
        assert (await client.message())[0] == "c"


@pytest.mark.parametrize(
    ("value", "line"),
    [(None, b"\\N"), ("", b""), ("\\N", b"\\\\N"), ("a\tb\nc\rd\\e", b"a\\tb\\nc\\rd\\\\e"), ("\b\f\v", b"\b\f\v"), (" é ", " é ".encode()),
     ("\\xff", b"\\\\xff"), ("NaN", b"NaN")],
)  # fmt: skip
def test_copy_escapes(value: str | None, line: bytes) -> None:
    """Backslash, newline, carriage return and tab, and nothing else (src/pgcopy/src/copy.rs)."""
    assert copy_field(None if value is None else value.encode()) == line


rows = st.lists(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))), min_size=2, max_size=2), max_size=5)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=rows)
def test_postgresql_reads_copy_lines_back(wanted: list[list[str | None]], postgres: Database) -> None:
    lines = b"".join(
        b"\t".join(copy_field(None if one is None else one.encode()) for one in row) + b"\n" for row in wanted
    )
    postgres.execute("DROP TABLE IF EXISTS copied; CREATE TABLE copied (n serial, a text, b text)")
    with postgres._connection.cursor() as cursor:
        cursor.copy_expert("COPY copied (a, b) FROM STDIN", io.BytesIO(lines))
    assert postgres.execute("SELECT a, b FROM copied ORDER BY n") == [tuple(row) for row in wanted]
