"""The connection actor: a client that is slow, asks for too much, or goes away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pykka import ActorRef

from actors.connection import ConnectionActor, ConnectionConfig, FrameReceived, SocketClosed, SocketDrained
from actors.runtime import stop_actor
from actors.source_messages import Attach, Delivered, Detach
from tests.actors.support import World, until, world
from tests.views.support import SOURCE, Client
from tycostream.graphql import Engine, Limits
from tycostream.model import Catalog, Key, Row
from tycostream.web.transport import ConnectionInfo

QUERY = "subscription { trades { operation data { id symbol price } fields timestamp } }"


class SlowTransport:
    """A socket whose kernel takes what the test lets it take."""

    def __init__(self) -> None:
        self.stuck = False
        self.pending = 0
        self.bytes_sent = 0
        self.sends = 0
        self.closed: tuple[int, str] | None = None
        self.messages: list[dict[str, Any]] = []

    def send(self, frames: bytes) -> None:
        self.sends += 1
        self.bytes_sent += len(frames)
        self.pending += len(frames) if self.stuck else 0
        self.messages += parse(frames)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def updates(self) -> list[dict[str, Any]]:
        return [one["payload"]["data"]["trades"] for one in self.messages if one["type"] == "next"]

    def replayed(self) -> dict[Key, Row]:
        client = Client()
        for update in self.updates():
            row = tuple(
                None if update["data"][name] is None else str(update["data"][name])
                for name in ("id", "symbol", "price")
            )
            changed = sum(1 << SOURCE.positions[name] for name in update["fields"])
            client.hear(update["operation"], row, changed, int(update["timestamp"]))
        return client.rows


def parse(frames: bytes) -> list[dict[str, Any]]:
    messages = []
    while frames:
        assert frames[0] == 0x81
        length, start = frames[1], 2
        if length == 126:
            length, start = int.from_bytes(frames[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(frames[2:10], "big"), 10
        messages.append(json.loads(frames[start : start + length]))
        frames = frames[start + length :]
    return messages


@asynccontextmanager
async def connection(made: World, **config: Any) -> AsyncIterator[tuple[ActorRef[Any], SlowTransport]]:
    transport = SlowTransport()
    engine = Engine(Catalog({"trades": SOURCE}, {}), Limits(), rows=None)  # type: ignore[arg-type]
    info = ConnectionInfo("127.0.0.1", "graphql-transport-ws", None)
    ref = ConnectionActor.start(transport, info, engine, made.directory, ConnectionConfig(**config))
    try:
        yield ref, transport
    finally:
        await stop_actor(ref)


def say(ref: ActorRef[Any], kind: str, **rest: Any) -> None:
    ref.tell(FrameReceived(json.dumps({"type": kind, **rest})))


def subscribe(ref: ActorRef[Any], operation_id: str = "1", query: str = QUERY) -> None:
    say(ref, "subscribe", id=operation_id, payload={"query": query})


async def test_a_client_that_does_not_read_gets_merged_changes_and_the_right_rows() -> None:
    async with world() as made, connection(made, hold_rows=50) as (ref, transport):
        say(ref, "connection_init")
        subscribe(ref)
        driver = await made.run(1)
        driver.snapshot(1, *((str(number), "X", "0.0") for number in range(10)))
        await until(lambda: len(transport.updates()) == 10)
        transport.stuck = True
        for timestamp in range(2, 3000):
            key = str(timestamp % 12)
            driver.change(timestamp, (key, None if timestamp % 31 == 0 else (key, "Y", f"{timestamp}.5")))
        await until(lambda: made.memory.cache.timestamp == 2999)
        sent = len(transport.updates())
        assert sent < 300, "the rest waits"
        transport.stuck = False
        transport.pending = 0
        ref.tell(SocketDrained())
        await until(lambda: transport.replayed() == made.memory.cache.rows)
        assert len(transport.updates()) - sent <= 12 * 3


async def test_more_than_can_be_merged_closes_with_1013() -> None:
    async with world() as made, connection(made, hold_rows=10, max_rows=100) as (ref, transport):
        say(ref, "connection_init")
        subscribe(ref)
        driver = await made.run(1)
        driver.snapshot(1, ("0", "X", "0"))
        await until(transport.updates)
        transport.stuck = True
        driver.change(2, ("0", None))
        await until(lambda: transport.pending)
        for timestamp in range(3, 200):
            driver.change(timestamp, (str(timestamp), (str(timestamp), "Y", "1")))
        await until(lambda: transport.closed)
        assert transport.closed == (1013, "too slow: more changes wait than are kept")


async def test_every_subscription_of_a_socket_gets_a_timestamp_before_any_gets_the_next() -> None:
    async with world() as made, connection(made) as (ref, transport):
        say(ref, "connection_init")
        for operation_id, symbol in (("a", "X"), ("b", "Y")):
            where = f'trades(where: {{symbol: {{_eq: "{symbol}"}}}})'
            subscribe(ref, operation_id, QUERY.replace("trades", where))
        driver = await made.run(1)
        driver.snapshot(1)
        await until(lambda: made.state == "LIVE")
        for timestamp in range(2, 50):
            driver.change(timestamp, *((f"{timestamp}{symbol}", (f"{timestamp}0", symbol, "1")) for symbol in "XY"))
        await until(lambda: len(transport.updates()) == 96)
        timestamps = [int(update["timestamp"]) for update in transport.updates()]
        assert timestamps == sorted(timestamps)


async def test_operations_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    async with world() as made, connection(made, max_subscriptions=2) as (ref, transport):
        say(ref, "connection_init")
        for operation_id in "abc":
            subscribe(ref, operation_id)
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(lambda: len(transport.updates()) == 2)
        (error,) = [message for message in transport.messages if message["type"] == "error"]
        assert error["id"] == "c"
        assert error["payload"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
        say(ref, "complete", id="a")
        subscribe(ref, "c")
        await until(lambda: len(transport.updates()) == 3)


async def test_what_comes_for_an_unknown_subscription_is_answered_with_detach() -> None:
    async with world() as made, connection(made) as (ref, transport):
        say(ref, "connection_init")
        subscribe(ref)
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(transport.updates)
        (subscription,) = made.memory.views.subscriptions()
        say(ref, "complete", id="1")
        await until(lambda: len(made.memory.views) == 0)
        made.source.tell(Attach(subscription))
        await until(lambda: len(made.memory.views) == 0)
        assert len(transport.updates()) == 1
        made.source.tell(Detach(subscription))


async def test_a_failure_closes_with_1012_and_leaves_nothing_behind() -> None:
    async with world() as made, connection(made) as (ref, transport):
        say(ref, "connection_init")
        subscribe(ref)
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(transport.updates)
        ref.tell(Delivered([("no subscription", None)]))  # type: ignore[list-item]
        await until(lambda: transport.closed)
        assert transport.closed is not None
        assert transport.closed[0] == 1012
        await until(lambda: len(made.memory.views) == 0)


async def test_a_client_that_says_nothing_is_closed_with_4408_and_one_that_leaves_is_forgotten() -> None:
    async with world() as made, connection(made, init_timeout=0.01) as (ref, transport):
        await until(lambda: transport.closed)
        assert transport.closed == (4408, "Connection initialisation timeout")
        ref.tell(SocketClosed(1000, None))
        await until(lambda: not ref.is_alive())
