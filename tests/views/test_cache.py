"""The row cache: exact changes, exact undo, and a reload that leads to the snapshot's rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.views.support import SOURCE, applied, deltas_of
from tycostream.model import UNCHANGED, Change, Changes, PartialRow, Row
from tycostream.views import Applied, Reload, RowCache

keys = st.sampled_from(["1", "2", "3", "4"])
rows = st.tuples(keys, st.sampled_from(["AAPL", "MSFT", None]), st.sampled_from(["1", "2", None]))
changes = st.one_of(rows.map(lambda row: (row[0], row)), keys.map(lambda key: (key, None)))


def cache_of(*initial: Row) -> RowCache:
    cache = RowCache(SOURCE)
    cache.load({SOURCE.key_of(row): row for row in initial}, 1)
    return cache


def test_deltas_say_what_was_and_what_is_and_which_columns_differ() -> None:
    cache = cache_of(("1", "AAPL", "1"), ("2", "MSFT", "1"))
    done = applied(
        cache,
        [("1", ("1", "AAPL", "2")), ("2", None), ("3", ("3", None, None)), ("1", ("1", "AAPL", "2")), ("9", None)],
    )
    assert deltas_of(done) == [
        ("1", ("1", "AAPL", "1"), ("1", "AAPL", "2"), 0b100),
        ("2", ("2", "MSFT", "1"), None, 0),
        ("3", None, ("3", None, None), 0),
    ]


@given(st.lists(rows), st.lists(changes))
def test_undo_restores_what_was(initial: list[Row], batch: list[Change]) -> None:
    cache = cache_of(*initial)
    before = dict(cache.rows)
    cache.undo(applied(cache, batch))
    assert cache.rows == before


def test_what_failed_half_way_can_be_undone() -> None:
    cache = cache_of(("1", "AAPL", "1"))
    done = Applied()
    with pytest.raises(ValueError, match="not known"):
        cache.apply(
            [
                Changes(2, [("1", ("1", "AAPL", "2"))]),
                Changes(3, [("1", None), ("2", PartialRow(("2",), "9"))]),
            ],
            1,
            done,
        )
    assert done.timestamps == [2, 3]
    cache.undo(done)
    assert cache.rows == {"1": ("1", "AAPL", "1")}


def test_values_that_did_not_change_come_from_the_row_before_even_under_another_key() -> None:
    cache = cache_of(("1", "a long text", "1"))
    applied(cache, [("2", PartialRow(("2", UNCHANGED, "5"), "1")), ("1", None)])
    assert cache.rows == {"2": ("2", "a long text", "5")}


def test_an_unknown_base_is_an_error_and_not_a_null() -> None:
    with pytest.raises(ValueError, match="not known"):
        applied(cache_of(), [("2", PartialRow(("2", UNCHANGED, "5"), "1"))])


def test_frozen_rows_are_shared_until_something_changes() -> None:
    cache = cache_of(("1", "AAPL", "1"))
    first = cache.frozen()
    assert cache.frozen() is first
    applied(cache, [("1", None)])
    assert first == (("1", "AAPL", "1"),)
    assert cache.frozen() == ()


partial_changes = st.one_of(
    changes,
    st.tuples(keys, keys, st.sampled_from(["7", None])).map(
        lambda move: (move[0], PartialRow((move[0], UNCHANGED, move[2]), move[1]))
    ),
)


@given(
    st.lists(rows),
    st.lists(rows, unique_by=lambda row: row[0]),
    st.lists(st.tuples(st.integers(5, 15), st.lists(partial_changes, max_size=4)), max_size=8),
)
def test_a_reload_ends_where_the_snapshot_and_the_later_changes_lead(
    initial: list[Row], snapshot: list[Row], later: list[tuple[int, list[Change]]]
) -> None:
    """The changes that the snapshot shows already (up to its timestamp, 10) are ignored; partial rows whose base is not
    there can't come from a database and are left out."""
    expected = cache_of(*snapshot)
    reload = Reload(SOURCE, 10)
    for row in snapshot:
        reload.add([row])
    for timestamp, batch in sorted(later, key=lambda item: item[0]):
        possible: list[Change] = []
        for change in batch:
            if timestamp > 10:
                if isinstance(change[1], PartialRow) and change[1].base not in expected.rows:
                    continue
                applied(expected, [change])
            possible.append(change)
        reload.hold(timestamp, possible)
    reload.finish()
    cache = cache_of(*initial)
    applied(cache, reload.differences(cache.rows))
    assert cache.rows == expected.rows
    assert list(reload.differences(cache.rows)) == []
