"""The simulated Materialize as a server of PostgreSQL's protocol: startup, sessions, transactions, cancelling."""

from __future__ import annotations

import asyncio
import struct
import sys

import psycopg2
import pytest

from tests.support.materialize import Simulator, simulating
from tests.support.materialize.clients import cancel_request, fields, report, text_client, wire_client
from tests.support.materialize.wire import command_line_options
from tests.support.postgres import Database


async def test_startup_declines_encryption_and_reports_settings() -> None:
    async with simulating() as simulator, wire_client(simulator.port, start=False) as client:
        for request in (80877103, 80877104):  # SSL, GSSAPI
            client.send(b"", struct.pack(">i", request))
            assert await client.read(1) == b"N"
        kinds = await client.start(options=r"--cluster=fast -c a_b=x\ y -cc=1", application_name="app")
        assert (kinds[0], kinds[-2:]) == ("R", ["K", "Z"])
        assert client.parameters["client_encoding"] == "UTF8"
        assert client.parameters["DateStyle"] == "ISO, MDY"
        assert client.parameters["standard_conforming_strings"] == "on"
        assert client.parameters["application_name"] == "app"
        assert client.parameters["mz_version"] == simulator.behaviour.version
        (session,) = simulator.sessions
        assert session.options == {"cluster": "fast", "a_b": "x y", "c": "1"}
        assert session.parameters["application_name"] == "app"
        answer = await client.answer("SHOW cluster")
        assert [kind for kind, _ in answer] == ["T", "D", "C", "Z"]
        assert fields(answer[1][1]) == ["fast"]


def test_options_without_a_value_say_nothing() -> None:
    assert command_line_options("-c cluster=q --b-c=2 -e ") == {"cluster": "q", "b_c": "2"}


async def test_a_newer_minor_version_is_negotiated_and_another_major_one_refused() -> None:
    async with simulating() as simulator:
        async with wire_client(simulator.port, start=False) as newer:
            newer.send(b"", struct.pack(">i", 196610) + b"user\0u\0\0")
            assert await newer.message() == ("v", struct.pack(">ii", 196608, 0))
            assert (await newer.message())[0] == "R"
        async with wire_client(simulator.port, start=False) as older:
            older.send(b"", struct.pack(">i", 2 << 16) + b"user\0u\0\0")
            kind, body = await older.message()
            assert (kind, report(body)["C"]) == ("E", "08004")
            assert await older.ended()


async def test_password() -> None:
    async with simulating(password="secret word") as simulator:
        assert simulator.environ["DATABASE_PASSWORD"] == "secret word"
        for password in ("wrong", ""):
            async with wire_client(simulator.port, start=False) as client:
                client.send(b"", struct.pack(">i", 196608) + b"user\0u\0\0")
                assert await client.message() == ("R", struct.pack(">i", 3))
                client.send(b"p", password.encode() + b"\0")
                kind, body = await client.message()
                assert (kind, report(body)["S"], report(body)["C"]) == ("E", "FATAL", "28P01")
                assert await client.ended()
        good = f"host=127.0.0.1 port={simulator.port} user=u"
        async with text_client(good, password="secret word") as client:
            assert await client.rows("SELECT 1") == [("1",)]


async def test_what_can_be_asked() -> None:
    async with simulating(tick_seconds=None, clock=lambda: 5000) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer not null", "at": "timestamptz", "tags": "text[]", "mood": "mood"})
        assert await client.rows("SELECT mz_version()") == [(simulator.behaviour.version,)]
        assert await client.rows("SHOW mz_version") == [(simulator.behaviour.version,)]
        assert await client.rows("SELECT mz_now()") == [(str(simulator.frontier - 1),)]
        assert await client.rows('SHOW COLUMNS FROM "materialize".public.t') == [
            ("id", "f", "integer", ""), ("at", "t", "timestamp with time zone", ""), ("tags", "t", "text[]", ""), ("mood", "t", "text", ""),
        ]  # fmt: skip
        await client.rows("SET application_name TO 'x y'; SET extra_float_digits = 1")
        assert await client.rows("SHOW application_name") == [("x y",)]
        await client.rows("RESET application_name")
        assert await client.rows("SHOW application_name") == [("",)]


