"""The driver over a simulated Materialize, without a source: back-pressure, errors, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace

import psutil
import pytest

from tests.support.materialize import Simulator, simulating
from tycostream.databases.connection import ConnectionParameters
from tycostream.databases.driver import DatabaseError
from tycostream.databases.hosts import Address, Hosts
from tycostream.databases.materialize import MaterializeDriver
from tycostream.databases.reader.child import PIECE_BYTES
from tycostream.model import (
    Changes,
    Column,
    ColumnType,
    Event,
    Position,
    ReadBy,
    Relation,
    Resumed,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
)

SOURCE = Source(
    "trades", Relation("trades"), (Column("id", ColumnType.INTEGER), Column("symbol", ColumnType.STRING)), ("id",)
)


def driver(simulator: Simulator, *, in_process: bool = False, password: str = "") -> MaterializeDriver:
    parameters = ConnectionParameters("127.0.0.1", simulator.port, "materialize", password, "materialize")
    return MaterializeDriver(SOURCE, parameters, in_process=in_process)


both = pytest.mark.parametrize("in_process", [False, True], ids=["loop", "process"])


async def at_once() -> None:
    """A source that is never behind."""


async def end(running: asyncio.Future[None]) -> None:
    """Stop a driver, as its source does."""
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def rows_of(events: list[Event]) -> int:
    return sum(len(event.rows) for event in events if isinstance(event, SnapshotRows))


def reader_of(events: list[Event]) -> int:
    (pid,) = [event.pid for event in events if isinstance(event, ReadBy)]
    return pid


def fetches(simulator: Simulator) -> int:
    return sum(one.startswith("FETCH") for session in simulator.all_sessions for one in session.statements)


async def test_the_database_is_asked_for_more_only_when_the_source_is_ready() -> None:
    async with simulating() as simulator:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        simulator.insert("trades", *((str(number), "S") for number in range(5000)))
        events: list[Event] = []
        caught_up, asked = asyncio.Event(), asyncio.Event()

        async def ready() -> None:
            if any(isinstance(event, SnapshotRows) for event in events):
                asked.set()
                await caught_up.wait()

        running = asyncio.ensure_future(driver(simulator).run(events.append, ready))
        await asyncio.wait_for(asked.wait(), 10)
        before = fetches(simulator)
        for _ in range(50):  # whatever the simulator would be asked for, it would have been asked by now
            await asyncio.sleep(0)
        assert fetches(simulator) == before
        assert sum(len(event.rows) for event in events if isinstance(event, SnapshotRows)) <= 1000
        caught_up.set()
        await simulator.until(lambda: any(isinstance(event, SnapshotComplete) for event in events))
        assert sum(len(event.rows) for event in events if isinstance(event, SnapshotRows)) == 5000
        await end(running)
        await simulator.until(lambda: not simulator.sessions)


async def test_a_source_that_is_behind_holds_the_database_up() -> None:
    async with simulating() as simulator:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        simulator.insert("trades", *((str(number), "S" * 1000) for number in range(50_000)))
        events: list[Event] = []
        caught_up, asked = asyncio.Event(), asyncio.Event()

        async def ready() -> None:
            if any(isinstance(event, SnapshotRows) for event in events):
                asked.set()
                await caught_up.wait()

        running = asyncio.ensure_future(driver(simulator, in_process=True).run(events.append, ready))
        await asyncio.wait_for(asked.wait(), 20)
        (session,) = simulator.subscribing_sessions
        async with asyncio.timeout(20):
            while session.connection.writable:  # it sends until everything between it and the source is full
                await asyncio.sleep(0.001)
        assert rows_of(events) <= PIECE_BYTES / 1000, "one piece"
        resident = psutil.Process(reader_of(events)).memory_info().rss
        assert resident < 50_000_000, "what waits does not wait in the process"
        caught_up.set()
        await simulator.until(lambda: any(isinstance(event, SnapshotComplete) for event in events))
        assert rows_of(events) == 50_000
        await end(running)
        await simulator.until(lambda: not simulator.sessions)


@both
async def test_a_driver_that_is_stopped_leaves_nothing(in_process: bool) -> None:
    async with simulating() as simulator:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        for sessions in range(3):  # before it is connected, while it looks, while it reads
            events: list[Event] = []
            running = asyncio.ensure_future(driver(simulator, in_process=in_process).run(events.append, at_once))
            if sessions:
                await simulator.until(lambda: simulator.sessions)
            if sessions == 2:
                await simulator.until(simulator.active_subscribes)
            await end(running)
            await simulator.until(lambda: not simulator.sessions)
            assert not psutil.Process().children()


async def test_a_reader_that_is_killed_is_a_lost_connection_that_is_taken_up_again() -> None:
    async with simulating(tick_seconds=0.01) as simulator:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        simulator.insert("trades", ("1", "A"))
        events: list[Event] = []
        running = asyncio.ensure_future(driver(simulator, in_process=True).run(events.append, at_once))
        await simulator.until(lambda: any(isinstance(event, SnapshotComplete) for event in events))
        time = simulator.insert("trades", ("2", "B"))
        await simulator.until(lambda: any(isinstance(event, Changes) for event in events))
        os.kill(reader_of(events), signal.SIGKILL)
        with pytest.raises(DatabaseError, match="the process that read from the database has ended") as caught:
            await asyncio.wait_for(running, 20)
        assert not caught.value.permanent
        await simulator.until(lambda: not simulator.sessions)
        (relation,) = [event.relation for event in events if isinstance(event, SnapshotStarted)]
        simulator.insert("trades", ("3", "C"))
        events.clear()
        again = driver(simulator, in_process=True).run(events.append, at_once, Position(time, relation))
        running = asyncio.ensure_future(again)
        await simulator.until(lambda: any(isinstance(event, Changes) for event in events))
        assert any(isinstance(event, Resumed) for event in events)
        assert [event.changes for event in events if isinstance(event, Changes)] == [[("3", ("3", "C"))]]
        await end(running)


@pytest.mark.parametrize("fault", ["password", "CONNECT", "missing", "SQL"])
async def test_errors_are_the_same_whoever_reads(fault: str) -> None:
    async with simulating(password="right") as simulator:
        if fault != "missing":
            simulator.create("trades", {"id": "integer", "symbol": "text"})
        told = []
        for in_process in (False, True):
            if fault == "CONNECT":
                simulator.fail_next("CONNECT", "53300", "too many connections for right", "FATAL")
            elif fault == "SQL":
                simulator.fail_next("COPY" if in_process else "DECLARE", "42501", "permission denied for right")
            password = "wrong" if fault == "password" else "right"
            with pytest.raises(DatabaseError) as caught:
                await driver(simulator, in_process=in_process, password=password).run([].append, at_once)
            error = caught.value
            told.append((str(error), error.hint, error.permanent, error.private, error.sqlstate))
        assert told[0] == told[1]
        assert "right" not in told[0][0]


async def test_a_host_that_only_the_reader_can_not_reach_is_left_alone_too() -> None:
    async with simulating() as simulator, simulating() as other:
        simulator.create("trades", {"id": "integer", "symbol": "text"})
        hosts = Hosts([Address("127.0.0.1", one.port) for one in (simulator, other)])
        one = driver(simulator, in_process=True)
        running = asyncio.ensure_future(
            replace(one, parameters=replace(one.parameters, hosts=hosts)).run([].append, at_once)
        )
        await simulator.until(lambda: simulator.sessions)
        simulator.refuse_connections()
        with pytest.raises(DatabaseError, match="can't connect"):
            await asyncio.wait_for(running, 20)
        assert [address.port for address in hosts.to_try()] == [other.port]
