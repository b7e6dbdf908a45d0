"""Whether a change goes straight to the socket or through the connection: clients get the same, in the same order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors import handing_out
from actors.connection import ConnectionActor, SocketDrained
from actors.source_messages import Delivered
from tests.actors.support import World, until, world
from tests.actors.test_connection import Connected, connection
from tests.support.client import TRANSPORT_WS
from tests.views.support import SOURCE, Client, applied, subscription
from tycostream.graphql.rendering import Selection
from tycostream.metrics import ClientCounts
from tycostream.model import Row
from tycostream.views import Outlet, RowCache, Subscription, Views, outbox
from tycostream.web.close_codes import CloseCode

ROWS: list[Row] = [(str(key), "X", "1") for key in range(3)]
FILTERS = ["", '(where: {symbol: {_eq: "X"}})']


def query(which: int) -> str:
    """A subscription under a response key of its own, so that one result can't be taken for another's."""
    return f"subscription {{ r{which}: trades{FILTERS[which % 2]} {{ operation data {{ id symbol price }} fields }} }}"


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CHUNK_ROWS", 1)


class Socket:
    """Takes everything."""

    def __init__(self) -> None:
        self.had: list[bytes] = []

    def put(self, frames: bytes) -> int:
        self.had.append(frames)
        return len(frames)

    def left(self, _frames: bytes, _taken: int) -> None:
        raise AssertionError("nothing is left")


def follow(views: Views, number: int, socket: Socket, operation_id: str = "1", where: Any = None) -> Subscription:
    """A subscription whose connection has that number, and nothing before it."""
    one = replace(subscription(operation_id, where), outlet=Outlet(number, socket))
    views.add(one)
    one.outlet.release()
    return one


class Replayed:
    """What the client knows, by the operations that it has started."""

    def __init__(self, client: Connected) -> None:
        self._client = client
        self._read = 0
        self._counter = 0
        self.running: dict[str, tuple[int, Client]] = {}

    def start(self, operation_id: str) -> None:
        if operation_id in self.running:
            self._client.stop(operation_id)
        self._counter += 1
        self.running[operation_id] = (self._counter, Client())
        self._client.start(operation_id, query(self._counter))

    def stop(self, operation_id: str) -> None:
        if self.running.pop(operation_id, None):
            self._client.stop(operation_id)

    def read(self) -> None:
        """Replay what came. A result of another operation than the one that has its id now is from before its end."""
        messages = self._client.transport.messages
        for message in messages[self._read :]:
            if message["type"] != "next":
                assert message["type"] == "connection_ack"
                continue
            ((key, update),) = message["payload"]["data"].items()
            which, replayed = self.running.get(message["id"], (0, Client()))
            if key == f"r{which}":
                row = tuple(None if value is None else str(value) for value in update["data"].values())
                mask = sum(1 << SOURCE.positions[name] for name in update["fields"])
                replayed.hear(update["operation"], row, mask, 0)
        self._read = len(messages)

    def right(self, made: World) -> bool:
        self.read()
        rows = {key: (row[0], row[1], str(float(row[2] or 0))) for key, row in made.memory.cache.rows.items()}
        return all(
            {key: (row[0], row[1], str(float(row[2] or 0))) for key, row in replayed.rows.items()}
            == {key: row for key, row in rows.items() if which % 2 == 0 or row[1] == "X"}
            for which, replayed in self.running.values()
        )


_steps = st.one_of(
    st.tuples(st.just("change"), st.integers(0, 5), st.sampled_from(["X", "Y", None]), st.integers(1, 4)),
    st.tuples(st.sampled_from(["start", "stop"]), st.sampled_from(["a", "b", "a longer id"])),
    st.tuples(st.sampled_from(["stick", "drain", "turn", "settle"])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_steps, max_size=40))
def test_any_mix_of_ways_brings_every_subscription_to_the_rows(
    io_loop: Any, small_pieces: None, steps: list[tuple[Any, ...]]
) -> None:
    io_loop.run_sync(lambda: _live_through(steps))


async def _live_through(steps: list[tuple[Any, ...]]) -> None:
    async with world() as made, connection(made, TRANSPORT_WS, hold_rows=6) as client:
        client.say("connection_init")
        replayed = Replayed(client)
        replayed.start("a")
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        timestamp = 1
        for step, *rest in steps:
            match step:
                case "change":
                    key, symbol, count = rest
                    timestamp += 1
                    changes = [
                        (str(at), None if symbol is None else (str(at), symbol, str(timestamp)))
                        for at in range(key, key + count)
                    ]
                    driver.change(timestamp, *changes)
                case "start":
                    replayed.start(*rest)
                case "stop":
                    replayed.stop(*rest)
                case "stick":
                    client.transport.stuck = True
                case "drain":
                    client.transport.stuck, client.transport.pending = False, 0
                    client.ref.tell(SocketDrained())
                case "turn":
                    await asyncio.sleep(0)
                case "settle":
                    await until(lambda: client.transport.stuck or replayed.right(made))
        client.transport.stuck, client.transport.pending = False, 0
        client.ref.tell(SocketDrained())
        await until(lambda: made.memory.cache.timestamp == timestamp and replayed.right(made))


async def test_a_client_that_is_free_is_not_told_by_message(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as made, connection(made, TRANSPORT_WS) as client:
        client.say("connection_init")
        client.start("a", query(2))
        client.start("longer", query(2))
        client.start("b", query(2))
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        await until(lambda: len(client.of_type("next")) == 9)
        told: list[Any] = []
        monkeypatch.setitem(client.ref._actor_weakref()._handlers, Delivered, lambda _, message: told.append(message))
        sends = client.transport.sends
        driver.change(2, ("0", ("0", "X", "2")), ("1", ("1", "X", "2")))
        await until(lambda: len(client.of_type("next")) == 15)
        assert not told
        assert client.transport.sends == sends + 1, "one send for all subscriptions"
        order = [(one["id"], one["payload"]["data"]["r2"]["data"]["id"]) for one in client.of_type("next")[9:]]
        ids = ("a", "b", "longer")
        assert order == [*((one, 0) for one in ids), *((one, 1) for one in ids)], "a change to all, then the next"


async def test_what_can_not_be_rendered_ends_the_client_that_asked_for_it_and_not_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as made, connection(made, TRANSPORT_WS) as client:
        client.say("connection_init")
        client.start("a", query(2))
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        await until(lambda: len(client.of_type("next")) == 3)
        source = made.source
        monkeypatch.setattr(Selection, "render", None)
        driver.change(2, ("0", ("0", "X", "2")))
        await until(lambda: client.transport.closed)
        assert client.transport.closed[0] == CloseCode.SERVICE_RESTART
        await until(lambda: not list(made.memory.subscriptions()))
        assert made.source is source
        assert source.is_alive()


async def test_nothing_goes_past_what_others_have_put_before_it() -> None:
    async with world() as made, connection(made, TRANSPORT_WS) as client:
        client.say("connection_init")
        client.start("a", query(2))
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        await until(lambda: len(client.of_type("next")) == 3)
        client.transport.held_up = True
        client.transport.on_blocked()
        client.say("ping")  # a turn of the connection, at whose end it is not free
        await until(lambda: client.of_type("pong"))
        driver.change(2, ("0", ("0", "X", "2")))
        await until(lambda: len(client.of_type("next")) == 4)  # by message: a direct one would fail
        client.transport.held_up = False
        client.ref.tell(SocketDrained())
        driver.change(3, ("0", ("0", "X", "3")))
        await until(lambda: len(client.of_type("next")) == 5)


def test_nothing_goes_past_a_message_to_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_out, "MOST_SENDS", 1)
    views, sockets = Views(), [Socket(), Socket()]
    ones = [follow(views, number, socket) for number, socket in enumerate(sockets)]
    cache = RowCache(SOURCE)
    views.route(applied(cache, [("0", ROWS[0])], 1))
    told = handing_out.hand_out(views.flush(), ClientCounts())
    assert [len(socket.had) for socket in sockets] == [1, 0]
    assert list(told) == [1]
    assert [one.outlet.free for one in ones] == [True, False]
    views.route(applied(cache, [("0", None)], 2))
    monkeypatch.setattr(handing_out, "MOST_SENDS", 2)
    assert list(handing_out.hand_out(views.flush(), ClientCounts())) == [1]
    assert [len(socket.had) for socket in sockets] == [2, 0]


@pytest.mark.parametrize("own_ids", [True, False])
def test_all_groups_share_what_may_be_sent_and_every_byte_is_counted(
    monkeypatch: pytest.MonkeyPatch, own_ids: bool
) -> None:
    monkeypatch.setattr(handing_out, "MOST_SENDS", 4)
    views, sockets, counts = Views(), [Socket() for _ in range(6)], ClientCounts()
    for number, socket in enumerate(sockets):
        where = {"symbol": {"_eq": "X"}} if number < 3 else None
        follow(views, number, socket, f"{number * own_ids:03}", where)
    views.route(applied(RowCache(SOURCE), [("0", ROWS[0])], 1))
    told = handing_out.hand_out(views.flush(), counts)
    sent = [bool(socket.had) for socket in sockets]
    assert sum(sent) == 4
    assert set(told) == {number for number, had in enumerate(sent) if not had}
    assert counts.sent == sum(len(frames) for socket in sockets for frames in socket.had)


async def test_beyond_so_many_sends_clients_are_told_by_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing_out, "MOST_SENDS", 1)
    async with (
        world() as made,
        connection(made, TRANSPORT_WS) as first,
        connection(made, TRANSPORT_WS) as second,
    ):
        for client in (first, second):
            client.say("connection_init")
            client.start("a", query(2))
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        await until(lambda: all(len(client.of_type("next")) == 3 for client in (first, second)))
        told: list[Any] = []
        hear = ConnectionActor._handlers[Delivered]

        def heard(actor: ConnectionActor, message: Delivered) -> Any:
            told.append(actor)
            return hear(actor, message)

        monkeypatch.setitem(ConnectionActor._handlers, Delivered, heard)
        driver.change(2, ("0", ("0", "X", "2")))
        await until(lambda: all(len(client.of_type("next")) == 4 for client in (first, second)))
        assert len(told) == 1