@pytest.mark.parametrize(
    ("statement", "sqlstate", "words"),
    [
        ("SELECT * FROM t", "42601", "Expected (, found FROM"),
        ("INSERT INTO t VALUES (1)", "42601", "found INSERT"),
        ("SUBSCRIBE", "42601", "found end of statement"),
        ("SELECT 'open", "42601", "unterminated"),
        ("FETCH 1 c WITH (TIMEOUT = '86401s')", "XX000", "timeout out of range: 86401.0s"),
        ("FETCH 1 c WITH (TIMEOUT = 'soon')", "22007", "soon"),
        ("DECLARE c CURSOR WITH HOLD FOR SUBSCRIBE t", "0A000", "WITH HOLD"),
        ("SUBSCRIBE t WITH (SNAPSHOTS)", "42601", "found SNAPSHOTS"),
        ("SUBSCRIBE t ENVELOPE DEBEZIUM (KEY (id))", "0A000", "not available"),
        ("SUBSCRIBE t AS OF 'yesterday'", "42601", "Expected a timestamp"),
        ("SUBSCRIBE t UP TO 9 AS OF 5", "42601", "found AS"),
        ("SHOW nothing", "42704", "nothing"),
        ("SHOW COLUMNS FROM nothing", "XX000", "unknown catalog item 'nothing'"),
        ("SELECT pi()", "42883", "pi"),
    ],
)
async def test_everything_else_is_an_error(statement: str, sqlstate: str, words: str) -> None:
    async with simulating() as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        found, text = await client.error(statement)
        assert found == sqlstate
        assert words in text


async def test_statements_in_one_query_run_up_to_the_first_error() -> None:
    async with simulating() as simulator, wire_client(simulator.port) as client:
        answer = await client.answer("SELECT 1; SHOW cluster; FETCH x; SELECT 1")
        assert [kind for kind, _ in answer] == ["T", "D", "C", "T", "D", "C", "E", "Z"]
        assert answer[-1] == ("Z", b"I")
        assert await client.answer(" ; ") == [("I", b""), ("Z", b"I")]


async def test_transactions_answer_as_postgresql_does(postgres: Database) -> None:
    """Statuses, SQLSTATEs, texts and tags are compared with the real thing, statement by statement."""
    story = [
        "BEGIN", "BEGIN", "SELECT 1", "FETCH nothing", "SELECT 1", "COMMIT", "COMMIT", "BEGIN WORK", "ROLLBACK", "ROLLBACK",
        "BEGIN; SELECT 1", "CLOSE nothing", "END", "SHOW nothing",
    ]  # fmt: skip

    async def live(client_dsn: str) -> list[tuple[object, ...]]:
        told: list[tuple[object, ...]] = []
        async with text_client(client_dsn) as client:
            client.raw.autocommit = True
            for statement in story:
                state: object = None
                try:
                    await client.rows(statement)
                except psycopg2.Error as error:
                    state = (error.pgcode, error.diag.message_primary)
                notices = [notice.split(":")[0] for notice in client.raw.notices]
                client.raw.notices.clear()
                told.append(
                    (statement, state, client.raw.info.transaction_status, notices, client.cursor.statusmessage)
                )
        return told

    async with simulating() as simulator:
        assert await live(simulator.dsn) == await live(postgres.dsn)


async def test_other_protocols_messages_are_refused_and_the_session_goes_on() -> None:
    async with simulating() as simulator, wire_client(simulator.port) as client:
        client.send(b"P", b"\0SELECT 1\0\0\0")
        client.send(b"S", b"")
        kind, body = await client.message()
        assert (kind, report(body)["C"]) == ("E", "0A000")
        assert await client.message() == ("Z", b"I")
        assert (await client.answer("SELECT 1"))[-1] == ("Z", b"I")


async def test_a_cancel_request_ends_a_fetch_and_the_session_stays() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t")
        (session,) = simulator.sessions
        fetching = asyncio.create_task(client.error("FETCH ALL c"))
        await simulator.until(lambda: session.waiting)
        await cancel_request(simulator.port, session.pid, session.secret)
        assert await fetching == ("57014", "canceling statement due to user request")
        assert simulator.active_subscribes() == 0
        assert (await client.error("FETCH ALL c"))[0] == "25P02"
        await client.call(client.raw.rollback)
        await cancel_request(simulator.port, session.pid, session.secret)  # there is nothing to cancel
        assert await client.rows("SELECT 1") == [("1",)]


CANCELLING = """
import sys, threading, psycopg2
connection = psycopg2.connect(sys.argv[1])
cursor = connection.cursor()
class File:
    def write(self, line):
        threading.Thread(target=connection.cancel).start()
try:
    cursor.copy_expert("COPY (SUBSCRIBE t WITH (PROGRESS)) TO STDOUT", File())
except psycopg2.errors.QueryCanceled:
    connection.rollback()
    cursor.execute("SELECT 1")
    print("canceled, and usable:", cursor.fetchall())
"""


