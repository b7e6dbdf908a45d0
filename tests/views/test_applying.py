"""What transactions did, change by change, and by timestamp."""

from __future__ import annotations

from tests.views.support import SOURCE, applied
from tycostream.model import Changes, Operation
from tycostream.views import Applied, RowCache

A, B = ("1", "A", "1"), ("1", "B", "1")


def test_each_change_stands_beside_the_row_before_it() -> None:
    done = applied(RowCache(SOURCE), [("1", A), ("1", B), ("1", B), ("1", None), ("1", None)], 7)
    assert list(done) == [
        ((Operation.INSERT, "1", A, 0, 7), None),
        ((Operation.UPDATE, "1", B, 0b010, 7), A),
        ((Operation.DELETE, "1", B, 0, 7), B),
    ]


def test_the_time_before_a_timestamp_is_also_one_at_which_nothing_changed() -> None:
    """Whoever has everything up to there, from another process perhaps, is told what came after it."""
    cache, done = RowCache(SOURCE), Applied()
    run = [
        Changes(4, [("1", A)]),
        Changes(5, [("1", A), ("9", None)]),
        Changes(6, [("1", B)]),
        Changes(8, [("1", None)]),
    ]
    cache.apply(run, 3, done)
    assert done.timestamps == [4, 5, 6, 8]
    assert list(done.by_timestamp(3)) == [
        ([("1", None, A, 0)], 4, 3),
        ([("1", A, B, 0b010)], 6, 5),
        ([("1", B, None, 0)], 8, 6),
    ]
    assert [(timestamp, since) for _deltas, timestamp, since in done.by_timestamp(None)] == [(4, 4), (6, 5), (8, 6)]
