"""What a wish becomes; the rest of what is refused is in tests/end_to_end/test_triggers.py."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tycostream.filters import parse_filter
from tycostream.model import Column, ColumnType, Relation, Source
from tycostream.triggers import TargetPolicy
from tycostream.triggers.codes import Code, TriggerError
from tycostream.triggers.definition import OnCreate, TriggerDefinition, define, some_of

SOURCE = Source(
    "trades", Relation("trades"), (Column("id", ColumnType.INTEGER), Column("symbol", ColumnType.STRING)), ("id",)
)


def wished(**wish: Any) -> TriggerDefinition:
    given = {"name": "n", "webhook": "HTTP://Example.com/Hook", "fire": {"id": {"_gt": 1}}}
    return define(SOURCE, given | wish, TargetPolicy())


def test_the_least_that_can_be_wished() -> None:
    made = wished()
    assert (made.webhook, made.url) == ("HTTP://Example.com/Hook", "http://example.com/Hook")
    assert (made.fire, made.clear) == ('{"id":{"_gt":1}}', None)
    assert made.rule.when is parse_filter(SOURCE, {"id": {"_gt": 1}})
    assert made.rule.until is None
    assert (made.fields, made.cooldown, made.on_create) == (None, 0.0, OnCreate.REMEMBER_EXISTING)


def test_everything_that_can_be_wished() -> None:
    made = wished(
        name="x" * 200, clear={"symbol": {"_in": ["ü", "b"]}}, fields=["symbol", "symbol"], cooldown_seconds=1.5,
        on_create="FIRE_EXISTING",
    )  # fmt: skip
    assert json.loads(made.clear or "") == {"symbol": {"_in": ["ü", "b"]}}
    assert (made.fields, made.cooldown, made.on_create) == (("symbol",), 1.5, OnCreate.FIRE_EXISTING)


def test_the_expression_comes_back_as_given_though_another_says_the_same() -> None:
    first = wished(fire={"_and": [{"id": {"_gt": 1}}]})
    second = wished(fire={"id": {"_gt": 1}})
    assert first.rule == second.rule
    assert (first.fire, second.fire) == ('{"_and":[{"id":{"_gt":1}}]}', '{"id":{"_gt":1}}')


@pytest.mark.parametrize("name", ["", "\t", "x" * 201, "a\0", "a\x7f", "a\u2028b", "\ud800"])
def test_bad_names(name: str) -> None:
    with pytest.raises(TriggerError) as raised:
        wished(name=name)
    assert raised.value.code is Code.BAD_TRIGGER_NAME
    str(raised.value).encode()


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_bad_cooldowns(seconds: float) -> None:
    with pytest.raises(TriggerError) as raised:
        wished(cooldown_seconds=seconds)
    assert raised.value.code is Code.BAD_USER_INPUT


def test_a_few_names_stand_for_many() -> None:
    assert some_of(["a", "b"]) == '"a", "b"'
    assert some_of([str(number) for number in range(12)]).endswith('"9" and 2 more')
