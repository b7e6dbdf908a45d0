"""What is kept for a slow client that wants every step: whole transactions, the newest of them, and a count of the rest."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tycostream.model import Operation
from tycostream.views import ViewChange
from tycostream.views.newest import Newest


def transaction(timestamp: int, size: int, start: int = 0) -> list[ViewChange]:
    return [
        (Operation.UPDATE, f"{number}", (f"{number}", "X", f"{timestamp}"), 0b100, timestamp)
        for number in range(start, start + size)
    ]


def test_the_oldest_transactions_are_dropped_whole_and_counted() -> None:
    recent = Newest(10)
    for timestamp in (1, 2, 3):
        recent.add(transaction(timestamp, 4))
    assert recent.rows == 8
    assert recent.take(100) == (transaction(2, 4) + transaction(3, 4), 4)
    assert (recent.rows, recent.take(100)) == (0, ([], 0))


def test_the_newest_transaction_is_kept_whatever_its_size_and_however_it_comes() -> None:
    recent = Newest(10)
    recent.add(transaction(1, 4))
    recent.add(transaction(2, 30))
    recent.add(transaction(2, 30, start=30))
    assert recent.take(100) == (transaction(2, 60), 4)


def test_a_transaction_that_has_been_begun_is_sent_to_its_end() -> None:
    recent = Newest(10)
    recent.add(transaction(1, 6))
    assert recent.take(2) == (transaction(1, 2), 0)
    recent.add(transaction(2, 6))
    recent.add(transaction(3, 6))
    taken, dropped = recent.take(100)
    assert taken == transaction(1, 4, start=2) + transaction(3, 6)
    assert dropped == 6


@given(
    limit=st.integers(1, 20),
    steps=st.lists(st.one_of(st.lists(st.integers(1, 9), max_size=4), st.integers(1, 7)), max_size=30),
)
def test_every_change_is_told_or_counted_and_no_transaction_is_told_in_part(
    limit: int, steps: list[list[int] | int]
) -> None:
    recent = Newest(limit)
    clock = added = counted = 0
    sizes: dict[int, int] = {}
    told: list[ViewChange] = []
    for step in [*steps, 10_000]:
        if isinstance(step, int):
            taken, dropped = recent.take(step)
            told += taken
            counted += dropped
            continue
        changes: list[ViewChange] = []
        for size in step:
            clock += 1
            sizes[clock] = size
            added += size
            changes += transaction(clock, size)
        recent.add(changes)
        assert recent.rows <= max(limit + 9, 18), "the one that is being sent and the newest come on top"
    assert recent.rows == 0
    assert len(told) + counted == added
    timestamps = [change[4] for change in told]
    assert timestamps == sorted(timestamps)
    assert {timestamp: timestamps.count(timestamp) for timestamp in timestamps} == {
        timestamp: sizes[timestamp] for timestamp in timestamps
    }
    if clock:
        assert clock in timestamps, "the newest is never dropped"
