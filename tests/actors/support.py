"""A driver and connections that the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pykka import ActorRef
from pykka.messages import ProxyCall

from actors.board import SourceBoard
from actors.runtime import Dispatcher, LoopActor, handles, stop_actor, tell
from actors.source import SourceActor, SourceConfig
from actors.source_memory import SourceMemory
from actors.source_messages import Attached, Delivered, Refused
from actors.supervisor import Restart, StartChild, StopChildren, Supervisor
from tests.views.support import SOURCE, Client, Everything, changes_of, subscription
from tycostream.databases.driver import Ready
from tycostream.metrics import ClientCounts
from tycostream.model import (
    Change,
    Changes,
    Event,
    Position,
    Row,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
)
from tycostream.views import RecentLimits, RowCache, Subscription

WAIT_SECONDS = 10.0


async def until(condition: Callable[[], object]) -> None:
    """Give the loop its turns until the condition holds."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            await asyncio.sleep(0)


def crash(ref: ActorRef[Any]) -> bool:
    """Send an actor a message that it chokes on; whether it was there."""
    # pykka looks for this attribute within the actor
    return tell(ref, ProxyCall(attr_path=("no", "such", "attribute"), args=(), kwargs={}))


class ScriptedDriver:
    """One run of a driver. The test says what it reports."""

    def __init__(self, runs: list[ScriptedDriver]) -> None:
        self.emit: Callable[[Event], None]
        self.ready: Ready
        self.resume: Position | None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False
        self._runs = runs

    async def run(self, emit: Callable[[Event], None], ready: Ready, resume: Position | None) -> None:
        self.emit, self.ready, self.resume = emit, ready, resume
        self._runs.append(self)
        try:
            await self.over
        finally:
            self.ended = True

    def fail(self, error: Exception) -> None:
        self.over.set_exception(error)

    def snapshot(self, timestamp: int, *rows: Row, relation: str | None = None) -> None:
        self.emit(SnapshotStarted(timestamp, relation))
        self.emit(SnapshotRows(list(rows)))
        self.emit(SnapshotComplete())

    def change(self, timestamp: int, *changes: Change) -> None:
        self.emit(Changes(timestamp, list(changes)))


class Listener(LoopActor):
    """A connection that replays what it is told, and remembers how."""

    kind = "connection"

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[Subscription, Client] = {}
        self.tells: list[Any] = []
        self.refused: list[str] = []

    @handles(Attached)
    def attached(self, message: Attached) -> None:
        self.tells.append(message)
        client = self.clients[message.subscription] = Client()
        while not message.snapshot.done:
            for operation, _key, row, changed, timestamp in message.snapshot.read(100):
                client.hear(operation.value, row, changed, timestamp)

    @handles(Delivered)
    def delivered(self, message: Delivered) -> None:
        self.tells.append(message)
        for subscriptions, delivery in message.deliveries:
            for one in subscriptions:
                for _, operation, row, changed, timestamp in changes_of(delivery.wrapped(one.envelope)):
                    self.clients[one].hear(operation, row, changed, timestamp)

    @handles(Refused)
    def was_refused(self, message: Refused) -> None:
        self.refused.append(message.message)


class World:
    """A supervisor with one source, whose driver's runs are in `runs`."""

    def __init__(self, follows: Source = SOURCE, recent: RecentLimits | None = None) -> None:
        self.follows = follows
        self.directory: dict[tuple[str, str], ActorRef[Any]] = {}
        self.board = SourceBoard()
        self.memory = SourceMemory(RowCache(follows), recent or RecentLimits())
        self.counts = ClientCounts()
        self.runs: list[ScriptedDriver] = []
        self.supervisor: ActorRef[Any] = Supervisor.start(self.board, self.directory)
        self._listeners: list[ActorRef[Any]] = []

    @property
    def source(self) -> ActorRef[Any]:
        return self.directory["source", "trades"]

    @property
    def state(self) -> str:
        return self.board.states["trades"].state.value

    @property
    def reason(self) -> str:
        return self.board.states["trades"].reason or ""

    async def start(self, **config: Any) -> None:
        settings = SourceConfig(**({"retry_min": 0.001, "retry_max": 0.002} | config))

        def make_driver(_source: Source) -> ScriptedDriver:
            return ScriptedDriver(self.runs)

        def make(supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return SourceActor.start(self.follows, make_driver, settings, self.memory, supervisor, self.counts)

        await self.supervisor.ask(StartChild("source", "trades", make, Restart(delay=0.001)), block=False)

    def adopt(self, ref: ActorRef[Any]) -> None:
        """Stop this one too, at the end."""
        self._listeners.append(ref)

    def listener(self) -> tuple[ActorRef[Any], Listener]:
        ref = Listener.start()
        self.adopt(ref)
        return ref, ref._actor_weakref()

    async def run(self, number: int) -> ScriptedDriver:
        """The driver's run of that number, once it runs."""
        await until(lambda: len(self.runs) >= number)
        return self.runs[number - 1]

    async def stop(self) -> None:
        counted = self.memory.counts.subscriptions
        assert counted == sum(1 for _ in self.memory.subscriptions()), "whatever came and went"
        for ref in self._listeners:
            await stop_actor(ref)
        await self.supervisor.ask(StopChildren(("trigger", "source")), block=False)
        await stop_actor(self.supervisor)
        await Dispatcher.current().finish_tasks(within=5)


@asynccontextmanager
async def world(follows: Source = SOURCE, recent: RecentLimits | None = None, **config: Any) -> AsyncIterator[World]:
    made = World(follows, recent)
    await made.start(**config)
    try:
        yield made
    finally:
        await made.stop()


__all__ = ["SOURCE", "Everything", "Listener", "ScriptedDriver", "World", "crash", "subscription", "until", "world"]
