"""However slow its client, a connection's outbox stays bounded and leads it to the right rows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.views.support import SOURCE, Client, changes_of, every_row, subscription
from tycostream.model import Key, Operation, Row
from tycostream.views import Outbox, OutboxOverflowError, RowCache, SnapshotReader, ViewChange
from tycostream.views import outbox as outbox_module
from tycostream.views.cache import Delta
from tycostream.views.outbox import merge

INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE
A: Row = ("1", "AAPL", "1.5")
B: Row = ("1", "AAPL", "2.5")
C: Row = ("1", "MSFT", "2.5")


@pytest.mark.parametrize(
    ("earlier", "later", "merged"),
    [
        ((INSERT, "1", A, 0, 1), (UPDATE, "1", B, 0b100, 2), (INSERT, "1", B, 0, 2)),
        ((INSERT, "1", A, 0, 1), (DELETE, "1", A, 0, 2), None),
        ((UPDATE, "1", B, 0b100, 1), (UPDATE, "1", C, 0b010, 2), (UPDATE, "1", C, 0b110, 2)),
        ((UPDATE, "1", B, 0b100, 1), (DELETE, "1", B, 0, 2), (DELETE, "1", B, 0, 2)),
        ((DELETE, "1", A, 0, 1), (INSERT, "1", B, 0, 2), (UPDATE, "1", B, 0b111, 2)),
    ],
)
def test_two_changes_of_a_key_merge_into_one(earlier: ViewChange, later: ViewChange, merged: ViewChange | None) -> None:
    assert merge(earlier, later) == merged


KEYS = [str(number) for number in range(6)]
batches = st.lists(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(["AAPL", "MSFT", None]), st.booleans()), max_size=6),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(
    before=batches,
    steps=st.lists(st.tuples(batches, st.integers(0, 3)), max_size=12),
    hold=st.sampled_from([0, 3, 20, 10_000]),
    chunk=st.sampled_from([1, 2, 500]),
)
def test_any_mix_of_changes_and_slow_reads_ends_in_the_sources_rows(
    before: list[list[tuple[str, str | None, bool]]],
    steps: list[tuple[list[list[tuple[str, str | None, bool]]], int]],
    hold: int,
    chunk: int,
) -> None:
    """Two subscriptions, of which the second starts in the middle; reads happen at random moments."""
    cache = RowCache(SOURCE)
    cache.timestamp = 0
    one, two = subscription("1"), subscription("2")
    clients = {"1": Client(), "2": Client()}
    outbox = Outbox(hold_rows=hold, max_rows=1000)
    clock = 0

    def apply(batch: list[tuple[str, str | None, bool]]) -> list[ViewChange]:
        nonlocal clock
        clock += 1
        deltas: list[Delta] = []
        rows: list[tuple[Key, Row | None]] = [
            (key, None if gone else (key, symbol, str(clock))) for key, symbol, gone in batch
        ]
        cache.apply(rows, deltas)
        return [
            (INSERT, key, new, 0, clock)
            if old is None
            else ((DELETE, key, old, 0, clock) if new is None else (UPDATE, key, new, mask, clock))
            for key, old, new, mask in deltas
        ]  # type: ignore[return-value]

    def read() -> None:
        for operation_id, operation, row, changed, timestamp in changes_of(outbox.take()):
            clients[operation_id].hear(operation, row, changed, timestamp)

    patched = pytest.MonkeyPatch()
    patched.setattr(outbox_module, "CHUNK_ROWS", chunk)
    patched.setattr(outbox_module, "CHUNK_BYTES", 1)
    try:
        for batch in before:
            apply(batch)
        outbox.start(one, SnapshotReader(SOURCE, cache.frozen(), clock, every_row()))
        for number, (changes, reads) in enumerate(steps):
            if number == len(steps) // 2:
                outbox.start(two, SnapshotReader(SOURCE, cache.frozen(), clock, every_row()))
            started = [one, two] if number >= len(steps) // 2 else [one]
            for batch in changes:
                changed = apply(batch)
                for subscriber in started if changed else []:
                    outbox.put(subscriber, changed)
            for _ in range(reads):
                read()
        while not outbox.empty:
            read()
    finally:
        patched.undo()
    assert outbox.rows == 0
    assert clients["1"].rows == cache.rows
    if steps:
        assert clients["2"].rows == cache.rows
    for client in clients.values():
        assert client.timestamps == sorted(client.timestamps)


def test_merging_bounds_what_waits_by_the_rows_in_view() -> None:
    outbox = Outbox(hold_rows=10, max_rows=1000)
    one = subscription()
    for clock in range(1, 100_000):
        row = (str(clock % 7), "AAPL", str(clock))
        outbox.put(one, [(UPDATE, row[0], row, 0b100, clock)])
        assert outbox.rows <= 17
    assert outbox.merging
    told = list(changes_of(outbox.take()))
    assert sorted(row[0] for _, _, row, _, _ in told if row[0]) == ["0", "1", "2", "3", "4", "5", "6"]
    assert {timestamp for *_, timestamp in told} == {99_999}
    assert outbox.empty


def test_more_merged_changes_than_are_kept_is_an_error() -> None:
    outbox = Outbox(hold_rows=10, max_rows=100)
    one = subscription()
    changes: list[list[ViewChange]] = [
        [(INSERT, str(number), (str(number), None, None), 0, number)] for number in range(101)
    ]
    for change in changes[:100]:
        outbox.put(one, change)
    with pytest.raises(OutboxOverflowError, match="101 merged changes wait, more than the 100"):
        outbox.put(one, changes[100])


def test_nothing_more_is_sent_for_a_subscription_that_was_dropped() -> None:
    outbox = Outbox(hold_rows=2, max_rows=100)
    one, two = subscription("1"), subscription("2")
    outbox.start(one, SnapshotReader(SOURCE, (A,), 1, every_row()))
    outbox.put(two, [(INSERT, "1", A, 0, 1)])
    outbox.put(one, [(UPDATE, "1", B, 0b100, 2)])
    outbox.drop(one)
    assert [operation_id for operation_id, *_ in changes_of(outbox.take())] == ["2"]
    assert outbox.empty
    assert outbox.rows == 0


def test_a_snapshot_is_read_in_pieces_that_leave_out_what_the_filter_does_not_admit() -> None:
    rows: tuple[Row, ...] = tuple(
        (str(number), "AAPL" if number % 1000 == 0 else "MSFT", "1") for number in range(3000)
    )
    one = subscription("1", {"symbol": {"_eq": "AAPL"}})
    outbox = Outbox(hold_rows=10, max_rows=100)
    outbox.start(one, SnapshotReader(SOURCE, rows, 7, one.filter))
    heard: list[str | None] = []
    pieces = 0
    while not outbox.empty:
        pieces += 1
        heard += [row[0] for _, _, row, _, _ in changes_of(outbox.take())]
    assert heard == ["0", "1000", "2000"]
    assert pieces == 6
