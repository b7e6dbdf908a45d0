"""The service over Materialize: exact values, whole timestamps, one SUBSCRIBE a source, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.end_to_end.test_process import running
from tests.support.client import ClientSubscription, GraphQLClient, connected
from tests.support.materialize import Simulator, simulating
from tests.support.materialize.session import Session
from tests.support.service import serving
from tycostream.app import Service

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {symbol: String, id: Integer, price: Float}
  notes:
    primary_key: [b, a]
    columns: {text: String, a: String, b: String}
"""
TRADES = "subscription { trades { operation data { id symbol price } fields timestamp } }"
NOTES = "subscription { notes { operation data { a b text } fields timestamp } }"
QUICK = {"RECONNECT_MIN_MS": "1", "RECONNECT_MAX_MS": "20"}


@dataclass
class World:
    """A service over a simulated Materialize, with a client. Columns of a relation are in another order than the file's."""

    simulator: Simulator
    service: Service
    client: GraphQLClient

    async def state(self, wanted: str, reason: str = "", source: str = "trades") -> str:
        """Until the source is in that state for a reason that matches; the reason."""
        async with asyncio.timeout(15):
            while True:
                (found,) = [one for one in self.service.status().sources if one.name == source]
                if found.state == wanted and re.search(reason, found.reason or ""):
                    return found.reason or ""
                await asyncio.sleep(0.002)

    async def reader_pid(self, source: str = "trades") -> int:
        """The process that reads a source, as the debug page has it."""
        found = [one["details"] for one in await self.service.actors("source")]
        (pid,) = [details["reader_pid"] for details in found if details["source"] == source]
        assert isinstance(pid, int)
        return pid

    async def follow(self, query: str = TRADES, key: tuple[str, ...] = ("id",)) -> ClientSubscription:
        return await self.client.subscribe(query, key)


@asynccontextmanager
async def opened(
    reader: str, folder: Path, environ: dict[str, str] | None = None, **behaviour: Any
) -> AsyncIterator[World]:
    async with simulating(**behaviour) as simulator:
        simulator.create("trades", {"id": "integer", "price": "double precision", "symbol": "text", "extra": "text"})
        simulator.create("notes", {"a": "text not null", "text": "text", "b": "text not null"})
        simulator.insert("trades", ("1", "5", "AAPL", "x"), ("2", "1.5", None, None))
        async with (
            serving(
                folder, SCHEMA, simulator.environ | QUICK | {"DATABASE_READER": reader} | (environ or {})
            ) as service,
            connected(service.port) as client,
        ):
            yield World(simulator, service, client)


Open = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(params=["loop", "process"])
def reader(request: pytest.FixtureRequest) -> str:
    """Who reads from the database."""
    found: str = request.param
    return found


@pytest.fixture
def world(reader: str) -> Open:
    return partial(opened, reader)


def subscribe_of(session: Session) -> str:
    """The statement by which it reads."""
    return next(one for one in reversed(session.statements) if "SUBSCRIBE" in one)


def symbols(subscription: ClientSubscription) -> dict[int, str | None]:
    return {key[0]: row["symbol"] for key, row in subscription.rows.items()}


