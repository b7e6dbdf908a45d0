"""How views are found, told to people."""

from __future__ import annotations

from tests.views.support import SOURCE, happened, subscription
from tycostream.filters import parse_filter
from tycostream.views import Views
from tycostream.views.explaining import explained, views_told


def test_views_tell_what_they_have_cost() -> None:
    views = Views()
    for number in range(3):
        views.add(subscription(f"a{number}", {"symbol": {"_eq": "A"}}))
    views.add(subscription("b", {"symbol": {"_like": "B%"}}))
    views.route(happened(1, ("1", None, ("1", "A", "5"), 0), ("1", ("1", "A", "5"), ("1", "A", "6"), 0b100)))
    one, other = views_told(views, 5)
    assert one == {
        "filter": '{"symbol": {"_eq": "A"}}', "index": "hash on symbol", "subscriptions": 3, "selections": 1,
        "evaluated": 0, "matched": 2,
    }  # fmt: skip
    assert (other["index"], other["evaluated"], other["matched"]) == ("evaluated one by one", 2, 0)
    assert views_told(views, 1) == [one]
    assert explained(views, parse_filter(SOURCE, {"symbol": {"_eq": "A"}})) == one


def test_a_filter_that_nobody_follows_is_explained_and_leaves_nothing_behind() -> None:
    views = Views()
    told = explained(views, parse_filter(SOURCE, {"symbol": {"_in": ["A", "B"]}}))
    assert (told["index"], told["subscriptions"], told["matched"]) == ("hash on symbol", 0, 0)
    assert not len(views)
    views.add(subscription("b", {"symbol": {"_eq": "B"}}))
    views.route(happened(1, ("1", None, ("1", "A", "5"), 0)))
    assert list(views.flush()) == []
