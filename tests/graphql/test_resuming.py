"""Cursors and marks in requests and results."""

from __future__ import annotations

import json

import pytest

from tests.graphql.examples import ROW, engine
from tests.support.rendering import rendered
from tycostream.graphql import RequestError, SubscriptionPlan
from tycostream.model import Operation
from tycostream.views import Cursor, Moment, SnapshotMark

ENGINE = engine()
CURSOR = Cursor("trades", "u1", 5, 7)
QUERY = "subscription ($c: String, $m: Boolean) { trades(resume_from: $c, snapshot_marks: $m) { operation snapshot cursor } }"


def planned(query: str = QUERY, **variables: object) -> SubscriptionPlan:
    plan = ENGINE.prepare(query, None, variables)
    assert isinstance(plan, SubscriptionPlan)
    return plan


def test_a_request_says_from_where_it_goes_on() -> None:
    plan = planned(c=CURSOR.encode(), m=True)
    assert (plan.resume, plan.mark_end, plan.selection.marked) == (CURSOR, True, True)
    for variables in ({}, {"c": None, "m": None}):
        plan = planned(QUERY, **variables)
        assert (plan.resume, plan.mark_end) == (None, False)
    assert not planned("subscription { trades { operation } }").selection.marked


@pytest.mark.parametrize(
    ("cursor", "message"),
    [
        ("x", 'Argument "resume_from" of "trades": it is not a cursor; subscribe without it.'),
        (CURSOR.encode()[:-4], "not a whole one"),
        (Cursor("holdings", "u1", 5, 7).encode(), "it is a cursor of holdings"),
    ],
)
def test_what_is_no_cursor_of_the_source_is_an_error_with_a_code_of_its_own(cursor: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        planned(c=cursor)
    assert [error["extensions"]["code"] for error in caught.value.errors] == ["BAD_CURSOR"]


@pytest.mark.parametrize("arguments", [f'resume_from: "{CURSOR.encode()}"', "snapshot_marks: true"])
def test_who_could_not_see_that_rows_are_to_be_cleared_is_told_so(arguments: str) -> None:
    with pytest.raises(RequestError, match="select the field snapshot too") as caught:
        planned(f"subscription {{ trades({arguments}) {{ operation cursor }} }}")
    assert [error["extensions"]["code"] for error in caught.value.errors] == ["BAD_USER_INPUT"]


def test_cursor_and_mark_are_rendered() -> None:
    selection = planned("subscription { t: trades { c: cursor s: snapshot data { id } } }").selection

    def shown(operation: Operation, timestamp: int, changed: int = 0) -> object:
        return json.loads(rendered(selection, operation, ROW, changed, timestamp))["data"]["t"]

    cursor = CURSOR.encode()
    for mark in SnapshotMark:
        moment = Moment(7, "trades", "u1", None, 5, mark)
        assert shown(Operation.INSERT, moment) == {"c": cursor, "s": mark.value, "data": {"id": 1}}
    moment = Moment(7, "trades", "u1", 5, 5)
    for operation in Operation:
        assert shown(operation, moment, 1) == {"c": cursor, "s": None, "data": {"id": 1}}
    bare = shown(Operation.INSERT, 7)
    assert isinstance(bare, dict)
    assert Cursor.decode(bare["c"], "trades").after is None, "a timestamp without a place leads to a snapshot"


def test_a_mark_without_a_row_changes_nothing() -> None:
    query = "subscription { trades { __typename operation fields timestamp event_id snapshot cursor data { id } } }"
    moment = Moment(7, "trades", "u1", None, 7, SnapshotMark.END)
    update = json.loads(rendered(planned(query).selection, Operation.UPDATE, (), 0, moment))["data"]["trades"]
    assert update == {
        "__typename": "tradesUpdate",
        "operation": "UPDATE",
        "fields": [],
        "timestamp": "7",
        "event_id": update["event_id"],
        "snapshot": "END",
        "cursor": Cursor("trades", "u1", 7, 7).encode(),
        "data": None,
    }
    assert len(update["event_id"]) == 32
