"""Views when something fails in the middle of a flush."""

from __future__ import annotations

import pytest

from tests.views.support import subscription
from tycostream.model import Operation, Row
from tycostream.views import Views


class Failing:
    """A selection that can't say what interests it."""

    @property
    def interest(self) -> int:
        raise RuntimeError("poison")

    def render(self, operation: Operation, row: Row, changed: int, timestamp: int) -> bytes:
        raise AssertionError("nothing is to be rendered")


def test_after_a_flush_that_failed_every_view_is_told_again() -> None:
    views = Views()
    poison = subscription("1", selection=Failing())
    views.add(poison)
    views.add(subscription("2", {"symbol": {"_eq": "A"}}))
    views.route([("1", None, ("1", "A", "5"), 0)], 1)
    with pytest.raises(RuntimeError, match="poison"):
        list(views.flush())
    views.discard()
    views.remove(poison)
    views.route([("1", None, ("1", "A", "6"), 0)], 2)
    ((_, delivery),) = views.flush()
    assert [change[2] for change in delivery.changes] == [("1", "A", "6")]
