"""However slow its client, a connection's outbox stays bounded and leads it to the right rows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.views.support import SOURCE, Client, applied, changes_of, every_row, subscription
from tycostream.graphql.rendering import Field, Selection
from tycostream.model import Key, Operation, Row
from tycostream.views import Outbox, OutboxOverflowError, RowCache, SnapshotReader, Subscription, ViewChange
from tycostream.views import outbox as outbox_module
from tycostream.views.outbox import merge
from tycostream.views.pace import SlowPolicy

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
        rows: list[tuple[Key, Row | None]] = [
            (key, None if gone else (key, symbol, str(clock))) for key, symbol, gone in batch
        ]
        return applied(cache, rows, clock).changes

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


def test_news_wait_for_a_slow_client_and_are_told_once() -> None:
    outbox = Outbox(hold_rows=10, max_rows=100)
    one = subscription()
    one.news = b'{"a":1}'
    for clock in (1, 2):
        outbox.put(one, [(INSERT, str(clock), (str(clock), "AAPL", None), 0, clock)])
        told = [json.loads(line.split(b" ", 1)[1]) for line in outbox.take().splitlines()]
        assert [message.get("extensions") for message in told] == [{"a": 1} if clock == 1 else None]


def updates(first: int, count: int) -> list[list[ViewChange]]:
    """Transactions of one change each."""
    return [[(UPDATE, "1", ("1", "AAPL", str(at)), 0b100, at)] for at in range(first, first + count)]


def planned(policy: SlowPolicy, operation_id: str = "1") -> Subscription:
    return replace(subscription(operation_id, selection=Selection(SOURCE, "trades", FIELDS)), slow=policy)


FIELDS = (Field("timestamp", "timestamp"),)


def told_by(outbox: Outbox) -> list[tuple[str, str, int | None]]:
    """Operation id, timestamp and how many were dropped before it, of each message until the outbox is empty."""
    found = []
    while not outbox.empty:
        for line in outbox.take().splitlines():
            operation_id, payload = line.split(b" ", 1)
            result = json.loads(payload)
            dropped = result.get("extensions", {}).get("dropped")
            found.append((operation_id.decode(), result["data"]["trades"]["timestamp"], dropped))
    return found


def test_drop_oldest_keeps_the_newest_and_tells_once_how_many_are_gone() -> None:
    outbox = Outbox(hold_rows=5, max_rows=100, drop_rows=3)
    one, merging = planned(SlowPolicy.DROP_OLDEST), planned(SlowPolicy.CONFLATE, "2")
    for change in updates(1, 1000):
        outbox.put(one, change)
        assert outbox.recent_rows <= 3
    assert (outbox.rows, outbox.size > 0, outbox.empty) == (0, True, False)
    outbox.put(merging, updates(1, 1)[0])
    assert told_by(outbox) == [("2", "1", None), ("1", "998", 997), ("1", "999", None), ("1", "1000", None)]
    assert (outbox.recent_rows, outbox.size) == (0, 0)
    outbox.put(one, updates(1001, 1)[0])
    assert told_by(outbox) == [("1", "1001", None)]


def test_drop_oldest_keeps_changes_behind_their_snapshot_and_drops_none_of_its_rows() -> None:
    outbox = Outbox(hold_rows=5, max_rows=100, drop_rows=3)
    one = planned(SlowPolicy.DROP_OLDEST)
    outbox.start(one, SnapshotReader(SOURCE, tuple((str(number), "X", "0") for number in range(1200)), 7, every_row()))
    for change in updates(8, 10):
        outbox.put(one, change)
    told = told_by(outbox)
    assert told[:1200] == [("1", "7", None)] * 1200
    assert told[1200:] == [("1", "15", 7), ("1", "16", None), ("1", "17", None)]


def test_disconnect_keeps_every_change_up_to_the_limit_and_is_an_error_beyond() -> None:
    outbox = Outbox(hold_rows=5, max_rows=100, drop_rows=3)
    one, two = planned(SlowPolicy.DISCONNECT), planned(SlowPolicy.DISCONNECT, "2")
    for change in updates(1, 5):
        outbox.put(one, change)
        outbox.put(two, change)
    assert not outbox.merging
    assert told_by(outbox) == [(name, str(at), None) for name in "12" for at in range(1, 6)]
    for change in updates(6, 5):
        outbox.put(one, change)
    with pytest.raises(OutboxOverflowError, match="more than 5 changes wait that are not to be merged"):
        outbox.put(one, updates(11, 1)[0])


@pytest.mark.parametrize("policy", [SlowPolicy.DROP_OLDEST, SlowPolicy.DISCONNECT])
def test_one_large_transaction_is_no_reason_to_drop_or_disconnect(policy: SlowPolicy) -> None:
    outbox = Outbox(hold_rows=5, max_rows=100, drop_rows=3)
    one = planned(policy)
    outbox.put(one, [(INSERT, str(number), (str(number), None, None), 0, 9) for number in range(1200)])
    assert told_by(outbox) == [("1", "9", None)] * 1200


def test_what_was_kept_apart_goes_with_its_subscription() -> None:
    outbox = Outbox(hold_rows=5, max_rows=100, drop_rows=3)
    one = planned(SlowPolicy.DROP_OLDEST)
    outbox.put(one, updates(1, 1)[0])
    outbox.drop(one)
    assert (outbox.empty, outbox.recent_rows) == (True, 0)
