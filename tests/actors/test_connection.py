"""The connection actor, under either protocol: a client that is slow, asks for too much, or goes away."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pykka import ActorRef

from actors.connection import (
    CloseConnection,
    ConnectionActor,
    FrameReceived,
    KeepAliveDue,
    SocketClosed,
    SocketDrained,
)
from actors.connection_limits import ConnectionConfig, SharedLimits
from actors.runtime import loop_actor, stop_actor
from actors.source_messages import Attach, Delivered, Detach, Refused
from tests.actors.support import World, until, world
from tests.support.client import BOTH, LEGACY_WS, TRANSPORT_WS, Words
from tests.views.support import SOURCE, Client
from tycostream.graphql import Engine, Limits
from tycostream.graphql.schema import build_schema
from tycostream.model import Catalog, Key, Row
from tycostream.views import Subscription
from tycostream.web.close_codes import CloseCode
from tycostream.web.transport import ConnectionInfo

QUERY = "subscription { trades { operation data { id symbol price } fields timestamp } }"


class SlowTransport:
    """A socket whose kernel takes what the test lets it take."""

    def __init__(self) -> None:
        self.stuck = False
        self.held_up = False
        """Something that is not the connection's stands before what it sends."""
        self.pending = 0
        self.acknowledged = None
        self.sends = 0
        self.closed: tuple[int, str] | None = None
        self.messages: list[dict[str, Any]] = []

    def send(self, frames: bytes) -> None:
        self.sends += 1
        self.messages += parse(frames)
        if self.stuck:
            self.pending += len(frames)
            self.on_blocked()

    @property
    def blocked(self) -> bool:
        return self.held_up or self.pending > 0

    def put(self, frames: bytes) -> int:
        assert not self.blocked, "something stands before it"
        if self.stuck:
            return len(frames) // 2
        self.send(frames)
        return len(frames)

    def left(self, frames: bytes, taken: int) -> None:
        assert taken == len(frames) // 2
        self.send(frames)

    def on_blocked(self) -> None:
        raise AssertionError("nobody listens")

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self.held_up = True
        self.on_blocked()

    def updates(self) -> list[dict[str, Any]]:
        return [one["payload"]["data"]["trades"] for one in self.messages if one["type"] in ("next", "data")]

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


class Connected:
    """A connection's actor, and what its client does and gets."""

    def __init__(self, ref: ActorRef[Any], transport: SlowTransport, words: Words, engine: Engine) -> None:
        self.ref, self.transport, self.words, self.engine = ref, transport, words, engine

    def say(self, kind: str, **rest: Any) -> None:
        self.ref.tell(FrameReceived(json.dumps({"type": kind, **rest})))

    def start(self, operation_id: str = "1", query: str = QUERY) -> None:
        self.say(self.words.start, id=operation_id, payload={"query": query})

    def stop(self, operation_id: str) -> None:
        self.say(self.words.stop, id=operation_id)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.transport.messages if message["type"] == kind]

    def error(self) -> dict[str, Any]:
        """The one error that was sent. A list has it under the newer protocol."""
        (message,) = self.of_type("error")
        payload = message["payload"]
        if self.words is TRANSPORT_WS:
            (payload,) = payload
        return {"id": message["id"], **payload}


def subscribed(client: Connected) -> list[dict[str, Any]]:
    """The client's subscriptions, as its actor knows them."""
    actor = loop_actor(client.ref)
    assert actor is not None
    found: list[dict[str, Any]] = actor.details()["subscriptions"]
    return found


def followed(made: World) -> list[Subscription]:
    """The subscriptions that the source knows."""
    return list(made.memory.views.subscriptions())


@pytest.fixture(params=BOTH.values(), ids=BOTH)
def words(request: pytest.FixtureRequest) -> Words:
    chosen: Words = request.param
    return chosen


@asynccontextmanager
async def connection(
    made: World, words: Words, shared: SharedLimits | None = None, **config: Any
) -> AsyncIterator[Connected]:
    transport = SlowTransport()
    engine = Engine(Catalog({"trades": SOURCE}, {}), Limits(), rows=None)  # type: ignore[arg-type]
    info = ConnectionInfo("127.0.0.1", words.protocol, None)
    ref = ConnectionActor.start(transport, info, engine, made.directory, ConnectionConfig(**config), shared)
    try:
        yield Connected(ref, transport, words, engine)
    finally:
        await stop_actor(ref)


