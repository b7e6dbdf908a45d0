"""Bodies and ids, what a status means, how long to wait, warnings that don't flood the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.graphql.encoding import decoder, encoder
from tycostream.graphql.rendering import event_id as update_id
from tycostream.model import Column, ColumnType, EnumType, Relation, Source
from tycostream.triggers import EventType, Payload, Schedule, event_id
from tycostream.triggers.retry import Verdict, judge, redirected_to, retry_after
from tycostream.triggers.warnings import MOST_PLACES, Warnings

SIDE = EnumType("side", ("buy", "sell"))
TRADES = Source(
    "trades",
    Relation("trades"),
    (
        Column("id", ColumnType.BIGINT),
        Column("side", ColumnType.ENUM, SIDE),
        Column("price", ColumnType.FLOAT),
        Column("live", ColumnType.BOOLEAN),
        Column("note", ColumnType.STRING),
    ),
    ("id",),
)
ROW = ("9007199254740993", "buy", "NaN", "t", 'say "ü"\n')
MADE = datetime(2024, 1, 2, 3, 4, 5, 678_900, timezone(timedelta(hours=2)))


def test_a_body() -> None:
    identity, body = Payload(TRADES, 'big "trades"', encoder).write(EventType.FIRE, ROW, 2**63, MADE)
    assert json.loads(body) == {
        "event_id": identity,
        "event_type": "FIRE",
        "trigger_name": 'big "trades"',
        "source": "trades",
        "timestamp": "2024-01-02T01:04:05.678Z",
        "source_timestamp": "9223372036854775808",
        "data": {"id": "9007199254740993", "side": "buy", "price": None, "live": True, "note": 'say "ü"\n'},
    }
    assert list(json.loads(body))[:3] == ["event_id", "event_type", "trigger_name"]


def test_a_body_with_some_fields_only() -> None:
    payload = Payload(TRADES, "t", encoder, ["note", "id", "note"])
    _, body = payload.write(EventType.CLEAR, ("1", None, None, None, None), 1, MADE)
    assert list(json.loads(body)["data"].items()) == [("note", None), ("id", "1")]
    with pytest.raises(KeyError):
        Payload(TRADES, "t", encoder, ["nothing"])


@given(st.tuples(*[st.none() | st.text(st.characters(codec="utf-8"))] * 5))
def test_bodies_hold_what_graphql_shows(row) -> None:
    row = ("k", *row[1:])
    _, body = Payload(TRADES, "t", encoder).write(EventType.TEST, row, 1, datetime.now(UTC))
    expected = {column.name: decoder(column)(text) for column, text in zip(TRADES.columns, row, strict=True)}
    assert json.loads(body)["data"] == expected


def test_ids_differ_by_everything_and_from_those_of_updates() -> None:
    ids = [
        event_id("s", "t", "k", 1, EventType.FIRE),
        event_id("s2", "t", "k", 1, EventType.FIRE),
        event_id("s", "t2", "k", 1, EventType.FIRE),
        event_id("s", "t", "k2", 1, EventType.FIRE),
        event_id("s", "t", "k", 2, EventType.FIRE),
        event_id("s", "t", "k", 1, EventType.CLEAR),
        event_id("s", "t", "k", 1, EventType.TEST),
        event_id("s", "t", ("k", "1"), 1, EventType.FIRE),
        event_id("s", "tk", "", 1, EventType.FIRE),
    ]
    assert len(set(ids)) == len(ids)
    assert event_id("s", "t", "k", 1, EventType.FIRE) == ids[0]
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)
    odd = Source("s", Relation("s"), tuple(Column(name, ColumnType.STRING) for name in "abc"), ("a", "b", "c"))
    # even where the parts that are hashed are the same ones
    assert update_id(odd, ("FIRE", "1", "k"), 7) != event_id("s", "7", "k", 1, EventType.FIRE)
    assert event_id("trades", "t", "1", 5, EventType.FIRE) == "6e9d03bdefe20d2edc610f78f86afdee"


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        (range(200, 300), Verdict.DELIVERED),
        (range(300, 400), Verdict.FAILED),
        ([410], Verdict.GONE),
        ([408, 425, 429, *range(500, 600)], Verdict.RETRY),
        (sorted(set(range(400, 500)) - {408, 410, 425, 429}), Verdict.FAILED),
    ],
)
def test_what_a_status_means(statuses, verdict) -> None:
    assert {judge(status) for status in statuses} == {verdict}


NOW = 1_700_000_000.0  # 14 November 2023, 22:13:20


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60),
        ("Tue Nov 14 22:14:20 2023", 60),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0),
        (None, 0),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("1e9", 0),
        ("9" * 40, 0),
        ("soon", 0),
        ("Tue, 99 Nov 2023 22:14:20 GMT", 0),
        ("Tue, 14 Nov 99999999999999999999 22:14:20 GMT", 0),
    ],
)
def test_retry_after(value, seconds) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_any_header_is_a_time_or_none(text) -> None:
    assert retry_after(text, NOW) >= 0
    redirected = redirected_to(text, "http://a.b/c?d")
    assert redirected is None or len(redirected) <= 500


def test_waits_grow_within_bounds() -> None:
    longest = Schedule(attempts=6, least=1, most=50, max_age=100, chance=lambda: 1.0)
    assert [longest.wait(attempts, 0) for attempts in range(1, 8)] == [1, 4, 16, 50, 50, None, None]
    assert [longest.wait(2, 0, asked) for asked in (3, 30, 3000)] == [4, 30, 50]
    assert [longest.wait(2, age) for age in (96, 96.5)] == [4, None]
    shortest = Schedule(attempts=6, least=1, most=50, max_age=100, chance=lambda: 0.0)
    assert [shortest.wait(attempts, 0) for attempts in range(1, 6)] == [0] * 5
    spread = Schedule(attempts=2, least=1, most=50, max_age=100)
    waits = [spread.wait(1, 0) for _ in range(200)]
    assert 0 <= min(waits) < 0.2
    assert 0.8 < max(waits) <= 1


def test_a_warning_is_logged_once_a_while_with_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    warnings = Warnings(lambda: now, interval=60)
    for _ in range(5):
        warnings.warn("http://a.b:80", "it broke", "badly")
    warnings.warn("http://c.d:80", "it broke")
    now = 61.0
    warnings.warn("http://a.b:80", "it broke", "again")
    assert [record.getMessage() for record in caplog.records] == [
        "Webhooks of http://a.b:80: it broke: badly",
        "Webhooks of http://c.d:80: it broke",
        "Webhooks of http://a.b:80: it broke: again (4 more since this was last said)",
    ]
    for number in range(3 * MOST_PLACES):
        warnings.warn(str(number), "it broke")
    assert len(warnings._last) <= MOST_PLACES
