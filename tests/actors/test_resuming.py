"""Clients that are cut at any message and come back with their last cursor end with the right rows, whatever happened
meanwhile: more changes than are remembered, a database that was lost, a source that crashed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from actors.source_messages import Attach, Detach
from tests.actors.resuming import Client, Ping, marked
from tests.actors.support import World, until, world
from tests.views.calculated import TRADES, derivation, follower
from tests.views.support import Everything
from tycostream.databases.driver import DatabaseError
from tycostream.model import Change, Changes, Key, Progress, Resumed, Row
from tycostream.views import Derivation, RecentLimits
from tycostream.views.applying import ViewChange
from tycostream.views.pace import Rhythm

REMEMBERING = derivation((("high", 100, 90), ("low", 50, 40)))
FORGETTING = derivation((("high", 60, None),))
PRICE = 0b101
WISHES = [  # rules, filter, columns that are selected, rhythm
    (None, None, -1, None),
    (None, {"price": {"_gt": 50}}, -1, None),
    (None, {"symbol": {"_eq": "A"}}, PRICE, None),
    (FORGETTING, {"risk": {"_eq": "high"}}, -1, None),
    (REMEMBERING, {"risk": {"_is_null": False}}, -1, None),
    (None, None, -1, Rhythm(0.005)),
    (None, {"symbol": {"_eq": "A"}}, PRICE, Rhythm(0.005, 3)),
    (REMEMBERING, {"risk": {"_is_null": False}}, -1, Rhythm(0.005)),
]


class Poisoned:
    """A selection on which the source chokes once it has been asked so many times: after it has applied changes, before
    it tells anybody."""

    def __init__(self) -> None:
        self.armed = 0

    @property
    def interest(self) -> int:
        if self.armed:
            self.armed -= 1
            if not self.armed:
                raise RuntimeError("poison")
        return -1

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        return Everything().render(changes)


def row(key: int, price: int | None, symbol: str = "A") -> Row:
    return (str(key), symbol, None if price is None else str(price))


class History:
    """What happened in the database, and the clients that follow it."""

    def __init__(self, made: World, relation: str | None) -> None:
        self.made = made
        self.rows: dict[Key, Row] = {str(key): row(key, price) for key, price in ((1, 60), (2, 95), (3, None))}
        self.clock = 1
        self.relation = relation
        self.poison = Poisoned()
        self.went_back = False
        self.clients: list[Client] = []
        self.told: list[Changes] = []
        """What the drivers have reported since the last snapshot."""

    @property
    def driver(self) -> Any:
        return self.made.runs[-1]

    async def start(self, hold_rows: int) -> None:
        ref, _listener = self.made.listener()
        victim = follower(None, None, ref)
        victim.selection = self.poison
        self.made.source.tell(Attach(victim))
        for rules, where, interest, rhythm in WISHES:
            wish = replace(marked(follower(rules, where), interest, mark_end=interest == -1), rhythm=rhythm)
            client = Client(self.made, wish, hold_rows)
            self.clients.append(client)
            client.connect()
        (await self.made.run(1)).snapshot(1, *self.rows.values(), relation=self.relation)
        await until(lambda: self.made.state == "LIVE")

    def write(self, changes: list[tuple[int, Any, str]]) -> list[Change]:
        reported: list[Change] = []
        for number, price, symbol in changes:
            key = str(number)
            new = None if price == "gone" else row(number, price, symbol)
            self.rows.pop(key, None)
            if new is not None:
                self.rows[key] = new
            reported.append((key, new))
        return reported

    def commit(self, changes: list[tuple[int, Any, str]], *, report: bool = True) -> None:
        self.clock += 2
        event = Changes(self.clock, self.write(changes))
        self.told.append(event)
        if report:
            self.driver.emit(event)

    async def settle(self) -> None:
        memory = self.made.memory
        await until(lambda: memory.timestamp_delivered == self.clock and self.made.state == "LIVE")
        await until(lambda: memory.windows_due is None)
        for client in self.clients:
            await client.ref.ask(Ping(), block=False)
        assert self.made.memory.cache.rows == self.rows

    async def reload(self, changes: list[tuple[int, Any, str]], *, step: int, other: bool) -> None:
        """The connection is lost; what happened meanwhile is in the next snapshot. `step` is by how much its timestamp
        is later; `other`: the relation is another one."""
        await self.settle()
        self.write(changes)
        runs = len(self.made.runs)
        self.driver.fail(DatabaseError("lost"))
        await self.snapshot(runs + 1, step, other=other)

    async def snapshot(self, run: int, step: int, *, other: bool = False) -> None:
        driver = await self.made.run(run)
        self.clock += step
        self.went_back |= step < 0
        self.told.clear()
        if other and self.relation is not None:
            self.relation += "'"
        driver.snapshot(self.clock, *self.rows.values(), relation=self.relation)
        await until(lambda: self.made.memory.cache.rows == self.rows)
        await self.settle()

    async def resume(self, changes: list[tuple[int, Any, str]]) -> None:
        """The connection is lost, and the next one goes on where the source was."""
        await self.settle()
        runs = len(self.made.runs)
        self.driver.fail(DatabaseError("lost"))
        await self.go_on(runs + 1, changes)

    async def go_on(self, run: int, changes: list[tuple[int, Any, str]]) -> None:
        self.commit(changes, report=False)
        driver = await self.made.run(run)
        driver.emit(Resumed())
        for event in self.told:
            if event.timestamp > driver.resume.timestamp:
                driver.emit(event)
        await self.settle()

    async def crash(self, changes: list[tuple[int, Any, str]], asked: int, *, resumes: bool) -> None:
        """The source fails when it would tell of these, or of a piece of them."""
        await self.settle()
        first, runs = self.made.source, len(self.made.runs)
        self.poison.armed = asked
        self.commit(changes)
        directory = self.made.directory

        def over() -> bool:
            restarted = not first.is_alive() and directory.get(("source", "trades")) not in (None, first)
            return restarted or (first.is_alive() and self.made.memory.cache.timestamp == self.clock)

        await until(over)
        self.poison.armed = 0
        if first.is_alive():
            return
        if resumes:
            await self.go_on(runs + 1, [])
        else:
            await self.snapshot(runs + 1, 3)

    async def happen(self, action: str, what: Any) -> None:
        if action == "commit":
            self.commit(what)
        elif action == "progress":
            self.clock += 1
            self.driver.emit(Progress(self.clock))
        elif action == "settle":
            await self.settle()
        elif action == "reload":
            await self.reload(what[0], step=what[1], other=what[2])
        elif action == "resume":
            await self.resume(what)
        else:
            await self.crash(what[0], what[1], resumes=what[2])

    async def away(self, reading: dict[int, int], missed: list[tuple[str, Any]]) -> None:
        """Clients read so many messages of what waits for them, are cut, and come back after these events."""
        await self.settle()
        for number, messages in reading.items():
            self.clients[number].read(messages)
            self.clients[number].cut()
        for action, what in missed:
            await self.happen(action, what)
        for number in reading:
            self.clients[number].connect()
            await self.clients[number].until_attached()

    async def check(self) -> None:
        await self.settle()
        for client in self.clients:
            await client.until_attached()
        await self.settle()
        for client in self.clients:
            client.read()
            assert client.known() == client.expected()
            timestamps = [update.timestamp for update in client.heard]
            if not self.went_back:
                assert timestamps == sorted(timestamps)


async def follow(made: World, rules: Derivation | None = None, where: Any = None, **wishes: Any) -> Client:
    """A client that has read all there is."""
    client = Client(made, marked(follower(rules, where), **wishes), 1000)
    client.connect()
    await client.until_attached()
    client.read()
    return client


@asynccontextmanager
async def following(limits: RecentLimits | None = None, **config: Any) -> AsyncIterator[History]:
    """A source that somebody follows without cursors."""
    async with world(TRADES, limits, **config) as made:
        history = History(made, None)
        ref, _listener = made.listener()
        made.source.tell(Attach(follower(None, None, ref)))
        (await made.run(1)).snapshot(1, *history.rows.values())
        await until(lambda: made.state == "LIVE")
        yield history


async def back(history: History, client: Client) -> list[tuple[str, str, int, str | None]]:
    """What a client is told that comes back: operation, key, columns, mark."""
    client.connect()
    await client.until_attached()
    client.read()
    assert client.known() == client.expected()
    return [(one.operation, one.row[0] if one.row else "", one.changed, one.mark) for one in client.heard]


async def test_who_comes_back_is_told_what_was_missed_once_for_each_row() -> None:
    async with following() as history:
        client = await follow(history.made)
        assert [one.mark for one in client.heard] == ["RESET", "ROW", "ROW"]
        client.cut()
        history.commit([(1, 61, "A"), (2, "gone", "A"), (4, 1, "A")])
        history.commit([(1, 62, "A"), (4, "gone", "A"), (5, 1, "A")])
        await history.settle()
        assert await back(history, client) == [
            ("UPDATE", "1", 0b100, None),
            ("DELETE", "2", 0, None),
            ("INSERT", "5", 0, None),
        ]
        client.cut()
        assert await back(history, client) == [], "nothing is told twice"


async def test_who_comes_back_in_the_middle_of_a_window_is_told_once_and_so_are_those_who_wait_for_its_end() -> None:
    async with following() as history:
        wish = replace(marked(follower(None, None)), rhythm=Rhythm(1e9))
        waiting, coming = Client(history.made, wish, 1000), Client(history.made, wish, 1000)
        for client in (waiting, coming):
            client.connect()
            await client.until_attached()
            client.read()
        coming.cut()
        history.commit([(1, 61, "A"), (2, "gone", "A")])
        history.commit([(1, 62, "A"), (4, 1, "A")])
        await until(lambda: history.made.memory.timestamp_delivered == history.clock)
        waiting.read()
        assert waiting.known() != waiting.expected()
        missed = [("UPDATE", "1", 0b100, None), ("DELETE", "2", 0, None), ("INSERT", "4", 0, None)]
        assert await back(history, coming) == missed
        assert waiting.read() == 3
        assert waiting.known() == waiting.expected()
        waiting.cut()
        assert await back(history, waiting) == []


async def test_what_is_not_selected_is_not_told_either_to_who_comes_back() -> None:
    async with following() as history:
        client = await follow(history.made, interest=PRICE)
        client.cut()
        history.commit([(1, 60, "B"), (2, 96, "B")])
        await history.settle()
        assert await back(history, client) == [("UPDATE", "2", 0b110, None)]


async def test_what_a_crash_takes_back_is_not_remembered() -> None:
    async with following() as history:
        ref, _listener = history.made.listener()
        victim = follower(None, None, ref)
        victim.selection = history.poison
        history.made.source.tell(Attach(victim))
        client = await follow(history.made)
        client.cut()
        first, before = history.made.source, dict(history.rows)
        history.poison.armed = 1
        history.commit([(1, 61, "A"), (4, 1, "A")])
        await until(
            lambda: not first.is_alive() and history.made.directory.get(("source", "trades")) not in (None, first)
        )
        history.rows = before
        await history.snapshot(2, 3)
        assert await back(history, client) == []


async def test_who_was_away_for_too_long_is_told_to_begin_again() -> None:
    async with following(RecentLimits(rows=1)) as history:
        one = await follow(history.made)
        none = await follow(history.made, None, {"price": {"_gt": 1000}})
        assert none.heard == [], "who does not ask for marks is told nothing of no rows"
        none.cursor = one.cursor
        one.cut()
        none.cut()
        history.commit([(1, 61, "A"), (2, 61, "A")])
        await history.settle()
        assert {mark for *_, mark in await back(history, one)} == {"RESET", "ROW"}
        assert await back(history, none) == [("UPDATE", "", 0, "RESET")]


async def test_the_end_of_the_rows_is_told_to_who_asks() -> None:
    async with following() as history:
        client = await follow(history.made, mark_end=True)
        assert [one.mark for one in client.heard] == ["RESET", "ROW", "ROW", "END"]
        none = await follow(history.made, None, {"price": {"_gt": 1000}}, mark_end=True)
        assert [one.mark for one in none.heard] == ["RESET", "END"]
        client.cut()
        assert await back(history, client) == [("UPDATE", "", 0, "END")]


async def test_states_that_follow_from_the_row_are_resumed_and_those_with_a_past_while_it_is_known() -> None:
    async with following() as history:
        alone = await follow(history.made, FORGETTING)
        first, second = await follow(history.made, REMEMBERING), await follow(history.made, REMEMBERING)
        alone.cut()
        first.cut()
        history.commit([(1, 105, "A")])
        history.commit([(1, 95, "A")])
        await history.settle()
        assert await back(history, alone) == [("UPDATE", "1", 0b1100, None)]
        assert await back(history, first) == [("UPDATE", "1", 0b1100, None)]
        assert first.rows["1"] == ("1", "A", "95", "high", None)
        first.cut()
        second.cut()
        assert [mark for *_, mark in await back(history, first)] == ["RESET", "ROW", "ROW"]


async def test_nothing_is_remembered_until_somebody_has_a_cursor_and_when_the_source_rests() -> None:
    async with following(linger=0) as history:
        recent = history.made.memory.recent
        history.commit([(1, 61, "A")])
        await history.settle()
        assert not recent.kept
        client = await follow(history.made)
        history.commit([(1, 62, "A")])
        await history.settle()
        assert recent.details() == {"rows": 1, "bytes": recent.details()["bytes"], "after": "3"}
        client.cut()
        for one in list(history.made.memory.subscriptions()):
            history.made.source.tell(Detach(one))
        await until(lambda: history.made.state == "IDLE")
        assert not recent.kept


keys = st.integers(1, 5)
prices = st.sampled_from([None, 30, 45, 55, 65, 95, 105, "gone"])
changes = st.lists(st.tuples(keys, prices, st.sampled_from("AB")), min_size=1, max_size=7)
who = st.integers(0, len(WISHES) - 1)
few = st.integers(1, 6)
events = st.one_of(
    st.tuples(st.just("commit"), changes),
    st.tuples(st.just("commit"), changes),
    st.tuples(st.just("progress"), st.none()),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("reload"), st.tuples(changes, st.sampled_from([-3, 0, 1, 5, 5, 5]), st.booleans())),
    st.tuples(st.just("resume"), changes),
    st.tuples(st.just("crash"), st.tuples(changes, st.integers(1, 4), st.booleans())),
)
absences = st.tuples(st.lists(few, min_size=len(WISHES), max_size=len(WISHES)), st.lists(events, max_size=4))
steps = st.lists(
    st.one_of(
        events,
        st.tuples(st.just("read"), st.tuples(who, few)),
        st.tuples(st.just("check"), st.none()),
        # What everybody is told is on its way when each has read some of it and is cut; then things happen
        st.tuples(st.just("away"), absences),
        st.tuples(st.just("away"), absences),
        st.tuples(st.just("one away"), st.tuples(who, few, st.lists(events, max_size=3))),
    ),
    min_size=1,
    max_size=20,
)


@pytest.fixture
def small_pieces() -> Iterator[None]:
    """Whatever is done in pieces is done in small ones."""
    with (
        patch("actors.source.SLICE_ROWS", 2),
        patch("actors.ingest.SLICE_ROWS", 2),
        patch("actors.first_rows.SLICE_ROWS", 2),
        patch("tycostream.views.outbox.CHUNK_ROWS", 2),
        patch("tycostream.views.outbox.CHUNK_BYTES", 1),
    ):
        yield


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    happened=steps,
    rows=st.sampled_from([0, 3, 1000]),
    hold_rows=st.sampled_from([2, 1000]),
    relation=st.sampled_from([None, "u1"]),
)
@example(  # timestamps that come again
    happened=[("away", ([6] * len(WISHES), [("reload", ([(1, 55, "A"), (2, 105, "B")], 0, False))]))],
    rows=1000,
    hold_rows=1000,
    relation="u1",
)
@example(  # a row that is gone before the client has seen the end of the transaction that inserted it
    happened=[
        ("commit", [(1, "gone", "A"), (4, 95, "A"), (5, 95, "A")]),
        ("away", ([2] * len(WISHES), [("commit", [(4, "gone", "A")])])),
    ],
    rows=1000,
    hold_rows=1000,
    relation="u1",
)  # fmt: skip
def test_clients_that_are_cut_anywhere_end_with_the_right_rows(
    happened: list[tuple[str, Any]],
    rows: int,
    hold_rows: int,
    relation: str | None,
    io_loop: IOLoop,
    small_pieces: None,
) -> None:
    io_loop.run_sync(lambda: live_through(happened, RecentLimits(rows=rows), hold_rows, relation))


async def live_through(
    happened: list[tuple[str, Any]], limits: RecentLimits, hold_rows: int, relation: str | None
) -> None:
    async with world(TRADES, limits) as made:
        history = History(made, relation)
        await history.start(hold_rows)
        await history.check()
        for action, what in happened:
            if action == "read":
                history.clients[what[0]].read(what[1])
            elif action == "check":
                await history.check()
            elif action == "away":
                await history.away(dict(enumerate(what[0])), what[1])
            elif action == "one away":
                await history.away({what[0]: what[1]}, what[2])
            else:
                await history.happen(action, what)
        await history.check()
