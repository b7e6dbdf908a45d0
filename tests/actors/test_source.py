"""The source actor: rows first, then every change, whatever happens to its driver or to itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from actors import intake
from actors.runtime import stop_actor
from actors.source import SourceActor
from actors.source_messages import Attach, Attached, Delivered, Detach, ReadRows, SourceUnavailableError
from tests.actors.support import Listener, World, crash, subscription, until, world
from tests.views.support import SOURCE, every_row
from tycostream.databases.driver import DatabaseError
from tycostream.model import Operation, Progress, Row, SnapshotComplete, SnapshotRows, SnapshotStarted, Waiting
from tycostream.views.applying import ViewChange
from tycostream.views.delivery import OnUnavailable

A: Row = ("1", "AAPL", "1")
B: Row = ("2", "MSFT", "2")
C: Row = ("3", "IBM", "3")


async def attached(world: World, operation_id: str = "1", **wishes: object) -> tuple[Listener, dict[str, Row]]:
    ref, listener = world.listener()
    one = subscription(operation_id, connection=ref, **wishes)
    world.source.tell(Attach(one))
    if world.memory.cache.timestamp is not None:
        await until(lambda: one in listener.clients)
        return listener, listener.clients[one].rows
    return listener, {}


def rows_of(listener: Listener) -> dict[object, Row]:
    (client,) = listener.clients.values()
    return client.rows


async def test_a_source_starts_when_it_is_first_needed_and_serves_those_who_waited() -> None:
    async with world() as made:
        await until(lambda: made.board.states)
        assert (made.state, made.runs) == ("IDLE", [])
        one, _ = await attached(made)
        two, _ = await attached(made)
        driver = await made.run(1)
        assert made.state == "CONNECTING"
        driver.snapshot(1, A, B)
        await until(lambda: one.clients and two.clients)
        driver.change(2, ("3", C), ("1", None))
        await until(lambda: rows_of(one) == rows_of(two) == {"2": B, "3": C})
        await until(lambda: made.state == "LIVE")
        assert len(made.runs) == 1


async def test_attaching_at_any_moment_misses_nothing_and_doubles_nothing() -> None:
    async with world() as made:
        listeners = [(await attached(made))[0]]
        driver = await made.run(1)
        driver.snapshot(1, A)
        for timestamp in range(2, 200):
            driver.change(timestamp, (str(timestamp % 7), (str(timestamp % 7), "X", str(timestamp))))
            if timestamp % 20 == 0:
                ref, listener = made.listener()
                made.source.tell(Attach(subscription(connection=ref)))
                listeners.append(listener)
        await until(lambda: all(one.clients and rows_of(one) == made.memory.cache.rows for one in listeners))
        assert made.memory.cache.timestamp == 199


async def test_a_turn_is_told_once_to_each_connection() -> None:
    async with world() as made:
        await attached(made)
        driver = await made.run(1)
        driver.snapshot(1, A)
        await until(lambda: made.state == "LIVE")
        ref, listener = made.listener()
        made.source.tell(Attach(subscription("1", connection=ref)))
        made.source.tell(Attach(subscription("2", {"symbol": {"_eq": "X"}}, connection=ref)))
        await until(lambda: len(listener.clients) == 2)
        for timestamp in range(2, 12):
            driver.change(timestamp, ("1", ("1", "X", str(timestamp))))
        await until(lambda: made.memory.cache.timestamp == 11)
        await until(lambda: len(listener.tells) == 3)
        assert [type(tell) for tell in listener.tells] == [Attached, Attached, Delivered]
        assert len(listener.tells[2].deliveries) == 2


async def test_after_a_lost_connection_subscribers_get_the_difference_alone() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        driver = await made.run(1)
        driver.snapshot(1, A, B)
        await until(lambda: listener.clients)
        driver.fail(DatabaseError("the server went away"))
        await until(lambda: made.state == "STALE")
        assert made.reason == "the server went away"
        late, rows = await attached(made)
        assert rows == {"1": A, "2": B}
        again = await made.run(2)
        again.emit(SnapshotStarted(10))
        again.emit(SnapshotRows([A, C]))
        again.change(11, ("4", ("4", "NEW", None)))
        again.emit(SnapshotComplete())
        await until(lambda: rows_of(listener) == rows_of(late) == {"1": A, "3": C, "4": ("4", "NEW", None)})
        (delivered,) = [tell for tell in listener.tells if isinstance(tell, Delivered)]
        ((_, delivery),) = delivered.deliveries
        assert [(change[0], change[1]) for change in delivery.changes] == [
            (Operation.DELETE, "2"), (Operation.INSERT, "3"), (Operation.INSERT, "4"),
        ]  # fmt: skip
        await until(lambda: made.state == "LIVE")


async def test_changes_that_the_snapshot_shows_already_are_ignored() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        driver = await made.run(1)
        driver.emit(SnapshotStarted(10))
        driver.change(9, ("1", None))
        driver.emit(SnapshotRows([A]))
        driver.emit(SnapshotComplete())
        driver.change(10, ("1", None))
        driver.change(12, ("2", B))
        await until(lambda: listener.clients and rows_of(listener) == {"1": A, "2": B})


async def test_what_can_not_work_is_refused_with_the_reason_and_heals() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        question = made.source.ask(ReadRows(every_row()), block=False)
        driver = await made.run(1)
        driver.fail(DatabaseError("there is no relation trades", hint="did you mean trade?", permanent=True))
        await until(lambda: listener.refused)
        assert listener.refused == ["source trades is not available: there is no relation trades"]
        assert made.reason == "there is no relation trades (did you mean trade?)", "what to do is the operator's"
        with pytest.raises(SourceUnavailableError, match="there is no relation trades"):
            await question
        assert made.state == "FAILED"
        late, _ = await attached(made)
        await until(lambda: late.refused)


async def test_a_source_that_failed_while_nobody_was_there_is_tried_again_for_who_comes() -> None:
    async with world(linger=60) as made:
        ref, _ = made.listener()
        first = subscription(connection=ref)
        made.source.tell(Attach(first))
        driver = await made.run(1)
        made.source.tell(Detach(first))
        driver.fail(DatabaseError("the server went away"))
        await until(lambda: made.reason == "the server went away")
        listener, _ = await attached(made)
        (await made.run(2)).snapshot(1, A)
        await until(lambda: listener.clients)
        assert rows_of(listener) == {"1": A}


async def test_where_the_database_is_clients_are_not_told() -> None:
    async with world() as made:
        question = made.source.ask(ReadRows(every_row(), within=0.05), block=False)
        (await made.run(1)).fail(DatabaseError("can't connect to me@10.0.0.1:6875/shop", private=True))
        with pytest.raises(SourceUnavailableError, match=r"no rows yet \(the database is out of reach\); ask again"):
            await question
        assert "me@10.0.0.1:6875" in made.reason


async def test_a_source_that_failed_while_it_is_followed_keeps_its_rows_and_heals() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        (await made.run(1)).snapshot(1, A)
        await until(lambda: listener.clients)
        made.runs[0].fail(DatabaseError("column price is gone", permanent=True))
        await until(lambda: made.state == "FAILED")
        assert (await attached(made))[1] == {"1": A}
        (await made.run(2)).snapshot(5, A, B)
        await until(lambda: rows_of(listener) == {"1": A, "2": B})
        await until(lambda: made.state == "LIVE")


async def test_an_unused_source_lingers_and_then_rests() -> None:
    async with world(linger=0.01) as made:
        ref, listener = made.listener()
        one = subscription(connection=ref)
        made.source.tell(Attach(one))
        driver = await made.run(1)
        driver.snapshot(1, A)
        await until(lambda: listener.clients)
        made.source.tell(Detach(one))
        await until(lambda: made.state == "IDLE")
        await until(lambda: driver.ended)
        assert made.memory.cache.rows == {}
        await attached(made)
        await made.run(2)


async def test_an_eager_source_starts_by_itself() -> None:
    async with world(eager=True) as made:
        (await made.run(1)).snapshot(1, A)
        await until(lambda: made.state == "LIVE")
        assert await made.source.ask(ReadRows(every_row()), block=False) == [A]


async def test_a_question_waits_for_the_first_rows() -> None:
    async with world() as made:
        question = made.source.ask(ReadRows(every_row()), block=False)
        driver = await made.run(1)
        driver.emit(Waiting("waiting for an open transaction to end"))
        await until(lambda: made.reason == "waiting for an open transaction to end")
        driver.emit(Waiting(None))
        driver.snapshot(1, A, B)
        assert await question == [A, B]


async def test_a_connection_that_has_gone_is_forgotten() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        driver = await made.run(1)
        driver.snapshot(1, A)
        await until(lambda: listener.clients)
        await stop_actor(listener.actor_ref)
        driver.change(2, ("1", None))
        await until(lambda: len(made.memory.views) == 0)


async def test_nobody_attaches_in_the_middle_of_a_large_transaction() -> None:
    async with world() as made:
        await attached(made)
        driver = await made.run(1)
        driver.snapshot(1)
        await until(lambda: made.state == "LIVE")
        count = 25_000
        driver.change(2, *((str(number), (str(number), "X", None)) for number in range(count)))
        listener, rows = await attached(made)
        assert len(rows) == count
        assert len(listener.tells) == 1


async def test_a_driver_that_is_too_fast_is_asked_to_wait() -> None:
    async with world() as made:
        await attached(made)
        driver = await made.run(1)
        driver.emit(SnapshotStarted(1))
        driver.emit(SnapshotRows([(str(number), None, None) for number in range(30_000)]))
        ready = driver.ready()
        assert not await_now(ready)
        await driver.ready()


def await_now(coroutine: object) -> bool:
    """Whether a coroutine is done without waiting."""
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return True
    coroutine.close()  # type: ignore[attr-defined]
    return False


@dataclass(frozen=True)
class Poisoned:
    """A selection on which the source chokes at a certain price."""

    @property
    def interest(self) -> int:
        return Poison.interest()

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        raise AssertionError("nothing is to be rendered")


class Poison:
    armed = False

    @classmethod
    def interest(cls) -> int:
        if cls.armed:
            cls.armed = False
            raise RuntimeError("poison")
        return 0


@pytest.mark.parametrize("fault", ["a delivery", "a row"])
async def test_all_that_a_turn_did_is_taken_back_when_it_fails(fault: str) -> None:
    """Several runs of transactions, to the same row: the last is taken back first, and one that failed half-way too."""
    async with world() as made:
        listener, _ = await attached(made, selection=Poisoned() if fault == "a delivery" else None)
        driver = await made.run(1)
        driver.snapshot(1, A, B)
        await until(lambda: listener.tells)
        first = made.source
        Poison.armed = fault == "a delivery"
        driver.change(2, ("1", ("1", "FIRST", "1")), ("2", None))
        driver.emit(Progress(2))
        driver.change(3, ("1", ("1", "SECOND", "1")), ("3", C))
        driver.change(4, ("1", None), *([("3", ("too short",))] if fault == "a row" else []))
        await until(lambda: not first.is_alive() and made.directory.get(("source", "trades")) not in (None, first))
        assert made.memory.cache.rows == {"1": A, "2": B}
        assert made.memory.cache.timestamp == 1


async def test_an_actor_that_crashes_is_replaced_and_its_subscribers_get_the_difference() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        driver = await made.run(1)
        driver.snapshot(1, A, B)
        await until(lambda: listener.clients)
        ref, other = made.listener()
        made.source.tell(Attach(subscription("9", connection=ref, selection=Poisoned())))
        await until(lambda: other.tells)
        first = made.source
        Poison.armed = True
        driver.change(2, ("1", ("1", "CHANGED", "1")), ("2", None))
        await until(lambda: not first.is_alive() and made.directory.get(("source", "trades")) not in (None, first))
        assert made.memory.cache.rows == {"1": A, "2": B}, "what was not delivered is taken back"
        assert rows_of(listener) == {"1": A, "2": B}
        (await made.run(2)).snapshot(3, ("1", "CHANGED", "1"), C)
        await until(lambda: rows_of(listener) == {"1": ("1", "CHANGED", "1"), "3": C})
        assert SOURCE.name == "trades"


async def test_questions_one_after_the_other_leave_one_timer_behind() -> None:
    async with world() as made:
        question = made.source.ask(ReadRows(every_row(), within=10.0), block=False)
        (await made.run(1)).snapshot(1, A)
        assert await question == [A]
        actor = made.source._actor_weakref()
        assert isinstance(actor, SourceActor)
        known = len(actor._timers)
        for _ in range(50):
            assert await made.source.ask(ReadRows(every_row(), within=10.0), block=False) == [A]
        assert len(actor._timers) <= known


async def test_a_question_that_waits_too_long_is_answered_with_the_reason() -> None:
    async with world() as made:
        question = made.source.ask(ReadRows(every_row(), within=0.01), block=False)
        (await made.run(1)).emit(Waiting("waiting for an open transaction to end"))
        with pytest.raises(
            SourceUnavailableError, match=r"no rows yet \(waiting for an open transaction to end\); ask"
        ):
            await question


async def test_all_that_a_driver_reported_comes_before_its_failure_and_others_have_their_turn_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "TURN_EVENTS", 1)
    count = 5000
    async with world() as made:
        listener, _ = await attached(made)
        driver = await made.run(1)
        driver.snapshot(1, A)
        await until(lambda: listener.clients)
        for timestamp in range(2, count + 2):
            driver.change(timestamp, (str(timestamp), (str(timestamp), "X", "1")))
        ref, late = made.listener()
        made.source.tell(Attach(subscription("2", connection=ref)))
        driver.fail(DatabaseError("gone"))
        await until(lambda: made.state == "STALE")
        assert made.memory.cache.timestamp == count + 1
        await until(lambda: rows_of(listener) == rows_of(late) == made.memory.cache.rows)
        first = next(tell for tell in late.tells if isinstance(tell, Attached))
        assert late.tells.index(first) == 0
        assert len(late.tells) > 1, "it was served before all events were handled"


async def test_what_waits_for_a_source_that_crashes_is_not_forgotten() -> None:
    """Messages that it did not come to: who wants to follow is told, or waits if it would rather; who has left has left."""
    async with world() as made:
        ref, listener = made.listener()
        gone = subscription("gone", connection=ref)
        made.source.tell(Attach(gone))
        (await made.run(1)).snapshot(1, A)
        await until(lambda: gone in listener.clients)
        refused = subscription("refused", connection=ref)
        waits = subscription("waits", connection=ref, on_unavailable=OnUnavailable.WAIT)
        fickle = subscription("fickle", connection=ref, on_unavailable=OnUnavailable.WAIT)
        crash(made.source)
        for message in (Attach(refused), Attach(waits), Attach(fickle), Detach(fickle), Detach(gone)):
            made.source.tell(message)
        await until(lambda: listener.refused)
        assert listener.refused == ["source trades failed; subscribe again"]
        (await made.run(2)).snapshot(2, A, B)
        await until(lambda: waits in listener.clients and listener.clients[waits].rows == {"1": A, "2": B})
        assert set(made.memory.subscriptions()) == {waits}
        assert fickle not in listener.clients


async def test_transactions_that_come_together_keep_their_timestamps_and_what_is_old_is_left_out() -> None:
    async with world() as made:
        listener, _ = await attached(made)
        driver = await made.run(1)
        driver.snapshot(5, A)
        await until(lambda: listener.clients)
        for timestamp, price in ((4, "4"), (6, "6"), (7, "7"), (7, "8"), (9, "9")):
            driver.change(timestamp, ("1", ("1", "X", price)))
        await until(lambda: made.memory.cache.timestamp == 9)
        await until(lambda: any(isinstance(tell, Delivered) for tell in listener.tells))
        told = [
            (change[4], change[2])
            for tell in listener.tells
            if isinstance(tell, Delivered)
            for _subscriptions, delivery in tell.deliveries
            for change in delivery.changes
        ]
        assert told == [(6, ("1", "X", "6")), (7, ("1", "X", "7")), (9, ("1", "X", "9"))]
