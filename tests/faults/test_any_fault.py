"""Any history of writes and faults: connections that are cut, reset, stalled, slowed down or refused on both sides, actors that
crash, databases that are restarted, clients that come, leave, and come back with a cursor. Whenever it is quiet again, every
client has the database's rows, and none has seen half a transaction."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClosedError

from tests.end_to_end import test_resuming
from tests.end_to_end.test_any_history import TICKS, WISHES, Wish, attach, statements
from tests.faults.support import Returning, Scene, rounds, scene, settle
from tests.support.client import GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.faults import BOTH_WAYS, FaultProxy, Way
from tests.support.materialize import simulating
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import DURABLE, Database, Postgres

SMALL = {
    "DATABASE_SILENCE_SECONDS": "1",
    "SOURCE_LINGER_SECONDS": "0.1",
    "OUTBOX_ROWS": "20",
    "RECENT_CHANGES_ROWS": "60",
}
"""So that what ends with a limit ends often."""

CLIENTS = 4
CRASHES_A_MINUTE = 7
"""An actor that fails ten times in a minute is given up, as it should be."""

batches = st.lists(statements, min_size=1, max_size=4)
ways = st.sampled_from([(Way.TO_CLIENT,), (Way.TO_SERVER,), BOTH_WAYS])
sizes = st.one_of(st.integers(0, 100), st.integers(0, 3000), st.integers(0, 60_000))
sides = st.sampled_from(["to_database", "to_service"])


class Stage:
    """What stays from one history to the next: the service with its proxies, and the actors that have crashed of late."""

    def __init__(self, s: Scene, restart: Callable[[], Awaitable[None]]) -> None:
        self.scene = s
        self.restart = restart
        self.told = 0
        self._crashes: dict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=CRASHES_A_MINUTE))

    def crash(self, kind: str, name: str) -> None:
        crashes = self._crashes[kind, name]
        if len(crashes) == CRASHES_A_MINUTE and time.monotonic() - crashes[0] < 65:
            return
        if self.scene.crash(kind, name):
            crashes.append(time.monotonic())

    def connections(self) -> list[str]:
        return [name for kind, name in self.scene.service._directory if kind == "connection"]


class History(RuleBasedStateMachine):
    """One history. Each step is a coroutine on the service's own loop."""

    def __init__(self, stage: Stage, io_loop: IOLoop) -> None:
        super().__init__()
        self.stage, self.scene, self.io_loop = stage, stage.scene, io_loop
        self.database = stage.scene.database
        self.faulty = False
        self.restarted = False
        self.witness: GraphQLClient
        self.wishes: list[Wish] = []
        self.clients: list[Returning] = []
        self.stack = AsyncExitStack()
        self.run(self.connect)

    def run(self, step: Callable[[], Awaitable[Any]]) -> None:
        self.io_loop.run_sync(step)

    def in_loop(self, step: Callable[[], None]) -> None:
        """What is no coroutine, but needs the running loop."""

        async def take() -> None:
            step()

        self.run(take)

    async def connect(self) -> None:
        self.witness = await self.stack.enter_async_context(connected(self.scene.service.port))

    def proxy(self, side: str) -> FaultProxy:
        found: FaultProxy = getattr(self.scene, side)
        self.faulty = self.faulty or side == "to_database"
        return found

    # Writes

    @rule(batch=batches, commit=st.sampled_from([True, True, True, False]))
    def write(self, batch: list[str], commit: bool) -> None:
        # A snapshot that stalls keeps its locks
        batch = [one for one in batch if not (self.faulty and one.startswith("TRUNCATE"))]
        self.run(lambda: self.database.transaction([*batch, *TICKS], commit=commit))

    # Clients

    @rule(which=st.integers(0, len(WISHES) - 1))
    def follow(self, which: int) -> None:
        """Without a fault between it and the service, and without a second chance."""
        if len(self.wishes) < CLIENTS and not self.witness.ended.done():
            self.run(lambda: self._follow(which))

    async def _follow(self, which: int) -> None:
        with suppress(WebSocketClosedError):  # its actor has crashed just now
            self.wishes.append(await attach(self.witness, *WISHES[which]))

    @rule()
    def stop_following(self) -> None:
        if self.wishes and not self.witness.ended.done():
            gone = self.wishes.pop(0)
            with suppress(WebSocketClosedError):
                self.run(lambda: self.witness.complete(gone.subscription))

    @rule(
        which=st.integers(0, len(test_resuming.WISHES) - 1),
        arguments=st.sampled_from(["", "", ", on_slow: DISCONNECT", ", coalesce_ms: 10"]),
    )
    def come(self, which: int, arguments: str) -> None:
        if len(self.clients) < CLIENTS:
            self.run(lambda: self._come(which, arguments))

    async def _come(self, which: int, arguments: str) -> None:
        self.clients.append(Returning(self.scene.port, test_resuming.WISHES[which], arguments))

    @rule()
    def leave(self) -> None:
        if self.clients:
            self.in_loop(self.scene.to_service.restore)
            gone = self.clients.pop(0)
            self.run(gone.leave)

    # Faults

    @rule(side=sides, reset=st.booleans())
    def cut(self, side: str, reset: bool) -> None:
        self.proxy(side).cut(reset=reset)

    @rule(side=sides, count=sizes, way=st.sampled_from(Way), reset=st.booleans(), new=st.booleans())
    def cut_after(self, side: str, count: int, way: Way, reset: bool, new: bool) -> None:
        self.proxy(side).cut_after(count, way, reset=reset, new=new)

    @rule(side=sides, which=ways)
    def stall(self, side: str, which: tuple[Way, ...]) -> None:
        self.proxy(side).stall(*which)

    @rule(side=sides, which=ways)
    def slow(self, side: str, which: tuple[Way, ...]) -> None:
        self.proxy(side).slow(20_000, *which)

    @rule(side=sides, also_cut=st.booleans())
    def refuse(self, side: str, also_cut: bool) -> None:
        self.in_loop(self.proxy(side).refuse)
        if also_cut:
            self.proxy(side).cut()

    @rule(side=sides)
    def restore(self, side: str) -> None:
        self.in_loop(self.proxy(side).restore)

    @rule(luck=st.integers(0, 5))
    def restart_database(self, luck: int) -> None:
        if luck == 0 and not self.restarted:
            self.restarted = True
            self.run(self.stage.restart)

    @rule(which=st.sampled_from(["accounts", "clock", "totals", "unkeyed"]))
    def crash_source(self, which: str) -> None:
        self.stage.crash("source", which)

    @rule()
    def crash_feed(self) -> None:
        self.stage.crash("feed", "postgres")

    @rule(which=st.integers(0, CLIENTS))
    def crash_connection(self, which: int) -> None:
        names = self.stage.connections()
        if names:
            self.scene.crash("connection", names[which % len(names)])

    # Time

    @rule(turns=st.sampled_from([1, 3, 30]))
    def turn(self, turns: int) -> None:
        async def take() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.run(take)

    @rule()
    def calm(self) -> None:
        """Everything passes again: all end in the database's state."""
        self.run(self._calm)

    async def _calm(self) -> None:
        self.scene.to_database.restore()
        self.scene.to_service.restore()
        self.faulty = False
        try:
            await settle(self.witness, self.database, *self.wishes)
        except AssertionError:
            if not self.witness.ended.done():
                raise
            assert self.witness.close_code == 1012, "its actor has crashed"
            self.wishes.clear()
            await self.stack.aclose()
            await self.connect()
        for client in self.clients:
            await client.settle_alone(self.database)

    def teardown(self) -> None:
        self.run(self._end)

    async def _end(self) -> None:
        try:
            await self._calm()
        finally:
            for client in self.clients:
                await client.leave()
            await self.stack.aclose()
        await self.scene.until_subscriptions(dict.fromkeys(("accounts", "clock", "totals", "unkeyed"), 0))


