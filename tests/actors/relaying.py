"""Two processes' worth of actors on one loop: a source that its driver feeds, and the same source behind a relay."""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pykka import ActorRef

from actors.relay import RelayActor
from actors.relay_messages import RelayConfig
from actors.runtime import loop_actor, stop_actor
from actors.source import SourceActor, SourceConfig
from actors.source_messages import Attach
from actors.supervisor import Restart, StartChild, StopChildren
from tests.actors.support import Listener, World, subscription, until
from tycostream.databases.driver import Ready
from tycostream.metrics import ClientCounts
from tycostream.model import Event, Position, Row, Source
from tycostream.relay.channel import Channel
from tycostream.relay.driver import RelayDriver
from tycostream.relay.link import Link


class Noting:
    """A driver of which everything that it reports is noted."""

    def __init__(self, driver: RelayDriver, runs: list[list[Event]]) -> None:
        self._driver = driver
        self._runs = runs

    async def run(self, emit: Callable[[Event], None], ready: Ready, resume: Position | None) -> None:
        events: list[Event] = []
        self._runs.append(events)

        def note(event: Event) -> None:
            events.append(event)
            emit(event)

        await self._driver.run(note, ready, resume)


class Far(World):
    """The worker's side: its source has the rows of `near`. `messages` are what concerns no source."""

    def __init__(self, near: World, backlog: int) -> None:
        super().__init__(near.follows, near.memory.limits)
        self.near = near
        self.told: list[list[Event]] = []
        self.messages: list[dict[str, Any]] = []
        self.orders: list[Any] = []
        self.link = Link(self._answer)
        self.relay: ActorRef[Any]
        self.channel: Channel
        self.served: Source = near.follows
        self._backlog = backlog

    async def start(self, **config: Any) -> None:
        ours, theirs = socket.socketpair()
        self.channel = await Channel.over(theirs)
        self.lost = asyncio.get_running_loop().create_future()
        self.channel.on_lost = self._on_lost
        self.link.use(self.channel, lambda payload: self.orders.append(pickle.loads(payload)))
        relaying = RelayConfig(
            lambda _name: self.served, self._answer, self.messages.append, lambda: None, self._backlog
        )
        near = self.near
        channel = await Channel.over(ours)
        self.relay = RelayActor.start(channel, relaying, near.board, near.directory, pickle.dumps("order"))
        self.link.begin(self.messages.append)
        settings = SourceConfig(**({"retry_min": 0.001, "retry_max": 0.002} | config))

        def make_driver(source: Source) -> Noting:
            return Noting(RelayDriver(source, self.link), self.told)

        def make(supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return SourceActor.start(self.follows, make_driver, settings, self.memory, supervisor, ClientCounts())

        await self.supervisor.ask(StartChild("source", "trades", make, Restart(delay=0.001)), block=False)

    def _on_lost(self, _error: Exception | None) -> None:
        self.link.lost()
        self.lost.set_result(None)

    async def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        return [name, arguments]

    def relay_actor(self) -> RelayActor:
        actor = loop_actor(self.relay)
        assert isinstance(actor, RelayActor)
        return actor

    def follow(self, **wishes: Any) -> Listener:
        """A subscriber on this side."""
        ref, listener = self.listener()
        self.source.tell(Attach(subscription(connection=ref, **wishes)))
        return listener

    async def same(self, timestamp: int) -> None:
        """Until both sides have the rows of this timestamp."""
        near, far = self.near.memory.cache, self.memory.cache
        await until(lambda: near.timestamp == far.timestamp == timestamp)
        assert near.rows == far.rows

    async def stop(self) -> None:
        for ref in self._listeners:
            await stop_actor(ref)
        await self.supervisor.ask(StopChildren(("source",)), block=False)
        await stop_actor(self.supervisor)
        await stop_actor(self.relay)
        await asyncio.wait_for(self.lost, 10)
        await self.link.calls.close()


@asynccontextmanager
async def behind(near: World, backlog: int = 1 << 26, **config: Any) -> AsyncIterator[Far]:
    """The worker's side of this world."""
    made = Far(near, backlog)
    await made.start(**config)
    try:
        yield made
    finally:
        await made.stop()


def rows_of(listener: Listener) -> dict[Any, Row]:
    """Of its only subscription; none while it waits."""
    return next((client.rows for client in listener.clients.values()), {})