async def test_rows_then_changes_of_whole_timestamps(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        assert trades.rows[1,] == {"id": 1, "symbol": "AAPL", "price": 5}
        time = w.simulator.commit([
            ("trades", ("1", "5", "AAPL", "x"), -1), ("trades", ("1", "6", "AAPL", "x"), 1),
            ("trades", ("3", "7", "NEW", ""), 1), ("trades", ("2", "1.5", None, None), -1),
        ])  # fmt: skip
        await w.client.until(lambda: symbols(trades) == {1: "AAPL", 3: "NEW"})
        last = trades.messages[-3:]
        assert {message["timestamp"] for message in last} == {str(time)}
        told = {message["data"]["id"]: (message["operation"], message["fields"]) for message in last}
        assert told == {
            1: ("UPDATE", ["price"]),
            2: ("DELETE", ["symbol", "id", "price"]),
            3: ("INSERT", ["symbol", "id", "price"]),
        }


async def test_changes_come_when_their_timestamp_is_closed_and_not_before(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path, tick_seconds=None) as w:
        trades = await w.follow()
        notes = await w.follow(NOTES, ("b", "a"))
        await w.simulator.until(lambda: w.simulator.active_subscribes() == 2)
        w.simulator.tick()  # closes the snapshots
        await w.client.until(lambda: len(trades.rows) == 2)
        with w.simulator.hold_progress():
            time = w.simulator.insert("trades", ("3", "7", "NEW", ""))
            (session,) = [one for one in w.simulator.subscribing_sessions if '"trades"' in subscribe_of(one)]
            before = session.connection.sent_bytes
            await w.simulator.until(lambda: session.connection.sent_bytes > before)
            answers: list[Any] = []
            w.client.on_message("now", answers.append)
            await w.client.send({"id": "now", "type": "subscribe", "payload": {"query": "{ trades { id } }"}})
            await w.client.until(lambda: answers)
            assert len(trades.rows) == len(answers[0]["payload"]["data"]["trades"]) == 2, (
                "the timestamp may get more rows"
            )
        await w.client.until(lambda: len(trades.rows) == 3)
        assert trades.messages[-1]["timestamp"] == str(time)
        assert not notes.rows


async def test_one_subscribe_however_many_clients(world: Open, reader: str, tmp_path: Path) -> None:
    async with world(tmp_path, {"DATABASE_CLUSTER": "my cluster"}) as w:
        async with connected(w.service.port) as other:
            followed = [await client.subscribe(TRADES) for client in (w.client, other) for _ in range(5)]
            await w.client.until(lambda: all(len(one.rows) == 2 for one in followed[:5]))
            await other.until(lambda: all(len(one.rows) == 2 for one in followed[5:]))
        assert w.simulator.subscribes_started == {"trades": 1}
        (session,) = w.simulator.subscribing_sessions
        assert session.options == {"idle_in_transaction_session_timeout": "0", "cluster": "my cluster"}
        subscribe = (
            'SUBSCRIBE (SELECT "id", "symbol", "price" FROM "trades")'
            ' ENVELOPE UPSERT (KEY ("id")) WITH (SNAPSHOT, PROGRESS)'
        )
        if reader == "loop":
            assert subscribe_of(session) == f"DECLARE c CURSOR FOR {subscribe}"
            assert {one for one in session.statements if one.startswith("FETCH")} == {"FETCH 1000 c"}
        else:
            assert session.statements == [f"COPY ({subscribe}) TO STDOUT"]


VALUES = [
    "", " ", "   ", "\t", "\n", "\r\n", "\\", "\\N", "\\t", "a\tb\nc\\d", "'", '"', "{}", "NULL", "é", "日本語", "😀👩‍👩‍👧",
    "\u2028", "\x01\x7f", "a\u0300", "x" * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 7, None])
async def test_values_arrive_exactly_wherever_a_network_read_ends(
    world: Open, tmp_path: Path, chunk: int | None
) -> None:
    values = VALUES if chunk is None else [value for value in VALUES if len(value) < 1000]
    rows = [(value, value, str(number)) for number, value in enumerate(values)]
    async with world(tmp_path, chunk_bytes=chunk) as w:
        w.simulator.insert("notes", *rows[::2])
        notes = await w.follow(NOTES, ("b", "a"))
        await w.client.until(lambda: len(notes.rows) == len(rows[::2]))
        w.simulator.insert("notes", *rows[1::2])
        await w.client.until(lambda: len(notes.rows) == len(rows))
        w.simulator.replace("notes", rows[0], (rows[0][0], None, rows[0][2]))
        await w.client.until(lambda: notes.rows["0", ""]["text"] is None)
        for a, text, b in rows[1:]:
            assert notes.rows[b, a] == {"a": a, "b": b, "text": text}


# What goes wrong, and heals


