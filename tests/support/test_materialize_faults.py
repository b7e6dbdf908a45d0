"""Everything that can go wrong with the simulated Materialize, on command."""

from __future__ import annotations

import asyncio

import psycopg2
import pytest

from tests.support.materialize import simulating
from tests.support.materialize.clients import fields, report, text_client, wire_client


@pytest.mark.parametrize("reset", [True, False])
async def test_connections_are_dropped(reset: bool) -> None:
    async with (
        simulating(tick_seconds=None) as simulator,
        text_client(simulator.dsn) as client,
        text_client(simulator.dsn) as idle,
    ):
        simulator.create("t", {"id": "integer"})
        await client.declare("t")
        fetching = asyncio.create_task(client.error("FETCH c"))
        await simulator.until(lambda: simulator.sessions[0].waiting)
        assert simulator.drop_connections(subscribing=True, reset=reset) == 1
        assert (await fetching)[0] is None
        assert client.raw.closed == 2
        assert await idle.rows("SELECT 1") == [("1",)]
        assert simulator.drop_connections(reset=reset) == 1
        await simulator.until(lambda: not simulator.sessions)
        with pytest.raises(psycopg2.OperationalError):
            await idle.rows("SELECT 1")
        assert simulator.active_subscribes() == 0


async def test_a_connection_is_cut_in_the_middle_of_a_message() -> None:
    async with simulating(tick_seconds=None) as simulator:
        simulator.create("t", {"id": "integer"})
        async with wire_client(simulator.port) as client:
            simulator.cut_after(20)
            client.query("SELECT 1")
            whole = await client.read(20)
            assert whole[:1] == b"T"
            assert await client.ended()
        simulator.cut_after(5, new=True)
        with pytest.raises(psycopg2.OperationalError):
            async with text_client(simulator.dsn):
                pass
        simulator.cut_after(None, new=True)
        async with text_client(simulator.dsn) as client:
            assert await client.rows("SELECT 1") == [("1",)]


async def test_a_stalled_server_says_nothing_until_it_resumes() -> None:
    async with (
        simulating(tick_seconds=None) as simulator,
        wire_client(simulator.port) as client,
        wire_client(simulator.port) as other,
    ):
        simulator.create("t", {"id": "integer"})
        client.query("COPY (SUBSCRIBE t WITH (PROGRESS)) TO STDOUT")
        assert [(await client.message())[0] for _ in range(3)] == ["H", "d", "d"]
        simulator.stall()
        sent = [session.connection.sent_bytes for session in simulator.sessions]
        time = simulator.insert("t", ("1",))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(message := asyncio.ensure_future(client.message())), 0.05)
        connecting = asyncio.create_task(connect_and_ask(simulator.dsn))
        await simulator.until(lambda: len(simulator.sessions) == 3)
        asking = asyncio.ensure_future(other.answer("SELECT 1"))
        await simulator.until(lambda: simulator.sessions[1].statements and simulator.sessions[1].status == "I")
        assert [session.connection.sent_bytes for session in simulator.sessions] == [*sent, 0]
        assert not connecting.done()
        simulator.resume()
        assert (await message)[1].startswith(f"{time}\tf".encode())
        assert [kind for kind, _ in await asking] == ["T", "D", "C", "Z"]
        assert await connecting == [("1",)]


async def connect_and_ask(dsn: str) -> list[tuple[str | None, ...]]:
    async with text_client(dsn) as client:
        return await client.rows("SELECT 1")


async def test_statements_fail_on_command() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        simulator.fail_next("DECLARE", "42501", "permission denied", times=2)
        for _ in range(2):
            assert await client.error("DECLARE c CURSOR FOR SUBSCRIBE t") == ("42501", "permission denied")
            await client.call(client.raw.rollback)
        await client.declare("t")
        simulator.fail_next("fetch", "57P01", "terminating connection", "FATAL")
        assert (await client.error("FETCH c"))[0] is None  # so does psycopg2 tell it with PostgreSQL, too
        assert client.raw.closed == 2
        async with wire_client(simulator.port) as wire:
            simulator.fail_next("SELECT", "57P01", "terminating connection", "FATAL")
            wire.query("SELECT 1")
            kind, body = await wire.message()
            assert (kind, report(body)["S"], report(body)["C"]) == ("E", "FATAL", "57P01")
            assert await wire.ended()
        simulator.fail_next("CONNECT", "53300", "too many connections")
        with pytest.raises(psycopg2.OperationalError, match=r"FATAL: +too many connections"):
            async with text_client(simulator.dsn):
                pass
        async with text_client(simulator.dsn) as other:
            simulator.fail_next("SHOW COLUMNS", "XX000", "no")
            assert await other.error("SHOW COLUMNS FROM t") == ("XX000", "no")


async def test_a_poisoned_relation_fails_until_it_is_healed() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t WITH (PROGRESS)")
        await client.rows("FETCH ALL c")
        time = simulator.insert("t", ("1",))
        simulator.poison("t", "division by zero")
        rows = await client.rows("FETCH ALL c")  # what was ready before
        assert rows[0] == (str(time), "f", "1", "1")
        assert await client.error("FETCH ALL c") == ("XX000", "division by zero")
        for _ in range(2):
            await client.call(client.raw.rollback)
            await client.declare("t WITH (PROGRESS)")
            assert [row[1] for row in await client.rows("FETCH ALL c")] == ["t"]
            assert await client.error("FETCH ALL c") == ("XX000", "division by zero")
        simulator.heal("t")
        await client.call(client.raw.rollback)
        await client.declare("t")
        assert len(await client.rows("FETCH ALL c")) == 1