async def test_a_client_that_does_not_read_gets_merged_changes_and_the_right_rows(words: Words) -> None:
    async with world() as made, connection(made, words, hold_rows=50) as client:
        client.say("connection_init")
        client.start()
        driver = await made.run(1)
        driver.snapshot(1, *((str(number), "X", "0.0") for number in range(10)))
        await until(lambda: len(client.transport.updates()) == 10)
        client.transport.stuck = True
        for timestamp in range(2, 3000):
            key = str(timestamp % 12)
            driver.change(timestamp, (key, None if timestamp % 31 == 0 else (key, "Y", f"{timestamp}.5")))
        await until(lambda: made.memory.cache.timestamp == 2999)
        sent = len(client.transport.updates())
        assert sent < 300, "the rest waits"
        client.transport.stuck = False
        client.transport.pending = 0
        client.ref.tell(SocketDrained())
        await until(lambda: client.transport.replayed() == made.memory.cache.rows)
        assert len(client.transport.updates()) - sent <= 12 * 3


async def test_more_than_can_be_merged_closes_with_1013(words: Words) -> None:
    async with world() as made, connection(made, words, hold_rows=10, max_rows=100) as client:
        client.say("connection_init")
        client.start()
        driver = await made.run(1)
        driver.snapshot(1, ("0", "X", "0"))
        await until(client.transport.updates)
        client.transport.stuck = True
        driver.change(2, ("0", None))
        await until(lambda: client.transport.pending)
        for timestamp in range(3, 200):
            driver.change(timestamp, (str(timestamp), (str(timestamp), "Y", "1")))
        await until(lambda: client.transport.closed)
        code, reason = client.transport.closed or (0, "")
        assert code == 1013
        assert re.fullmatch(r"too slow: \d{3} merged changes wait, more than the 100 that are kept", reason)


