"""Triggers whose conditions speak of calculated fields: what a wish becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.views.calculated import TRADES
from tycostream.triggers import TargetPolicy
from tycostream.triggers.codes import Code, TriggerError
from tycostream.triggers.definition import TriggerDefinition, define
from tycostream.views.derived import no_rules

RULES = [{"state": "high", "when": {"price": {"_gt": 100}}, "until": {"price": {"_lt": 90}}}]
HIGH = {"risk": {"_eq": "high"}}


def wished(**wish: Any) -> TriggerDefinition:
    return define(
        TRADES, {"name": "n", "webhook": "http://127.0.0.1/", "fire": {"id": {"_gt": 1}}} | wish, TargetPolicy()
    )


def test_conditions_on_calculated_fields_read_extended_rows() -> None:
    made = wished(fire=HIGH, clear={"risk": {"_is_null": True}}, derive_risk=RULES, fields=["id", "risk"])
    assert made.derivation is not None
    assert made.shape is TRADES.extended
    assert made.rule.when.matches(made.derivation.extend(("1", "A", "101")))
    assert made.rule.until is not None
    assert made.rule.until.matches(made.derivation.extend(("1", "A", "89")))
    assert made.fields == ("id", "risk")


def test_who_needs_no_calculated_field_watches_the_columns() -> None:
    made = wished()
    assert (made.derivation, made.shape) == (None, TRADES)
    for needs in ({"fire": HIGH}, {"clear": HIGH}, {"fields": ["trend"]}):
        assert wished(**needs).derivation == no_rules(TRADES)


@pytest.mark.parametrize(("wish", "code", "message"), [
    ({"derive_risk": [{"state": "low", "when": {"_not": HIGH}}]}, Code.BAD_USER_INPUT,
     "derive_risk[0].when._not.risk: risk is a calculated field, and rules read the database's columns: id, symbol, price"),
    ({"derive_risk": RULES * 101}, Code.LIMIT_EXCEEDED, "derive_risk: found 101 rules, allowed are 100"),
    ({"fire": {"risk": {"_eq": None}}}, Code.BAD_USER_INPUT, "fire.risk._eq: null is no operand; ask _is_null"),
    ({"fields": ["risk", "no"]}, Code.UNKNOWN_FIELD,
     '"fields": trades has no column "no"; its columns are id, symbol, price, risk, trend'),
    ({"fire": {"_or": [{}, HIGH]}}, Code.EMPTY_FIRE,
     '"fire" is always true; expected a condition on some column, such as {id: {_is_null: false}}'),
])  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(wish: dict[str, Any], code: Code, message: str) -> None:
    with pytest.raises(TriggerError) as caught:
        wished(**wish)
    assert (str(caught.value), caught.value.code) == (message, code)