@pytest.mark.parametrize(
    ("drop_text", "sqlstate", "words"),
    [
        ("current", "42704", "relation 'materialize.public.t' was dropped"),
        ("earlier", "XX000", 'query could not complete because relation "materialize.public.t" was dropped'),
        ("earliest", "XX000", "subscribe has been terminated because underlying relation"),
    ],
)
async def test_a_dropped_relation(drop_text: str, sqlstate: str, words: str) -> None:
    async with simulating(tick_seconds=None, drop_text=drop_text) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t")
        await client.rows("FETCH 0 c")
        simulator.drop("t")
        found, text = await client.error("FETCH c")
        assert (found, words in text) == (sqlstate, True)
        await client.call(client.raw.rollback)
        assert (await client.error("DECLARE c CURSOR FOR SUBSCRIBE t"))[1] == "unknown catalog item 't'"


async def test_columns_change_between_two_subscribes() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        for columns in ({"id": "integer"}, {"v": "text", "id": "integer"}, {"id": "bigint", "v": "text"}):
            simulator.create("t", columns)
            await client.declare("t")
            await client.rows("FETCH 0 c")
            assert [column.name for column in client.cursor.description[2:]] == list(columns)
            await client.call(client.raw.rollback)
            simulator.drop("t")


async def test_cancel_all() -> None:
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("t", {"id": "integer"})
        client.query("COPY (SUBSCRIBE t WITH (PROGRESS)) TO STDOUT")
        assert [(await client.message())[0] for _ in range(3)] == ["H", "d", "d"]
        await simulator.until(lambda: simulator.sessions[0].waiting)
        assert simulator.cancel_all() == 1
        kind, body = await client.message()
        assert (kind, report(body)["C"]) == ("E", "57014")
        assert await client.message() == ("Z", b"I")
        assert simulator.cancel_all() == 0


async def test_connections_are_refused_and_accepted_again_on_the_same_port() -> None:
    async with simulating() as simulator, text_client(simulator.dsn) as client:
        port = simulator.port
        for _ in range(2):
            simulator.refuse_connections()
            simulator.refuse_connections()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            assert await client.rows("SELECT 1") == [("1",)]
            await simulator.accept_connections()
            await simulator.accept_connections()
            assert simulator.port == port
            assert await connect_and_ask(simulator.dsn) == [("1",)]


async def test_stopping_while_connections_are_refused() -> None:
    async with simulating() as simulator:
        simulator.refuse_connections()


async def test_bytes_of_ones_own() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"id": "integer"})
        await client.declare("t")
        fetching = asyncio.create_task(client.error("FETCH c"))
        await simulator.until(lambda: simulator.sessions[0].waiting)
        simulator.send_raw(b"!garbage")
        simulator.drop_connections()
        assert (await fetching)[0] is None


@pytest.mark.parametrize("size", [1, 7])
async def test_reads_end_anywhere(size: int) -> None:
    """Answers arrive in pieces, and mean the same."""
    async with simulating(tick_seconds=None, chunk_bytes=size) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"v": "text"})
        simulator.insert("t", ("Füße 🦶",), (None,))
        writes: list[int] = []
        session = simulator.sessions[0].connection
        write = session.transport.write
        session.transport.write = lambda data: (writes.append(len(data)), write(data))[1]  # type: ignore[method-assign]
        await client.declare("t")
        assert [row[2] for row in await client.rows("FETCH ALL c")] == ["Füße 🦶", None]
        assert max(writes) == size
        assert sum(writes) > 100


async def test_rows_with_fields_that_cannot_be() -> None:
    async with simulating(tick_seconds=None) as simulator, wire_client(simulator.port) as client:
        simulator.create("t", {"id": "integer"})
        await client.answer("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE t; FETCH 0 c")
        simulator.emit("t", [b"soon", b"resurrect", None])
        simulator.emit("t", [b"1", b"1", b"\xff\xfe"])
        answer = await client.answer("FETCH ALL c")
        assert fields(answer[1][1]) == ["soon", "resurrect", None]
        assert answer[2][1].endswith(b"\xff\xfe")


async def test_a_step_that_is_too_large() -> None:
    async with simulating(tick_seconds=None, max_result_bytes=2000) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"v": "text"})
        await client.declare("t")
        await client.rows("FETCH 0 c")
        simulator.insert("t", ("small",))
        assert len(await client.rows("FETCH ALL c")) == 1
        simulator.insert("t", ("v" * 3000,))
        error = ("XX000", "total result exceeds max size of 2000 B")
        assert await client.error("FETCH ALL c") == error
        await client.call(client.raw.rollback)
        await client.declare("t")
        assert await client.error("FETCH ALL c") == error


async def test_a_client_that_fell_behind() -> None:
    async with simulating(tick_seconds=None, max_buffered_bytes=10_000) as simulator, text_client(simulator.dsn) as client:  # fmt: skip
        simulator.create("t", {"v": "text"})
        await client.declare("t WITH (PROGRESS)")
        for _ in range(20):  # as long as it reads, it may go on
            assert await client.rows("FETCH ALL c")
            simulator.tick()
        for _ in range(8):  # 1 KiB for each message that waits, however short
            simulator.tick()
        assert len(await client.rows("FETCH 1 c")) == 1
        simulator.tick()
        simulator.tick()
        assert (await client.error("FETCH ALL c"))[0] == "53200"


async def test_any_subscribe_error() -> None:
    async with simulating(tick_seconds=None) as simulator, text_client(simulator.dsn) as client:
        simulator.create("t", {"v": "text"})
        await client.declare("t")
        await client.rows("FETCH 0 c")
        simulator.fail_subscribes("57P03", "cluster is restarting")
        assert await client.error("FETCH ALL c") == ("57P03", "cluster is restarting")
