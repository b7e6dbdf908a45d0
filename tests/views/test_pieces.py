"""Pieces of snapshots that several clients read: rendered once, right for each, and not kept for longer than of use."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.views.support import SOURCE, Everything, Lines, every_row
from tycostream.filters import parse_filter
from tycostream.model import Row
from tycostream.views import pieces as pieces_module
from tycostream.views.applying import ViewChange
from tycostream.views.pieces import MOST_PIECES, PieceStore
from tycostream.views.snapshot import SnapshotReader

ROWS: tuple[Row, ...] = tuple((str(number), "AB"[number % 2], "1") for number in range(20))


@dataclass(frozen=True)
class Counting(Everything):
    """Renders, and remembers how many rows each time."""

    rendered: list[int] = field(default_factory=list, compare=False)

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        self.rendered.append(len(changes))
        return super().render(changes)


def reader(
    store: PieceStore, selection: Everything, rows: tuple[Row, ...] = ROWS, timestamp: int = 7
) -> SnapshotReader:
    condition = every_row()
    pieces = store.of(condition, selection, rows, timestamp, None)
    return SnapshotReader(SOURCE, rows, timestamp, condition, None, pieces)


def read(one: SnapshotReader, selection: Everything, count: int = 5, operation_id: str = "1") -> bytes:
    return one.read_rendered(count, selection).wrapped(Lines(operation_id))


def alone(count: int, operation_id: str = "1") -> list[bytes]:
    """What a client is sent that shares nothing."""
    one = SnapshotReader(SOURCE, ROWS, 7, every_row())
    sent = []
    while not one.done:
        sent.append(Lines(operation_id).prefix.join(Lines(operation_id).cut(Everything().render(one.read(count)))))
    return sent


def test_who_begins_with_the_same_rows_has_them_rendered_once_whatever_the_ids() -> None:
    selection = Counting()
    store = PieceStore()
    readers = [reader(store, selection) for _ in range(3)]
    for expected in zip(alone(5, "1"), alone(5, "22"), alone(5, "1"), strict=True):
        sent = [read(one, selection, operation_id=id_) for one, id_ in zip(readers, ("1", "22", "1"), strict=True)]
        assert tuple(sent) == expected
    assert all(one.done for one in readers)
    assert selection.rendered == [5, 5, 5, 5]


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
def test_however_readers_take_turns_each_is_sent_what_it_would_be_alone(turns: list[int], count: int) -> None:
    selection, store = Everything(), PieceStore()
    ids = ["1", "1", "2", "33"]
    readers = [reader(store, selection) for _ in ids]
    sent: list[list[bytes]] = [[] for _ in ids]
    for turn in [*turns, *sorted(range(4)) * 20]:
        if not readers[turn].done:
            sent[turn].append(read(readers[turn], selection, count, ids[turn]))
    assert sent == [alone(count, id_) for id_ in ids]


@pytest.mark.parametrize(
    ("where", "selection", "rows", "timestamp", "states"),
    [
        ({"symbol": {"_eq": "A"}}, Everything(), ROWS, 7, None),
        (None, Everything(interest=1), ROWS, 7, None),
        (None, Everything(), (*ROWS, ("20", "A", "1")), 7, None),
        (None, Everything(), ROWS, 8, None),
        (None, Everything(), ROWS, 7, object()),
    ],
)
def test_what_is_not_the_same_is_not_shared(where, selection, rows, timestamp, states) -> None:
    store = PieceStore()
    first = store.of(every_row(), Everything(), ROWS, 7, None)
    other = store.of(parse_filter(SOURCE, where), selection, rows, timestamp, states)
    assert other is not first
    assert not other.shared


def test_a_piece_without_rows_says_nothing() -> None:
    selection = Counting()
    none = parse_filter(SOURCE, {"symbol": {"_eq": "none"}})
    one = SnapshotReader(SOURCE, ROWS, 7, none, None, PieceStore().of(none, selection, ROWS, 7, None))
    assert read(one, selection, 500) == b""
    assert one.done


def test_nothing_is_kept_for_one_alone_and_nothing_once_all_have_gone() -> None:
    selection, store = Counting(), PieceStore()
    first = reader(store, selection)
    first.read_rendered(5, selection)
    second = reader(store, selection)
    pieces = weakref.ref(store.of(every_row(), selection, ROWS, 7, None))
    second.read_rendered(5, selection)
    assert selection.rendered == [5, 5]
    first.read_rendered(5, selection)
    gc.disable()
    try:
        assert pieces() is not None
        del first, second
        assert pieces() is None, "a ring"
    finally:
        gc.enable()


def test_no_more_than_so_many_pieces_are_kept_and_no_large_ones(monkeypatch) -> None:
    selection, store = Counting(), PieceStore()
    rows = tuple((str(number), "A", "1") for number in range(MOST_PIECES + 5))
    first, second = reader(store, selection, rows), reader(store, selection, rows)
    while not first.done:
        first.read_rendered(1, selection)
    while not second.done:
        second.read_rendered(1, selection)
    assert len(selection.rendered) > len(rows)
    assert len(store._kept) == MOST_PIECES
    monkeypatch.setattr(pieces_module, "MOST_BYTES", 10)
    third, fourth = reader(store, selection), reader(store, selection)
    before = len(selection.rendered)
    read(third, selection)
    read(fourth, selection)
    assert len(selection.rendered) == before + 2
