"""The difference that a client is told which has seen a part of a transaction."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.views.support import SOURCE
from tycostream.filters import parse_filter
from tycostream.model import Row
from tycostream.views import Cursor, Delta, Replay
from tycostream.views.recent import Batch


def row(price: int) -> Row:
    return ("1", "A", str(price))


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ([5, 20, 6, 7], [("DELETE", row(20))]),  # in view for a while, which the client may have seen
        ([20, 5, 6, 7], [("DELETE", row(20))]),
        ([5, 6, 7, 8], []),  # never in view
        ([5, 20, 6, 21], [("INSERT", row(21))]),
        ([20, 21, 22, 20], [("INSERT", row(20))]),  # as before, but not perhaps for the client
        ([None, 20, 5, None], [("DELETE", row(20))]),
        ([None, 5, 20, 30], [("INSERT", row(30))]),
    ],
)
def test_a_row_of_a_transaction_that_was_seen_in_part(versions: list[int | None], told: list[tuple[str, Row]]) -> None:
    rows = [None if price is None else row(price) for price in versions]
    deltas: list[Delta] = [("1", old, new, 4) for old, new in pairwise(rows)]
    batches = [Batch(9, 10, deltas, 0, 0.0)]
    condition = parse_filter(SOURCE, {"price": {"_gt": 10}})
    replay = Replay(batches, Cursor("trades", "u1", 9, 10), 12, condition, -1)
    found = [change for _ in range(3) for change in replay.read(1)]
    assert replay.done
    assert [(operation.value, shown) for operation, _key, shown, _mask, _timestamp in found] == told