async def test_psycopg2_cancels_from_a_process_of_its_own() -> None:
    """In this process it can't: see the package's docstring."""
    async with simulating(tick_seconds=None) as simulator:
        simulator.create("t", {"id": "integer"})
        with simulator.hold_progress():
            client = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CANCELLING, simulator.dsn, stdout=asyncio.subprocess.PIPE
            )
            told, _ = await asyncio.wait_for(client.communicate(), 20)
        assert told.decode().strip() == "canceled, and usable: [(1,)]"


async def test_only_the_right_secret_cancels() -> None:
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("t", {"id": "integer"})
        pid, secret = client.key
        client.query("COPY (SUBSCRIBE t) TO STDOUT")
        await simulator.until(lambda: simulator.sessions[0].waiting)
        for key in [(pid, secret ^ 1), (pid + 1, secret), (pid, secret)]:
            await cancel_request(simulator.port, *key)
            assert simulator.sessions[0].waiting is (key != (pid, secret))
        assert [(await client.message())[0] for _ in range(3)] == ["H", "E", "Z"]


async def test_pg_cancel_backend() -> None:
    async with simulating() as simulator, wire_client(simulator.port) as client, text_client(simulator.dsn) as other:
        simulator.create("t", {"id": "integer"})
        client.query("COPY (SUBSCRIBE t) TO STDOUT")
        await simulator.until(lambda: simulator.sessions[0].waiting)
        assert await other.rows(f"SELECT pg_cancel_backend({client.key[0]})") == [("t",)]
        assert (await client.message())[0] == "H"
        kind, body = await client.message()
        assert (kind, report(body)["C"]) == ("E", "57014")
        assert await other.rows("SELECT pg_cancel_backend(1)") == [("f",)]


async def test_idle_in_transaction() -> None:
    async with (
        simulating(idle_in_transaction_session_timeout=0.05) as simulator,
        wire_client(simulator.port) as client,
        wire_client(simulator.port) as patient,
    ):
        await patient.answer("SET idle_in_transaction_session_timeout = 0")
        await patient.answer("BEGIN")
        await client.answer("BEGIN")
        kind, body = await client.message()
        assert (kind, report(body)["S"], report(body)["C"]) == ("E", "FATAL", "25P03")
        assert report(body)["M"] == "terminating connection due to idle-in-transaction timeout"
        assert await client.ended()
        assert (await patient.answer("SELECT 1"))[-1] == ("Z", b"T")
        await patient.answer("SET idle_in_transaction_session_timeout = '10ms'")
        assert (await patient.message())[0] == "E"


async def test_a_long_fetch_is_not_idle() -> None:
    async with (
        simulating(idle_in_transaction_session_timeout=0.05, tick_seconds=None) as simulator,
        wire_client(simulator.port) as client,
    ):
        simulator.create("t", {"id": "integer"})
        client.query("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE t; FETCH c WITH (TIMEOUT = '0.2s')")
        kinds = [(await client.message())[0] for _ in range(5)]
        assert kinds == ["C", "C", "T", "C", "Z"]


async def test_a_client_that_leaves_ends_its_subscribe() -> None:
    async with simulating(tick_seconds=None) as simulator:
        simulator.create("t", {"id": "integer"})
        async with wire_client(simulator.port) as client:
            client.query("COPY (SUBSCRIBE t) TO STDOUT")
            await simulator.until(lambda: simulator.active_subscribes("t") == 1)
        await simulator.until(lambda: not simulator.sessions)
        assert simulator.active_subscribes() == 0
        assert simulator.subscribes_started["t"] == 1
        (session,) = simulator.all_sessions
        assert session.closed
        assert session.statements == ["COPY (SUBSCRIBE t) TO STDOUT"]


async def test_until_has_a_limit() -> None:
    async with simulating(tick_seconds=None) as simulator:
        with pytest.raises(TimeoutError):
            await simulator.until(lambda: False, 0.01)


async def test_stopping_ends_everything() -> None:
    simulator = await Simulator.start()
    async with wire_client(simulator.port) as client:
        await simulator.stop()
        assert await client.ended()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", simulator.port)


async def test_the_simulators_own_mistakes_are_not_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = await Simulator.start()
    async with wire_client(simulator.port) as client:
        monkeypatch.setattr(simulator.sessions[0], "_may_run", None)
        client.query("SELECT 1")
        assert await client.ended()
        await simulator.until(lambda: not simulator.sessions)
    with pytest.raises(TypeError):
        await simulator.stop()
