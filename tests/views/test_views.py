"""Views when something fails in the middle of a flush."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.views.support import happened, subscription
from tycostream.model import Operation
from tycostream.views import Delivery, Views
from tycostream.views.applying import ViewChange
from tycostream.views.delivery import in_order


class Failing:
    """A selection that can't say what interests it."""

    @property
    def interest(self) -> int:
        raise RuntimeError("poison")

    def render(self, changes: Sequence[ViewChange]) -> list[bytes]:
        raise AssertionError("nothing is to be rendered")


def test_after_a_flush_that_failed_every_view_is_told_again() -> None:
    views = Views()
    poison = subscription("1", selection=Failing())
    views.add(poison)
    views.add(subscription("2", {"symbol": {"_eq": "A"}}))
    views.route(happened(1, ("1", None, ("1", "A", "5"), 0)))
    with pytest.raises(RuntimeError, match="poison"):
        list(views.flush())
    views.discard()
    views.remove(poison)
    views.route(happened(2, ("1", None, ("1", "A", "6"), 0)))
    ((_, delivery),) = views.flush()
    assert [change[2] for change in delivery.changes] == [("1", "A", "6")]


def test_news_go_with_the_next_changes_of_each_group_and_its_first_timestamp() -> None:
    views = Views()
    one, two = subscription("1"), subscription("2", {"symbol": {"_eq": "B"}})
    for each in (one, two):
        views.add(each)
    views.announce(b'{"old":1}')
    views.announce(b'{"new":1}')
    views.route(happened(1, ("1", None, ("1", "A", "5"), 0)))
    views.route(happened(2, ("2", None, ("2", "A", "5"), 0)))
    ((_, delivery),) = views.flush()
    later = [((two,), Delivery(two.selection, [(Operation.INSERT, "9", ("9", "B", None), 0, 1)]))]
    pieces = [(each, json.loads(piece.payloads()[0])) for each, piece in in_order([((one,), delivery), *later])]
    assert [(each, result.get("extensions")) for each, result in pieces] == [
        ((one,), {"new": 1}), ((two,), None), ((one,), None),
    ]  # fmt: skip
    first, second = [json.loads(result) for result in delivery.payloads()]
    assert (first["extensions"], "extensions" in second) == ({"new": 1}, False)
    views.route(happened(3, ("3", None, ("3", "B", "5"), 0)))
    news = {next(group.subscriptions): delivery.news for group, delivery in views.flush()}
    assert news == {one: None, two: b'{"new":1}'}


@pytest.mark.parametrize("others", [0, 1])
def test_a_view_of_everything_hears_of_every_change_alone_or_beside_others(others: int) -> None:
    views = Views()
    everything = subscription("1")
    views.add(everything)
    for number in range(others):
        views.add(subscription("2", {"symbol": {"_eq": str(number)}}))
    one, two = ("1", "A", "5"), ("1", "A", "6")
    views.route(happened(1, ("1", None, one, 0), ("1", one, two, 0b100)))
    views.route(happened(2))
    views.route(happened(3, ("1", two, None, 0)))
    ((group, delivery),) = views.flush()
    assert list(group.subscriptions) == [everything]
    assert delivery.changes == [
        (Operation.INSERT, "1", one, 0, 1), (Operation.UPDATE, "1", two, 0b100, 1), (Operation.DELETE, "1", two, 0, 3),
    ]  # fmt: skip
    _view, explanation = views.explain(everything.filter)
    assert (explanation.index, explanation.matched) == ("every row", 3)
    assert not list(views.flush())
