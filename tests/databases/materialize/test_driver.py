"""The driver over a simulated Materialize, without a source: back-pressure, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib

from tests.support.materialize import Simulator, simulating
from tycostream.databases.connection import ConnectionParameters
from tycostream.databases.materialize import MaterializeDriver
from tycostream.model import Column, ColumnType, Event, Relation, SnapshotComplete, SnapshotRows, Source

SOURCE = Source(
    "trades", Relation("trades"), (Column("id", ColumnType.INTEGER), Column("symbol", ColumnType.STRING)), ("id",)
)


def driver(simulator: Simulator, *, in_process: bool = False) -> MaterializeDriver:
    parameters = ConnectionParameters("127.0.0.1", simulator.port, "materialize", "", "materialize")
    return MaterializeDriver(SOURCE, parameters, in_process=in_process)


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
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await simulator.until(lambda: not simulator.sessions)