def live_through_any_history(stage: Stage, io_loop: IOLoop) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: History(stage, io_loop),
        settings=settings(
            max_examples=rounds(10, 500),
            stateful_step_count=rounds(30, 60),
            deadline=None,
            report_multiple_bugs=False,
            # What is served is alive: the same steps need not lead to the same end
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )


@asynccontextmanager
async def restartable_postgres(folder: Path) -> AsyncIterator[Stage]:
    server = await asyncio.to_thread(Postgres, DURABLE)
    database = await asyncio.to_thread(server.create_database)

    async def restart() -> None:
        database.close()
        await asyncio.to_thread(server.halt, "immediate")
        await asyncio.to_thread(server.start)

    try:
        async with scene(database, folder, SMALL) as s:
            yield Stage(s, restart)
    finally:
        database.close()
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def simulated_materialize(folder: Path, postgres: Database, reader: str) -> AsyncIterator[Stage]:
    async with simulating(tick_seconds=0.1) as simulator:
        database: AnyDatabase = MaterializeDatabase(simulator, postgres)

        async def restart() -> None:
            simulator.refuse_connections()
            simulator.drop_connections()
            simulator.compact(simulator.frontier)
            await simulator.accept_connections()

        try:
            async with scene(database, folder, SMALL | {"DATABASE_READER": reader}) as s:
                yield Stage(s, restart)
        finally:
            database.close()


def test_any_history_over_postgresql(io_loop: IOLoop, tmp_path: Path) -> None:
    stack = AsyncExitStack()
    stage = io_loop.run_sync(lambda: stack.enter_async_context(restartable_postgres(tmp_path)))
    try:
        live_through_any_history(stage, io_loop)
    finally:
        io_loop.run_sync(stack.aclose)


@pytest.mark.parametrize("reader", ["loop", "process"])
def test_any_history_over_materialize(io_loop: IOLoop, tmp_path: Path, postgres: Database, reader: str) -> None:
    stack = AsyncExitStack()
    stage = io_loop.run_sync(lambda: stack.enter_async_context(simulated_materialize(tmp_path, postgres, reader)))
    try:
        live_through_any_history(stage, io_loop)
    finally:
        io_loop.run_sync(stack.aclose)
