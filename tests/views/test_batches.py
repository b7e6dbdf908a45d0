"""Many changes in one message: a timestamp stays together unless it alone is more than a message holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.rendering import rendered
from tests.views.support import SOURCE, every_row, subscription
from tycostream.graphql.rendering import Field, Selection
from tycostream.model import Operation, Row
from tycostream.views import Delivery, Outbox, SnapshotReader, Subscription, ViewChange
from tycostream.views.batches import Batches
from tycostream.views.delivery import in_order
from tycostream.views.pace import SlowPolicy

FIELDS = (Field("operation", "operation"), Field("data", "data", (Field("id", "id"),)), Field("timestamp", "timestamp"))


def batches(rows: int) -> Batches:
    return Batches(Selection(SOURCE, "t", FIELDS), b'{"data":{"t":', rows)


def follower(rows: int, policy: SlowPolicy = SlowPolicy.CONFLATE) -> Subscription:
    return replace(subscription(selection=batches(rows)), slow=policy)


def changes(*sizes: int, first: int = 1) -> list[ViewChange]:
    """Transactions of these sizes, whose timestamps count from `first`."""
    found: list[ViewChange] = []
    for timestamp, size in enumerate(sizes, first):
        for _ in range(size):
            key = str(len(found))
            found.append((Operation.INSERT, key, (key, "X", "1"), 0, timestamp))
    return found


def shape(message: dict[str, Any]) -> tuple[list[int], bool]:
    """The timestamps in a message, and whether more of the last one follow."""
    updates = message["data"]["t"]
    return [int(one["timestamp"]) for one in updates], message.get("extensions", {}).get("incomplete", False)


def shapes(messages: list[bytes]) -> list[tuple[list[int], bool]]:
    return [shape(json.loads(one)) for one in messages]


def taken(outbox: Outbox) -> list[dict[str, Any]]:
    found = []
    while not outbox.empty:
        found += [json.loads(line.split(b" ", 1)[1]) for line in outbox.take().splitlines()]
    return found


def test_whole_timestamps_fill_a_message() -> None:
    assert shapes(batches(5).messages(changes(2, 2, 2, 5, 1, 4))) == [
        ([1, 1, 2, 2], False),
        ([3, 3], False),
        ([4] * 5, False),
        ([5] + [6] * 4, False),
    ]


def test_a_timestamp_that_alone_is_too_large_takes_several_messages_that_say_so() -> None:
    assert shapes(batches(5).messages(changes(1, 12, 1))) == [
        ([1], False),
        ([2] * 5, True),
        ([2] * 5, True),
        ([2, 2, 3], False),
    ]


def test_each_update_is_what_it_would_be_alone() -> None:
    several = batches(5)
    alone = [json.loads(rendered(several.single, one, row, mask, at)) for one, _, row, mask, at in changes(1, 2)]
    (message,) = several.messages(changes(1, 2))
    assert json.loads(message) == {"data": {"t": [one["data"]["t"] for one in alone]}}
    assert several == batches(5) != batches(6)
    assert several.interest == several.single.interest


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=20),
    rows=st.integers(1, 8),
    policy=st.sampled_from(SlowPolicy),
)
def test_however_it_waits_every_change_comes_once_and_only_large_timestamps_are_split(
    sizes: list[int], rows: int, policy: SlowPolicy
) -> None:
    made = changes(*sizes)
    outbox = Outbox(hold_rows=1000, max_rows=1000, drop_rows=1000)
    one = follower(rows, policy)
    for first in range(1, len(sizes) + 1, 3):  # several timestamps at a time, each of them whole
        outbox.put(one, [change for change in made if first <= change[4] < first + 3])
    waited = taken(outbox)
    for told in ([json.loads(message) for message in batches(rows).messages(made)], waited):
        assert [update["data"]["id"] for message in told for update in message["data"]["t"]] == list(range(len(made)))
        assert all(1 <= len(message["data"]["t"]) <= rows for message in told)
        for message, following in zip(told, [*told[1:], {"data": {"t": [{"timestamp": "0"}]}}], strict=True):
            split = message["data"]["t"][-1]["timestamp"] == following["data"]["t"][0]["timestamp"]
            assert shape(message)[1] == split
            assert not split or sizes[int(following["data"]["t"][0]["timestamp"]) - 1] > rows


def test_merged_changes_come_in_messages_that_say_whether_more_follow() -> None:
    outbox = Outbox(hold_rows=10, max_rows=1000)
    one = follower(5)
    for timestamp in range(1, 4):
        outbox.put(one, changes(12, first=timestamp))
    assert outbox.merging
    assert [shape(message) for message in taken(outbox)] == [([3] * 5, True), ([3] * 5, True), ([3, 3], False)]


def test_what_was_dropped_is_told_beside_whether_more_follow() -> None:
    outbox = Outbox(hold_rows=10, max_rows=1000, drop_rows=3)
    one = follower(5, SlowPolicy.DROP_OLDEST)
    outbox.put(one, changes(4, 7))
    first, second = taken(outbox)
    assert first["extensions"] == {"incomplete": True, "dropped": 4}
    assert "extensions" not in second


@pytest.mark.parametrize(("matching", "sizes"), [(12, [5, 5, 2]), (10, [5, 5, 0]), (0, [0])])
def test_a_snapshot_comes_in_full_messages_and_its_end_is_told(matching: int, sizes: list[int]) -> None:
    rows: list[Row] = [(str(number), "A" if number < matching else "B", "1") for number in range(2000)]
    one = replace(follower(5), filter=subscription(where={"symbol": {"_eq": "A"}}).filter)
    outbox = Outbox(hold_rows=10, max_rows=100)
    outbox.start(one, SnapshotReader(SOURCE, tuple(rows), 7, one.filter))
    outbox.put(one, changes(1, first=8))
    *snapshot, later = taken(outbox)
    assert [len(message["data"]["t"]) for message in snapshot] == sizes
    assert [shape(message)[1] for message in snapshot] == [True] * (len(sizes) - 1) + [False]
    assert shape(later) == ([8], False)


def test_rows_that_match_here_and_there_are_gathered_to_full_messages() -> None:
    rows = tuple((str(number), "A" if number % 700 == 0 else "B", "1") for number in range(7000))
    one = replace(follower(4), filter=subscription(where={"symbol": {"_eq": "A"}}).filter)
    outbox = Outbox(hold_rows=10, max_rows=100)
    outbox.start(one, SnapshotReader(SOURCE, rows, 7, one.filter))
    assert [len(message["data"]["t"]) for message in taken(outbox)] == [4, 4, 2]


def test_an_empty_source_is_an_empty_list() -> None:
    outbox = Outbox(hold_rows=10, max_rows=100)
    outbox.start(follower(4), SnapshotReader(SOURCE, (), 7, every_row()))
    assert taken(outbox) == [{"data": {"t": []}}]


def test_a_batch_is_not_cut_where_another_subscription_is_told_beside_it() -> None:
    batch, plain = follower(10), subscription("2")
    told = in_order(
        [
            ((batch,), Delivery(batch.selection, changes(1, 1, 1))),
            ((plain,), Delivery(plain.selection, changes(1, 1, 1))),
        ]
    )
    assert [(one, [change[4] for change in part.changes]) for one, part in told] == [
        ((plain,), [1]), ((plain,), [2]), ((batch,), [1, 2, 3]), ((plain,), [3]),
    ]  # fmt: skip


def test_news_are_told_beside_what_else_the_first_message_says() -> None:
    delivery = Delivery(batches(2), changes(3))
    delivery.news = b'{"a":1}'
    assert [json.loads(one).get("extensions") for one in delivery.payloads()] == [{"incomplete": True, "a": 1}, None]
    outbox = Outbox(hold_rows=10, max_rows=100, drop_rows=1)
    one = follower(2, SlowPolicy.DROP_OLDEST)
    one.news = b'{"a":1}'
    for first in (1, 2, 3):
        outbox.put(one, changes(1, first=first))
    outbox.put(one, changes(3, first=4))
    assert [message.get("extensions") for message in taken(outbox)] == [
        {"incomplete": True, "dropped": 3, "a": 1}, None
    ]  # fmt: skip