async def test_a_key_that_does_not_tell_rows_apart_is_told_and_heals(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        w.simulator.insert("trades", ("2", "9", "TWIN", None), ("7", "9", "X", None), ("7", "9", "X", None))
        reason = await w.state("FAILED", "several rows have the same key")
        assert "primary_key (id) in the schema file" in reason
        assert symbols(trades) == {1: "AAPL", 2: None}, "what was true is served on"
        w.simulator.delete("trades", ("7", "9", "X", None), ("2", "1.5", None, None))
        await w.client.until(lambda: symbols(trades) == {1: "AAPL", 2: "TWIN", 7: "X"})
        await w.state("LIVE")


async def test_a_row_without_a_key_is_told(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.simulator.insert("trades", (None, "9", "X", None))
        trades = await w.follow()
        await w.client.until(lambda: trades.errors)
        (error,) = trades.errors
        assert error["message"] == "source trades is not available: a row has no key (id=NULL)"
        assert error["extensions"]["code"] == "SOURCE_UNAVAILABLE"


@pytest.mark.parametrize("wording", ["current", "earlier", "earliest"])
async def test_a_relation_that_is_dropped_and_made_again_heals(world: Open, tmp_path: Path, wording: str) -> None:
    async with world(tmp_path, drop_text=wording) as w:
        trades, notes = await w.follow(), await w.follow(NOTES, ("b", "a"))
        await w.client.until(lambda: len(trades.rows) == 2)
        await w.state("LIVE", source="notes")
        w.simulator.drop("trades")
        await w.state("FAILED", "was dropped|unknown catalog item")
        await w.state("FAILED", "unknown catalog item 'trades'.*create the relation")
        late = await w.follow()
        await w.client.until(lambda: len(late.rows) == 2)
        w.simulator.create("trades", {"symbol": "text", "price": "numeric", "id": "bigint"})
        w.simulator.insert("trades", ("AAPL", "5", "1"), ("MSFT", "8", "3"))
        for one in (trades, late):
            await w.client.until(lambda one=one: symbols(one) == {1: "AAPL", 3: "MSFT"})
        assert [message["operation"] for message in trades.messages[2:]] == ["DELETE", "INSERT"], "the difference alone"
        note = await w.state("LIVE", "Integer does not fit the database's bigint; BigInt would")
        assert note == "column id: Integer does not fit the database's bigint; BigInt would"
        assert w.simulator.subscribes_started["notes"] == 1
        assert not notes.errors


async def test_a_column_that_is_missing_is_told(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.simulator.drop("trades")
        w.simulator.create("trades", {"id": "integer", "symbols": "text"})
        trades = await w.follow()
        await w.client.until(lambda: trades.errors)
        assert "trades has no column symbol, did you mean symbols?" in trades.errors[0]["message"]
        await w.state("FAILED", "trades has no column price; its columns are id, symbols")
        assert not w.simulator.subscribes_started["trades"]


async def test_a_dataflow_that_fails_is_told_until_it_heals(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        w.simulator.poison("trades", "division by zero")
        reason = await w.state("FAILED", "division by zero")
        assert "the query behind trades fails in the database" in reason
        assert len(trades.rows) == 2
        w.simulator.heal("trades")
        w.simulator.insert("trades", ("3", "1", "C", None))
        await w.client.until(lambda: len(trades.rows) == 3)
        await w.state("LIVE")


async def test_a_subscribe_that_is_cancelled_is_taken_up_again(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path, {"RECONNECT_MIN_MS": "100", "RECONNECT_MAX_MS": "200"}) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        assert w.simulator.cancel_all() == 1
        await w.state("STALE", "canceling statement due to user request")
        w.simulator.insert("trades", ("3", "1", "C", None))
        await w.client.until(lambda: len(trades.rows) == 3)
        assert len(trades.messages) == 3


@pytest.mark.parametrize("fields", [
    ("soon", "f", "upsert", "1", "A", "1"),
    (None, "f", "upsert", "1", "A", "1"),
    ("1", "f", "upsert", "1", "A", "1"),
    (str(2**63), "maybe", "upsert", "1", "A", "1"),
    (str(2**63), "f", "upset", "1", "A", "1"),
    (str(2**63), "f", "upsert", "1", b"\xff\xfe", "1"),
])  # fmt: skip
async def test_a_row_that_can_not_be_read_is_told_and_the_source_starts_anew(
    world: Open, tmp_path: Path, fields: Any
) -> None:
    async with world(tmp_path, {"RECONNECT_MIN_MS": "100", "RECONNECT_MAX_MS": "200"}) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        await w.state("LIVE")
        w.simulator.emit("trades", [one.encode() if isinstance(one, str) else one for one in fields])
        await w.state("STALE", "^the result of SUBSCRIBE can't be read: ")
        w.simulator.insert("trades", ("3", "1", "C", None))
        await w.client.until(lambda: len(trades.rows) == 3)
        await w.state("LIVE")
        assert len(trades.messages) == 3


Fault = Callable[[Simulator], object]
FAULTS: dict[str, Fault] = {
    "a reset": lambda simulator: simulator.drop_connections(),
    "an orderly end": lambda simulator: simulator.drop_connections(reset=False),
    "garbage": lambda simulator: simulator.send_raw(b"\x00\x01garbage" * 100),
    "a message of a wrong length": lambda simulator: simulator.send_raw(b"D\x00\x00\x00\x06\x00\x09"),
    "an administrator": lambda simulator: simulator.fail_subscribes("57P01", "terminating connection"),
    "a reader that fell behind": lambda simulator: simulator.fail_subscribes("53200", "subscribe fell behind"),
}


@pytest.mark.parametrize("history", ["kept", "gone"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_connection_that_is_lost_costs_clients_nothing(
    world: Open, tmp_path: Path, fault: str, history: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    # libpq waits for what a broken message announces while it copies: nothing but silence shows that it is broken
    async with world(tmp_path, {"DATABASE_SILENCE_SECONDS": "2"}, tick_seconds=0.1) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        w.simulator.refuse_connections()
        FAULTS[fault](w.simulator)
        await w.state("STALE")
        async with connected(w.service.port) as late:  # the rows are still served
            again = await late.subscribe(TRADES)
            await late.until(lambda: again.rows == trades.rows)
        w.simulator.insert("trades", ("3", "1", "C", None))
        w.simulator.delete("trades", ("2", "1.5", None, None))
        if history == "gone":
            w.simulator.compact(w.simulator.frontier)
        await w.simulator.accept_connections()
        await w.client.until(lambda: symbols(trades) == {1: "AAPL", 3: "C"})
        await w.state("LIVE")
        told = [message["operation"] for message in trades.messages[2:]]
        # As it happened, or from what is known to what is so: never all again
        assert told == (["INSERT", "DELETE"] if history == "kept" else ["DELETE", "INSERT"])
        (session,) = w.simulator.subscribing_sessions
        resumed = "WITH (SNAPSHOT = false, PROGRESS) AS OF" in subscribe_of(session)
        assert resumed == (history == "kept")
        assert "FAILED" not in caplog.text, "history that is gone is no failure"


async def test_resuming_loses_no_timestamp_and_doubles_none(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path, tick_seconds=0.01) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        for number in range(10, 60):
            w.simulator.insert("trades", (str(number), "1", "S", None))
            if number % 3 == 0:
                w.simulator.drop_connections()
            if number % 5 == 0:
                await w.client.until(lambda number=number: (number,) in trades.rows)
        await w.client.until(lambda: len(trades.rows) == 52)
        assert len(trades.messages) == 52
        snapshots = [one for session in w.simulator.all_sessions for one in session.statements if "(SNAPSHOT," in one]
        assert len(snapshots) == 1


async def test_a_reader_process_that_is_killed_costs_clients_nothing(tmp_path: Path) -> None:
    async with opened("process", tmp_path, tick_seconds=0.01) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        killed = set()
        for number in range(10, 60):
            w.simulator.insert("trades", (str(number), "1", "S", None))
            if number % 10 == 0:
                await w.state("LIVE")
                pid = await w.reader_pid()
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            if number % 5 == 0:
                await w.client.until(lambda number=number: (number,) in trades.rows)
        await w.client.until(lambda: len(trades.rows) == 52)
        assert len(killed) == 5
        assert len(trades.messages) == 52
        snapshots = [one for session in w.simulator.all_sessions for one in session.statements if "(SNAPSHOT," in one]
        assert len(snapshots) == 1


async def test_sources_have_a_reader_each_for_as_long_as_they_are_followed(tmp_path: Path) -> None:
    async with opened("process", tmp_path, {"SOURCE_LINGER_SECONDS": "0"}) as w:
        trades, notes = await w.follow(), await w.follow(NOTES, ("b", "a"))
        await w.client.until(lambda: len(trades.rows) == 2)
        await w.state("LIVE", source="notes")
        pids = {await w.reader_pid(), await w.reader_pid("notes")}
        assert {child.pid for child in psutil.Process().children()} == pids
        await w.client.complete(trades)
        await w.state("IDLE")
        async with asyncio.timeout(15):
            while len(left := psutil.Process().children()) > 1:  # one ends a moment after its driver was told to
                await asyncio.sleep(0.002)
        assert [child.pid for child in left] == [await w.reader_pid("notes")]
        assert notes.errors == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_readers_end_with_the_service(tmp_path: Path, number: signal.Signals) -> None:
    async with simulating() as simulator:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        environ = simulator.environ | QUICK | {"SOURCE_START": "eager", "DATABASE_READER": "process"}
        async with running(tmp_path, environ) as service:
            await service.until_health("ok")
            await simulator.until(simulator.active_subscribes)
            readers = psutil.Process(service.process.pid).children()
            assert readers
            simulator.stall()  # a reader that sends nothing does not find out by sending
            service.process.send_signal(number)
            _code, output = await service.ended()
            assert "Traceback" not in output
        await simulator.until(lambda: not simulator.sessions)
        _gone, alive = await asyncio.to_thread(psutil.wait_procs, readers, timeout=10)
        assert not alive


async def test_a_relation_that_was_swapped_is_not_resumed(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path, {"RECONNECT_MIN_MS": "100", "RECONNECT_MAX_MS": "200"}) as w:
        w.simulator.create("other", {"id": "integer", "price": "double precision", "symbol": "text"})
        w.simulator.insert("other", ("1", "5", "AAPL"), ("9", "9", "NEW"))
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        await w.state("LIVE")
        w.simulator.drop_connections()
        w.simulator.swap("trades", "other")
        await w.client.until(lambda: symbols(trades) == {1: "AAPL", 9: "NEW"})


async def test_time_that_stands_still_is_a_lost_connection(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path, {"DATABASE_SILENCE_SECONDS": "0.3"}, tick_seconds=0.05) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        await w.state("LIVE")
        w.simulator.stall()
        reason = await w.state("STALE", "^time has stood still for 0.3 s")
        assert "DATABASE_SILENCE_SECONDS" in reason
        w.simulator.insert("trades", ("3", "1", "C", None))
        w.simulator.resume()
        await w.client.until(lambda: len(trades.rows) == 3)


async def test_one_of_several_hosts_is_used_and_another_when_it_fails(world: Open, reader: str, tmp_path: Path) -> None:
    async with simulating() as other, world(tmp_path) as w:
        other.create("trades", {"id": "integer", "price": "double precision", "symbol": "text"})
        other.insert("trades", ("1", "5", "AAPL"), ("4", "4", "OTHER"))
        other.compact(other.frontier)
        both = w.simulator.environ | {"DATABASE_HOST": f"127.0.0.1:{w.simulator.port},127.0.0.1:{other.port}"}
        folder = tmp_path / "second"
        folder.mkdir()
        async with (
            serving(folder, SCHEMA, both | QUICK | {"DATABASE_READER": reader}) as service,
            connected(service.port) as client,
        ):
            trades = await client.subscribe(TRADES)
            await client.until(lambda: len(trades.rows) == 2)
            assert not other.sessions
            w.simulator.refuse_connections()
            w.simulator.drop_connections()
            await client.until(lambda: symbols(trades) == {1: "AAPL", 4: "OTHER"})


@pytest.mark.parametrize("after", [0, 1, 3, 30, 100, 150, 200, 250, 300, 400, 1000, 5000])
async def test_a_connection_that_is_cut_anywhere_in_a_message_loses_nothing(
    world: Open, tmp_path: Path, after: int
) -> None:
    async with world(tmp_path) as w:
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        w.simulator.cut_after(after)
        rows = [(str(number), "1", f"symbol {number} ü", None) for number in range(10, 60)]
        for start in range(0, 50, 10):
            w.simulator.insert("trades", *rows[start : start + 10])
            w.simulator.replace("trades", rows[start], (rows[start][0], "2", "moved", None))
        await w.client.until(lambda: len(trades.rows) == 52 and trades.rows[50,]["symbol"] == "moved")
        assert len(trades.messages) <= 2 + 50 + 5, "nothing is told twice"
        expected = {int(row[0]): row[2] for row in w.simulator.contents("trades")}
        assert symbols(trades) == expected


async def test_a_snapshot_that_is_cut_is_read_again(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.simulator.insert("trades", *((str(number), "1", "S" * 50, None) for number in range(10, 3000)))
        w.simulator.cut_after(100_000, new=True)
        trades = await w.follow()
        await w.simulator.until(lambda: w.simulator.subscribes_started["trades"] > 2)
        assert not trades.rows, "half a snapshot is shown to nobody"
        w.simulator.cut_after(None, new=True)
        await w.client.until(lambda: len(trades.rows) == 2992)


async def test_a_database_that_is_not_there_yet_is_waited_for_and_not_named_to_clients(
    world: Open, tmp_path: Path
) -> None:
    async with world(tmp_path, {"QUERY_TIMEOUT_SECONDS": "0.2"}) as w:
        w.simulator.refuse_connections()
        trades = await w.follow()
        reason = await w.state("CONNECTING", "can't connect")
        assert str(w.simulator.port) in reason
        browser = AsyncHTTPClient(force_instance=True)
        url = f"http://127.0.0.1:{w.service.port}/graphql?query=%7Btrades%7Bid%7D%7D"
        answer = (await browser.fetch(url)).body.decode()
        browser.close()
        assert "source trades has no rows yet (the database is out of reach); ask again" in answer
        assert "127.0.0.1" not in answer
        await w.simulator.accept_connections()
        await w.client.until(lambda: len(trades.rows) == 2)


async def test_a_server_that_knows_no_show_columns_is_followed(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.simulator.fail_next("SHOW COLUMNS", "42601", "Expected a statement")
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)


async def test_a_relation_that_can_not_change_is_served(world: Open, tmp_path: Path) -> None:
    async with world(tmp_path, tick_seconds=None) as w:
        trades = await w.follow()
        await w.simulator.until(w.simulator.active_subscribes)
        for subscription in list(w.simulator._subscriptions):
            subscription.end()
        await w.client.until(lambda: len(trades.rows) == 2)
        await w.state("LIVE", "the relation is constant")


async def test_the_process_lives_through_it_all_and_ends_in_order(tmp_path: Path) -> None:
    async with simulating() as simulator:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        simulator.insert("trades", ("1", "AAPL"))
        async with running(tmp_path, simulator.environ | QUICK | {"SOURCE_START": "eager"}) as service:
            await service.until_health("ok")
            async with connected(service.port) as client:
                query = "subscription { trades { operation data { id symbol } fields timestamp } }"
                trades = await client.subscribe(query)
                await client.until(lambda: trades.rows)
                for number in range(2, 7):
                    simulator.drop_connections()
                    simulator.insert("trades", (str(number), "MSFT"))
                    await client.until(lambda number=number: len(trades.rows) == number)
                service.process.terminate()
                assert (await client.closed())[0] == 1001
            code, output = await service.ended()
        assert code == 0, output
        assert "Traceback" not in output
        await simulator.until(lambda: not simulator.sessions)


async def test_check_holds_the_file_against_materialize(tmp_path: Path) -> None:
    async with simulating(password="right") as simulator:
        simulator.create("trades", {"id": "bigint", "symbol": "text"})
        async with running(tmp_path, simulator.environ, "check") as fitting:
            code, output = await fitting.ended()
        assert code == 0, output
        assert "trades: served as far as it fits: column id: Integer does not fit the database's bigint" in output
        simulator.drop("trades")
        async with running(tmp_path, simulator.environ, "check") as missing:
            code, output = await missing.ended()
        assert code == 1
        assert "unknown catalog item 'trades' (create the relation, or name another" in output
        async with running(tmp_path, simulator.environ | {"DATABASE_PASSWORD": "wrong"}, "check") as refused:
            code, output = await refused.ended()
        assert code == 1
        assert "check DATABASE_USER and DATABASE_PASSWORD" in output
        assert "wrong" not in output
