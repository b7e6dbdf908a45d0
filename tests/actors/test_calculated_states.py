"""A source whose followers calculate states of its rows: shared by equal rules, right whenever they came, kept through a
crash."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pykka import ActorRef
from tornado.ioloop import IOLoop

from actors.runtime import LoopActor, handles, stop_actor
from actors.source_messages import Attach, CrossingsWait, Detach, ShowRow, StartWatch, StopWatch
from tests.actors.support import Listener, World, until, world
from tests.views.calculated import TRADES, Levels, Model, derivation, follower
from tests.views.support import Client, Everything
from tycostream.filters import parse_filter
from tycostream.model import Key, Row
from tycostream.triggers.watches import Happening, Watch
from tycostream.views import Derivation, Subscription
from tycostream.views.applying import ViewChange
from tycostream.views.states import Rule

LEVELS: Levels = (("high", 100, 90), ("low", 50, 40))
OTHERS: Levels = (("high", 60, None),)


class Poisoned:
    """A selection on which the source chokes when it is armed: after it has applied a change, before it tells anybody."""

    def __init__(self) -> None:
        self.armed = False

    @property
    def interest(self) -> int:
        if self.armed:
            self.armed = False
            raise RuntimeError("poison")
        return -1

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        return Everything().render(changes)


def row(key: int, price: int | None, symbol: str = "A") -> Row:
    return (str(key), symbol, None if price is None else str(price))


async def details(made: World) -> Any:
    return made.source._actor_weakref().details()  # type: ignore[attr-defined]


async def attach(
    made: World, levels: Levels | None, where: dict[str, Any] | None = None
) -> tuple[Subscription, Listener]:
    ref, listener = made.listener()
    one = follower(None if levels is None else derivation(levels), where, ref)
    made.source.tell(Attach(one))
    await until(lambda: one in listener.clients)
    return one, listener


def rows_of(listener: Listener) -> dict[Key, Row]:
    (client,) = listener.clients.values()
    return client.rows


@pytest.fixture
def small_slices() -> Iterator[None]:
    """Every work of more than two rows gives the loop its turn."""
    with patch("actors.source.SLICE_ROWS", 2), patch("actors.ingest.SLICE_ROWS", 2):
        yield


async def live(made: World, *rows: Row) -> Any:
    ref, _listener = made.listener()
    first = follower(None, None, ref)
    made.source.tell(Attach(first))
    driver = await made.run(1)
    driver.snapshot(1, *rows)
    await until(lambda: made.state == "LIVE")
    return driver


async def test_equal_rules_are_worked_out_once_for_all_who_give_them() -> None:
    async with world(TRADES) as made:
        driver = await live(made, *(row(key, 60) for key in range(10)))
        one, first = await attach(made, LEVELS)
        two, second = await attach(made, LEVELS, {"risk": {"_eq": "low"}})
        three, third = await attach(made, OTHERS)
        told = (await details(made))["derivations"]
        assert [(one["evaluated"], one["rows_in_a_state"], len(one["views"])) for one in told] == [
            (10, 10, 2),
            (10, 0, 1),
        ]
        driver.change(2, ("1", row(1, 61)))
        driver.change(3, ("1", row(1, 61, "B")))  # no rule reads the symbol
        await until(lambda: all(rows_of(one)["1"][1] == "B" for one in (first, second, third)))
        told = (await details(made))["derivations"]
        assert [one["evaluated"] for one in told] == [11, 11]
        assert rows_of(first)["1"] == rows_of(second)["1"] == ("1", "B", "61", "low", None)
        assert rows_of(third)["1"] == ("1", "B", "61", "high", None)
        for gone in (one, two):
            made.source.tell(Detach(gone))
        await until(lambda: len(made.memory.audiences) == 1)
        made.source.tell(Detach(three))
        await until(lambda: not made.memory.audiences)
        assert len(made.memory.views) == 1


async def test_who_comes_later_with_equal_rules_sees_the_states_that_are_remembered() -> None:
    async with world(TRADES) as made:
        driver = await live(made, row(1, 101))
        await attach(made, LEVELS)
        driver.change(2, ("1", row(1, 95)))
        await until(lambda: made.memory.cache.timestamp == 2)
        _, late = await attach(made, LEVELS)
        assert rows_of(late)["1"] == (*row(1, 95), "high", None)
        _, without_a_past = await attach(made, (*LEVELS, ("low", 1000, None)))
        assert rows_of(without_a_past)["1"] == (*row(1, 95), "low", None)


async def test_those_who_wait_for_the_first_rows_get_states_too(small_slices: None) -> None:
    async with world(TRADES) as made:
        refs = [made.listener() for _ in range(3)]
        for (ref, _), levels in zip(refs, (LEVELS, LEVELS, OTHERS), strict=True):
            made.source.tell(Attach(follower(derivation(levels), {"risk": {"_is_null": False}}, ref)))
        (await made.run(1)).snapshot(1, *(row(key, 61) for key in range(9)), row(9, 1))
        await until(lambda: all(listener.clients for _, listener in refs))
        assert [{one[3] for one in rows_of(listener).values()} for _, listener in refs] == [{"low"}, {"low"}, {"high"}]
        assert [len(rows_of(listener)) for _, listener in refs] == [9, 9, 9]


async def test_a_client_that_has_gone_before_it_is_served_leaves_no_states(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(TRADES) as made:
        await live(made, row(1, 60))
        ref, _ = made.listener()
        gone = follower(derivation(LEVELS), None, ref)
        monkeypatch.setattr(ref, "actor_stopped", stopped := threading.Event())
        stopped.set()
        made.source.tell(Attach(gone))
        _, other = await attach(made, OTHERS)
        assert rows_of(other)
        assert len(made.memory.audiences) == 1
        monkeypatch.undo()


async def test_a_source_that_fails_while_states_are_worked_out_refuses_who_asked(small_slices: None) -> None:
    async with world(TRADES) as made:
        await live(made, *(row(key, 60) for key in range(9)))
        ref, listener = made.listener()
        failing = patch("tycostream.views.derived.Derived.look_at", side_effect=[None, RuntimeError("poison")])
        with failing:
            made.source.tell(Attach(follower(derivation(LEVELS), None, ref)))
            await until(lambda: listener.refused)
        assert listener.refused == ["source trades failed; subscribe again"]
        assert not made.memory.audiences


async def test_a_crash_between_the_first_rows_and_their_delivery_keeps_them(small_slices: None) -> None:
    async with world(TRADES) as made:
        plain_ref, plain = made.listener()
        made.source.tell(Attach(follower(None, None, plain_ref)))
        ref, listener = made.listener()
        made.source.tell(Attach(follower(derivation(LEVELS), None, ref)))
        driver = await made.run(1)
        with patch("tycostream.views.derived.Derived.look_at", side_effect=RuntimeError("poison")):
            driver.snapshot(1, row(1, 60))
            await until(lambda: listener.refused)
        (await made.run(2)).snapshot(2, row(1, 70))
        await until(lambda: plain.clients and rows_of(plain) == {"1": row(1, 70)})


# Any history

prices = st.none() | st.integers(30, 110) | st.just("gone")
transactions = st.lists(st.tuples(st.integers(1, 4), prices, st.sampled_from("AB")), min_size=1, max_size=5)
WHERES: list[dict[str, Any] | None] = [
    None, {"risk": {"_eq": "low"}}, {"price": {"_gt": 60}}, {"_or": [{"risk": {"_is_null": True}}, {"risk": {"_gt": "low"}}]},
]  # fmt: skip
RULES: list[Levels | None] = [None, LEVELS, OTHERS, (("low", 45, 70), ("high", 80, None), ("low", 30, None))]
histories = st.lists(
    st.one_of(
        transactions.map(lambda changes: ("commit", changes)),
        transactions.map(lambda changes: ("crash", changes)),
        st.tuples(st.integers(0, len(RULES) - 1), st.integers(0, len(WHERES) - 1)).map(lambda wish: ("attach", wish)),
        st.tuples(st.integers(0, len(RULES) - 1), st.integers(0, len(WHERES) - 1)).map(lambda wish: ("attach", wish)),
        st.integers(0, 5).map(lambda which: ("detach", which)),
        st.just(("settle", None)),
    ),
    max_size=20,
)


class Follower:
    """One subscription and what it is to see."""

    def __init__(self, subscription: Subscription, listener: Listener, model: Model | None) -> None:
        self.subscription = subscription
        self.listener = listener
        self.model = model

    @property
    def client(self) -> Client | None:
        return self.listener.clients.get(self.subscription)

    def expected(self, rows: dict[Key, Row]) -> dict[Key, Row]:
        seen = rows if self.model is None else self.model.extended()
        return {key: known for key, known in seen.items() if self.subscription.filter.matches(known)}


HIGH = Rule("fired", parse_filter(TRADES.extended, {"risk": {"_eq": "high"}}))


class Trigger(LoopActor):
    """Keeps to what it is told: the rows that have fired and not cleared."""

    kind = "trigger"

    def __init__(self, rule: Rule, rules: Levels) -> None:
        super().__init__()
        self.fired: set[Key] = set()
        self.watch = Watch(rule, derivation(rules), self.actor_ref)

    @handles(CrossingsWait)
    def hear(self, _message: CrossingsWait) -> None:
        for crossing in self.watch.crossings:
            assert (crossing.key in self.fired) is (crossing.happening is Happening.CLEAR)
            self.fired ^= {crossing.key}
        self.watch.crossings.clear()


async def test_a_trigger_that_comes_later_sees_the_states_that_are_remembered() -> None:
    async with world(TRADES) as made:
        driver = await live(made, row(1, 101), row(2, 101))
        one, _ = await attach(made, LEVELS)
        driver.change(2, ("1", row(1, 95)), ("2", row(2, 60)))
        await until(lambda: made.memory.cache.timestamp == 2)
        ref = Trigger.start(HIGH, LEVELS)
        trigger: Trigger = ref._actor_weakref()
        assert await made.source.ask(StartWatch(trigger.watch, fire_existing=True), block=False)
        await until(lambda: trigger.fired == {"1"})
        made.source.tell(Detach(one))
        shown = await made.source.ask(ShowRow("1", derivation(LEVELS)), block=False)
        assert shown == ((*row(1, 95), "high", None), 2), "the trigger keeps what is remembered"
        made.source.tell(StopWatch(trigger.watch))
        shown = await made.source.ask(ShowRow("1", derivation(LEVELS)), block=False)
        assert shown == ((*row(1, 95), "low", None), 2)
        assert not made.memory.audiences
        await stop_actor(ref)


class History:
    """The test's own account of a history, beside the source that lives through it. A trigger follows to the end: it
    fires where the state is high."""

    def __init__(self, made: World, poison: Poisoned, rules: Levels) -> None:
        self.made = made
        self.trigger_ref = Trigger.start(HIGH, rules)
        self.trigger: Trigger = self.trigger_ref._actor_weakref()
        self.trigger_rules = rules
        self.poison = poison
        self.rows: dict[Key, Row] = {"1": row(1, 60), "2": row(2, 95), "3": row(3, None)}
        self.clock = 1
        self.runs = 1
        self.followers: list[Follower] = []
        self.models: dict[Derivation, Model] = {}

    def attach(
        self, rules: Levels | None, where: dict[str, Any] | None, ref: ActorRef[Any], listener: Listener
    ) -> None:
        wanted = None if rules is None else derivation(rules)
        if rules is None and where and "price" not in where:
            where = None
        one = follower(wanted, where, ref, str(len(listener.clients) + len(self.followers)))
        self.made.source.tell(Attach(one))
        self.followers.append(Follower(one, listener, None if rules is None else self.model(derivation(rules), rules)))

    def model(self, wanted: Derivation, rules: Levels) -> Model:
        """The model of these rules; a new one knows the rows as they are."""
        model = self.models.get(wanted)
        if model is None:
            model = self.models[wanted] = Model(rules)
            for key, known in self.rows.items():
                model.write(key, known)
        return model

    def detach(self, which: int) -> None:
        if which < len(self.followers):
            gone = self.followers.pop(which).subscription
            self.made.source.tell(Detach(gone))
            followed = {one.subscription.derivation for one in self.followers}
            if gone.derivation not in {*followed, self.trigger.watch.derivation}:
                self.models.pop(gone.derivation, None)  # type: ignore[arg-type]

    def write(self, changes: list[tuple[int, Any, str]]) -> list[tuple[Key, Row | None]]:
        """What the driver reports for these; each is seen by the models."""
        reported: list[tuple[Key, Row | None]] = []
        for key, price, symbol in changes:
            new = None if price == "gone" else row(key, price, symbol)
            reported.append((str(key), new))
            self.see(str(key), new)
        return reported

    def see(self, key: Key, new: Row | None) -> None:
        self.rows.pop(key, None)
        if new is not None:
            self.rows[key] = new
        for model in self.models.values():
            model.write(key, new)

    def commit(self, changes: list[tuple[int, Any, str]]) -> None:
        self.clock += 1
        self.made.runs[-1].change(self.clock, *self.write(changes))

    async def crash(self, changes: list[tuple[int, Any, str]]) -> None:
        """The changes are applied, and then the source fails. Its successor finds them in its snapshot."""
        await self.settle()
        # What was in between two snapshots is not seen: only how each key ends
        changes = list({change[0]: change for change in changes}.values())
        tell = [(str(key), None if price == "gone" else row(key, price, symbol)) for key, price, symbol in changes]
        if all(self.rows.get(key) == new for key, new in tell):
            return
        first = self.made.source
        before = dict(self.made.memory.cache.rows)
        self.poison.armed = True
        self.made.runs[-1].change(self.clock + 1, *tell)
        await until(lambda: not first.is_alive() and self.made.directory.get(("source", "trades")) not in (None, first))
        assert self.made.memory.cache.rows == before, "what was not told is taken back"
        self.check()
        self.clock += 2
        self.write(changes)
        self.runs += 1
        (await self.made.run(self.runs)).snapshot(self.clock, *self.rows.values())
        await self.settle()

    async def settle(self) -> None:
        def settled() -> bool:
            heard = all(one.client and one.client.rows == one.expected(self.rows) for one in self.followers)
            memory = self.made.memory
            told = self.trigger.fired == self.high()
            return heard and told and memory.cache.timestamp == self.clock and set(memory.audiences) == set(self.models)

        try:
            await until(settled)
        except TimeoutError:
            self.check()
            raise

    def high(self) -> set[Key]:
        """The rows for which the trigger is to have fired."""
        model = self.models[derivation(self.trigger_rules)]
        return {key for key in model.rows if model.state(key) == "high"}

    def check(self) -> None:
        assert self.trigger.fired == set(self.trigger.watch.fired) == self.high()
        for one in self.followers:
            assert one.client is not None
            assert one.client.rows == one.expected(self.rows)
        assert set(self.made.memory.audiences) == set(self.models)


async def live_through(steps: list[tuple[str, Any]], poisoned_rules: Levels | None, watched: Levels) -> None:
    async with world(TRADES) as made:
        poison = Poisoned()
        history = History(made, poison, watched)
        made.source.tell(StartWatch(history.trigger.watch, fire_existing=True))
        history.model(derivation(watched), watched)
        ref, _ = made.listener()
        victim = follower(None if poisoned_rules is None else derivation(poisoned_rules), None, ref)
        victim.selection = poison
        made.source.tell(Attach(victim))
        if poisoned_rules is not None:
            history.model(derivation(poisoned_rules), poisoned_rules)
        (await made.run(1)).snapshot(1, *history.rows.values())
        await until(lambda: made.state == "LIVE")
        listeners = [made.listener() for _ in range(2)]
        for number, (action, what) in enumerate(steps):
            if action == "commit":
                history.commit(what)
            elif action == "crash":
                await history.crash(what)
            elif action == "attach":
                # What a new set of rules knows of rows that were, depends on which the source has heard of by now
                await until(lambda: made.memory.cache.timestamp == history.clock)
                history.attach(RULES[what[0]], WHERES[what[1]], *listeners[number % 2])
            elif action == "detach":
                history.detach(what)
            else:
                await history.settle()
                history.check()
        await history.settle()
        history.check()
        made.source.tell(StopWatch(history.trigger.watch))
        await until(
            lambda: (
                set(made.memory.audiences)
                == {one.subscription.derivation for one in history.followers if one.model}
                | ({victim.derivation} - {None})
            )
        )
        await stop_actor(history.trigger_ref)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=histories,
    poisoned=st.sampled_from([None, (("high", 99, 98),)]),
    watched=st.sampled_from([LEVELS, (("high", 70, 60), ("low", 0, None))]),
)
@example(  # a latch that a crash takes back, and a state that its successor remembers
    steps=[
        ("attach", (1, 0)), ("commit", [(1, 105, "A")]), ("commit", [(1, 95, "A")]), ("settle", None),
        ("crash", [(1, 35, "A"), (2, 105, "B")]), ("attach", (1, 1)), ("commit", [(2, 95, "B")]),
    ],
    poisoned=None,
    watched=LEVELS,
)  # fmt: skip
def test_any_history_ends_with_the_states_that_the_rules_mean(
    steps: list[tuple[str, Any]], poisoned: Levels | None, watched: Levels, io_loop: IOLoop, small_slices: None
) -> None:
    io_loop.run_sync(lambda: live_through(steps, poisoned, watched))
