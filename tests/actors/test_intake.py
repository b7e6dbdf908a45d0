"""What a driver has reported is taken in its order: transactions together, up to a turn's worth, all else alone."""

from __future__ import annotations

import asyncio
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import intake
from actors.intake import Intake
from tycostream.model import Changes, Event, Progress, SnapshotRows


def changes(timestamp: int, rows: int = 1) -> Changes:
    return Changes(timestamp, [(str(row), (str(row),)) for row in range(rows)])


transactions = st.lists(st.builds(changes, st.integers(1, 9), st.integers(0, 6)), min_size=2, max_size=6)
others = st.builds(Progress, st.integers(1, 9)) | st.builds(SnapshotRows, st.lists(st.just(("1",)), max_size=6))
events = st.lists(transactions | others.map(lambda event: [event]), max_size=10).map(
    lambda parts: list(chain.from_iterable(parts))
)


@given(events, st.integers(1, 6), st.integers(1, 8))
def test_everything_comes_once_and_in_order(reported: list[Event], most_events: int, most_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "TURN_EVENTS", most_events)
        patch.setattr(intake, "TURN_ROWS", most_rows)
        woken: list[None] = []
        one = Intake(lambda: woken.append(None))
        for event in reported:
            one.emit(event)
        assert len(woken) == bool(reported)
        taken: list[Event] = []
        while woken:
            woken.pop()
            before = len(taken)
            while (found := one.next()) is not None:
                some = found if isinstance(found, list) else [found]
                assert len(some) == 1 or all(isinstance(event, Changes) for event in some)
                assert len(some) == 1 or sum(len(event.changes) for event in some) <= most_rows  # type: ignore[union-attr]
                taken += some
            assert 0 < len(taken) - before <= most_events
            one.rest()
        assert taken == reported
        assert not one.waiting


def test_transactions_are_taken_together() -> None:
    one = Intake(lambda: None)
    first, second, third = changes(1), changes(2, 2), changes(3)
    for event in (first, second, Progress(2), third):
        one.emit(event)
    assert one.next() == [first, second]
    assert one.next() == Progress(2)
    assert one.next() == [third]
    assert one.next() is None


async def test_a_driver_waits_until_most_has_been_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "INTAKE_ROWS", 10)
    one = Intake(lambda: None)
    for timestamp in range(4):
        one.emit(changes(timestamp, 3))
    ready = asyncio.ensure_future(one.ready())
    await asyncio.sleep(0)
    assert not ready.done()
    assert len(one.next() or ()) == 4  # type: ignore[arg-type]
    later = asyncio.ensure_future(one.ready())
    await asyncio.sleep(0)
    assert not ready.done(), "what has been taken is being handled"
    assert not later.done(), "also for who asks only now"
    one.rest()
    await asyncio.gather(ready, later)
    await one.ready()