async def test_one_transaction_may_be_larger_than_what_may_wait(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start()
        driver = await made.run(1)
        driver.snapshot(1)
        await until(lambda: made.state == "LIVE")
        client.transport.stuck = True
        large = "x" * 100_000
        driver.change(2, *((str(number), (str(number), large, "1")) for number in range(200)))
        await until(lambda: client.transport.pending > ConnectionConfig().max_pending_bytes)
        client.start("2", "{ nothing }")
        await until(lambda: client.of_type("error"))
        assert client.transport.closed is None
        client.transport.stuck, client.transport.pending = False, 0
        client.ref.tell(SocketDrained())
        driver.change(3, ("0", None))
        await until(lambda: client.transport.replayed() == made.memory.cache.rows)


async def test_answers_that_are_not_read_close_with_1013(words: Words) -> None:
    async with world() as made, connection(made, words, max_pending_bytes=10_000) as client:
        client.say("connection_init")
        client.transport.stuck = True
        for number in range(1000):
            client.start(f"{number}", "{ nothing }")
        await until(lambda: client.transport.closed)
        assert client.transport.closed == (1013, "too slow: answers are not being read")
        assert client.transport.pending < 12_000


async def test_every_subscription_of_a_socket_gets_a_timestamp_before_any_gets_the_next(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        for operation_id, symbol in (("a", "X"), ("b", "Y")):
            where = f'trades(where: {{symbol: {{_eq: "{symbol}"}}}})'
            client.start(operation_id, QUERY.replace("trades", where))
        driver = await made.run(1)
        driver.snapshot(1)
        await until(lambda: made.state == "LIVE")
        for timestamp in range(2, 50):
            driver.change(timestamp, *((f"{timestamp}{symbol}", (f"{timestamp}0", symbol, "1")) for symbol in "XY"))
        await until(lambda: len(client.transport.updates()) == 96)
        timestamps = [int(update["timestamp"]) for update in client.transport.updates()]
        assert timestamps == sorted(timestamps)


async def test_operations_beyond_the_limit_are_refused_and_the_others_go_on(words: Words) -> None:
    async with world() as made, connection(made, words, max_subscriptions=2) as client:
        client.say("connection_init")
        for operation_id in "abc":
            client.start(operation_id)
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(lambda: len(client.transport.updates()) == 2)
        error = client.error()
        assert (error["id"], error["extensions"]["code"]) == ("c", "LIMIT_EXCEEDED")
        client.stop("a")
        client.start("c")
        await until(lambda: len(client.transport.updates()) == 3)


async def test_what_comes_for_an_unknown_subscription_is_answered_with_detach(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start()
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(client.transport.updates)
        (subscription,) = followed(made)
        client.stop("1")
        await until(lambda: len(made.memory.views) == 0)
        made.source.tell(Attach(subscription))
        await until(lambda: len(made.memory.views) == 0)
        assert len(client.transport.updates()) == 1
        made.source.tell(Detach(subscription))


async def test_a_failure_closes_with_1012_and_leaves_nothing_behind(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start()
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(client.transport.updates)
        client.ref.tell(Delivered([("no subscription", None)]))  # type: ignore[list-item]
        await until(lambda: client.transport.closed)
        assert client.transport.closed is not None
        assert client.transport.closed[0] == 1012
        await until(lambda: len(made.memory.views) == 0)


async def test_a_client_that_says_nothing_is_closed_with_4408_and_one_that_leaves_is_forgotten(words: Words) -> None:
    async with world() as made, connection(made, words, init_timeout=0.01) as client:
        await until(lambda: client.transport.closed)
        assert client.transport.closed == (4408, "Connection initialisation timeout")
        client.ref.tell(SocketClosed(1000, None))
        await until(lambda: not client.ref.is_alive())


async def test_an_operation_that_the_source_refuses_ends_with_an_error(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start("a")
        client.start("b")
        driver = await made.run(1)
        driver.snapshot(1)
        await until(lambda: len(followed(made)) == 2)
        subscription = next(one for one in followed(made) if one.operation_id == "a")
        client.ref.tell(Refused(subscription, "the source has failed"))
        client.ref.tell(Refused(subscription, "told twice"))
        await until(lambda: client.of_type("error"))
        assert client.error() == {
            "id": "a", "message": "the source has failed", "extensions": {"code": "SOURCE_UNAVAILABLE"}
        }  # fmt: skip
        driver.change(2, ("1", ("1", "X", "1")))
        await until(client.transport.updates)
        await until(lambda: len(followed(made)) == 1)
        assert {message["id"] for message in client.of_type(words.result)} == {"b"}


async def test_a_source_that_is_being_restarted_is_an_error(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        del made.directory["source", "trades"]
        client.say("connection_init")
        client.start("a")
        await until(lambda: client.of_type("error"))
        assert client.error()["extensions"] == {"code": "SOURCE_UNAVAILABLE"}


async def test_who_would_rather_wait_waits_for_a_source_that_is_being_restarted(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        source = made.directory.pop(("source", "trades"))
        client.say("connection_init")
        waiting = QUERY.replace("trades", "trades(on_unavailable: WAIT)")
        for operation_id in "ab":
            client.start(operation_id, waiting)
        await until(lambda: len(subscribed(client)) == 2)
        client.stop("a")
        made.directory["source", "trades"] = source
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(client.transport.updates)
        assert {message["id"] for message in client.of_type(words.result)} == {"b"}
        made.directory.pop(("source", "trades"))
        client.stop("b")
        await until(lambda: not subscribed(client))
        made.directory["source", "trades"] = source
        await until(lambda: not followed(made))
        assert not client.of_type("error")


async def test_a_source_that_did_not_come_back_as_it_was_is_an_error(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        source = made.directory.pop(("source", "trades"))
        client.say("connection_init")
        client.start("a", QUERY.replace("trades", "trades(on_unavailable: WAIT)"))
        await until(lambda: subscribed(client))
        changed = Catalog({"trades": replace(SOURCE, description="another one")}, {})
        client.engine.adopt(changed, build_schema(changed))
        made.directory["source", "trades"] = source
        await until(lambda: client.of_type("error"))
        assert client.error()["extensions"] == {"code": "SCHEMA_CHANGED"}
        assert not subscribed(client)
        assert not made.runs


async def test_a_document_that_is_wrong_is_an_error_and_its_id_is_free(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start("a", "subscription { nothing { operation } }")
        client.start("a")
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(client.transport.updates)
        assert client.error()["id"] == "a"
        assert "nothing" in client.error()["message"]


async def test_nothing_comes_after_the_client_has_ended_an_operation(words: Words) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start("a")
        client.start("b")
        driver = await made.run(1)
        driver.snapshot(1, ("1", "X", "1"))
        await until(lambda: len(client.transport.updates()) == 2)
        client.stop("a")
        await until(lambda: len(followed(made)) == 1)
        driver.change(2, ("1", ("1", "X", "2")))
        await until(lambda: len(client.transport.updates()) == 3)
        assert client.transport.messages[-1]["id"] == "b"
        completed = [message["id"] for message in client.of_type("complete")]
        assert completed == ([] if words is TRANSPORT_WS else ["a"])


@pytest.mark.parametrize("reason", ["stop", "close"])
async def test_a_connection_that_is_ended_says_why(words: Words, reason: str) -> None:
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start()
        (await made.run(1)).snapshot(1)
        await until(lambda: len(followed(made)) == 1)
        if reason == "stop":
            await stop_actor(client.ref)
            assert client.transport.closed == (1001, "the server is being stopped")
        else:
            client.ref.tell(CloseConnection(CloseCode.TRY_AGAIN_LATER, "later"))
            await until(lambda: client.transport.closed)
            assert client.transport.closed == (1013, "later")
            client.ref.tell(SocketClosed(1013, "later"))
        await until(lambda: len(made.memory.views) == 0)


async def test_a_second_operation_of_one_id_replaces_the_first_under_the_older_protocol() -> None:
    async with world() as made, connection(made, LEGACY_WS) as client:
        client.say("connection_init")
        client.start("a")
        driver = await made.run(1)
        driver.snapshot(1, ("1", "X", "1"))
        await until(client.transport.updates)
        client.start("a", QUERY.replace("trades", 'trades(where: {symbol: {_eq: "Y"}})'))
        await until(lambda: [one.filter.to_json() for one in followed(made)] != [{}])
        (subscription,) = followed(made)
        assert subscription.operation_id == "a"
        driver.change(2, ("1", ("1", "X", "2")), ("2", ("2", "Y", "1")))
        await until(lambda: len(client.transport.updates()) == 2)
        assert [update["data"]["id"] for update in client.transport.updates()] == [1, 2]
        assert not client.of_type("complete")


async def test_a_query_that_is_replaced_or_stopped_is_not_answered_under_the_older_protocol() -> None:
    async with world() as made, connection(made, LEGACY_WS) as client:
        client.say("connection_init")
        for _ in range(3):
            client.start("a", "{ __typename }")
        client.start("b", "{ __typename }")
        client.stop("b")
        await until(lambda: len(client.of_type("complete")) == 2)
        assert [(message["id"], message["payload"]) for message in client.of_type("data")] == [
            ("a", {"data": {"__typename": "Query"}})
        ]
        assert sorted(message["id"] for message in client.of_type("complete")) == ["a", "b"]


async def test_no_keep_alive_follows_a_close() -> None:
    async with world() as made, connection(made, LEGACY_WS) as client:
        client.say("connection_init")
        client.ref.tell(CloseConnection(CloseCode.TRY_AGAIN_LATER))
        client.ref.tell(KeepAliveDue())
        client.ref.tell(SocketClosed(1013, None))
        await until(lambda: not client.ref.is_alive())
        assert len(client.of_type("ka")) == 1


async def test_keep_alives_come_until_the_end_under_the_older_protocol() -> None:
    async with world() as made, connection(made, LEGACY_WS, ping=0.001) as client:
        client.say("connection_init")
        await until(lambda: len(client.of_type("ka")) > 5)
        assert [message["type"] for message in client.transport.messages[:2]] == ["connection_ack", "ka"]
        client.say("connection_terminate")
        await until(lambda: client.transport.closed)
        assert client.transport.closed == (1000, "the client terminated the connection")
        sent = client.transport.sends
        client.ref.tell(KeepAliveDue())
        client.ref.tell(SocketClosed(1000, None))
        await until(lambda: not client.ref.is_alive())
        assert client.transport.sends == sent


@pytest.mark.parametrize(("chosen", "ping"), [(TRANSPORT_WS, 12.0), (LEGACY_WS, 0.0), (LEGACY_WS, 12.0)])
async def test_only_a_protocol_that_needs_keep_alives_has_a_timer(chosen: Words, ping: float) -> None:
    async with world() as made, connection(made, chosen, ping=ping) as client:
        client.say("connection_init")
        await until(lambda: client.of_type("connection_ack"))
        actor = client.ref._actor_weakref()
        assert isinstance(actor, ConnectionActor)
        timers = set(actor._timers)  # one of them awaits the client's beginning
        assert len(timers) == (1 if chosen is TRANSPORT_WS or not ping else 2)
        await stop_actor(client.ref)
        assert all(timer.cancelled() for timer in timers)
