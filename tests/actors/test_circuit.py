"""A source that fails again and again: who is told so, who waits, and that it is tried again whoever is left."""

from __future__ import annotations

import json

import pytest

from actors.attempts import CIRCUIT_FAILURES, Attempts
from actors.source_messages import Attach, Delivered, Detach, ReadRows
from tests.actors.support import Listener, World, until, world
from tests.views.support import every_row, subscription
from tycostream.databases.driver import DatabaseError
from tycostream.model import Row, SnapshotRows, SnapshotStarted, Waiting
from tycostream.views import Subscription
from tycostream.views.delivery import OnUnavailable

A: Row = ("1", "AAPL", "1")
WAIT, ERROR = OnUnavailable.WAIT, OnUnavailable.ERROR


def attach(made: World, wish: OnUnavailable | None) -> tuple[Subscription, Listener]:
    ref, listener = made.listener()
    one = subscription(connection=ref)
    one.on_unavailable = wish
    made.source.tell(Attach(one))
    return one, listener


async def fail(made: World, first: int, last: int, *, permanent: bool = False) -> None:
    for number in range(first, last + 1):
        (await made.run(number)).fail(DatabaseError("no way", permanent=permanent))


async def test_those_who_do_not_want_to_wait_are_told_when_the_circuit_opens() -> None:
    async with world() as made:
        patient, waits = attach(made, WAIT)
        (_, default), (_, impatient) = attach(made, None), attach(made, ERROR)
        await fail(made, 1, CIRCUIT_FAILURES - 1)
        await made.run(CIRCUIT_FAILURES)
        assert not impatient.refused, "it may be a moment's trouble"
        await fail(made, CIRCUIT_FAILURES, CIRCUIT_FAILURES)
        await until(lambda: impatient.refused)
        assert impatient.refused == ["source trades is not available: no way"]
        assert made.state == "CONNECTING"
        _, late = attach(made, ERROR)
        await until(lambda: late.refused)
        (await made.run(CIRCUIT_FAILURES + 1)).snapshot(1, A)
        await until(lambda: waits.clients and default.clients)
        assert waits.clients[patient].rows == {"1": A}
        assert not waits.refused
        _, again = attach(made, ERROR)
        await until(lambda: again.clients)


async def test_who_waits_is_not_told_of_what_somebody_has_to_mend_and_others_are() -> None:
    async with world() as made:
        (_, waits), (_, default), (_, impatient) = attach(made, WAIT), attach(made, None), attach(made, ERROR)
        await fail(made, 1, 1, permanent=True)
        await until(lambda: default.refused and impatient.refused)
        assert made.state == "FAILED"
        _, late = attach(made, WAIT)
        (await made.run(2)).snapshot(1, A)
        await until(lambda: waits.clients and late.clients)
        assert (waits.refused, late.refused) == ([], [])


@pytest.mark.parametrize("wish", [None, ERROR])
async def test_it_is_tried_again_though_everybody_was_refused(wish: OnUnavailable | None) -> None:
    async with world() as made:
        _, first = attach(made, wish)
        await fail(made, 1, 3, permanent=True)
        await until(lambda: first.refused)
        _, second = attach(made, wish)
        await until(lambda: second.refused)
        (await made.run(4)).snapshot(1, A)
        await until(lambda: made.state == "LIVE")
        _, third = attach(made, wish)
        await until(lambda: third.clients)


async def test_who_comes_while_a_failing_source_rests_begins_anew() -> None:
    async with world(linger=0.02) as made:
        _, first = attach(made, ERROR)
        await fail(made, 1, 1, permanent=True)
        await until(lambda: first.refused and made.state == "IDLE")
        runs = len(made.runs)
        _, second = attach(made, ERROR)
        (await made.run(runs + 1)).snapshot(1, A)
        await until(lambda: second.clients)


async def test_a_crash_refuses_those_who_did_not_choose_to_wait_and_keeps_the_others() -> None:
    async with world() as made:
        (_, waits), (_, default) = attach(made, WAIT), attach(made, None)
        await made.run(1)
        first = made.source
        made.source.tell(ReadRows(every_row(), within="never"))  # type: ignore[arg-type]  # a timer needs a number
        await until(lambda: not first.is_alive() and default.refused)
        assert default.refused == ["source trades failed; subscribe again"]
        (await made.run(2)).snapshot(1, A)
        await until(lambda: waits.clients)
        assert not waits.refused


async def test_a_source_that_crashed_while_nobody_followed_is_live_again() -> None:
    async with world() as made:
        one, listener = attach(made, None)
        driver = await made.run(1)
        driver.snapshot(1, A)
        await until(lambda: listener.clients)
        made.source.tell(Detach(one))
        first = made.source
        driver.emit(SnapshotStarted(2))
        driver.emit(SnapshotRows([None]))  # type: ignore[list-item]
        await until(lambda: not first.is_alive())
        (await made.run(2)).snapshot(3, A)
        await until(lambda: made.state == "LIVE")


def test_attempts_wait_longer_each_time_and_for_longest_where_somebody_has_to_mend() -> None:
    attempts = Attempts(0.1, 30.0)
    waits = [attempts.failed(permanent=False) for _ in range(CIRCUIT_FAILURES)]
    assert all(0.05 * 2**number <= wait <= 0.1 * 2**number for number, wait in enumerate(waits))
    assert attempts.circuit_open
    attempts.forget()
    assert not attempts.circuit_open
    assert 0.5 <= attempts.failed(permanent=True) <= 1.0
    assert attempts.circuit_open
    assert max(attempts.failed(permanent=False) for _ in range(100)) <= 30.0


async def test_what_clients_are_told_is_of_the_state_and_not_of_an_earlier_one() -> None:
    async with world(retry_min=60, retry_max=60) as made:
        _, listener = attach(made, None)
        driver = await made.run(1)

        def told() -> list[tuple[str, str | None]]:
            return [(one.state.value, one.reason) for one in made.board.standings()]

        driver.emit(Waiting("waiting for an open transaction to end"))
        await until(lambda: told() == [("CONNECTING", "waiting for an open transaction to end")])
        driver.emit(Waiting("polled every second"))
        driver.snapshot(1, A)
        await until(lambda: listener.clients)
        await until(lambda: told() == [("LIVE", "polled every second")])
        driver.fail(DatabaseError("could not connect to db.internal as bob", private=True))
        await until(lambda: made.state == "STALE")
        assert told() == [("STALE", "the database is out of reach")]
        first = made.source
        made.source.tell(ReadRows(every_row(), within=1, lookup="none"))  # type: ignore[arg-type]
        await until(lambda: not first.is_alive() and told()[0][1] == "an error interrupted it; it is being restarted")


async def test_the_difference_after_a_lost_connection_comes_with_the_new_state() -> None:
    async with world() as made:
        _, listener = attach(made, None)
        (await made.run(1)).snapshot(1, A)
        await until(lambda: listener.clients)
        (await made.run(1)).fail(DatabaseError("gone"))
        again = await made.run(2)
        again.snapshot(2, ("2", "MSFT", "1"))
        again.change(3, ("3", ("3", "IBM", "1")))
        await until(lambda: len(next(iter(listener.clients.values())).rows) == 2)
        told = [part for tell in listener.tells if isinstance(tell, Delivered) for _, part in tell.deliveries]
        assert [part.news is not None for part in told] == [True, *(len(told) - 1) * [False]]
        assert json.loads(told[0].news or b"{}")["source_status"]["state"] == "LIVE"
