"""Rules with hysteresis: each rule a latch, the first that is set is the state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.filters import parse_filter
from tycostream.model import Column, ColumnType, Relation, Row, Source
from tycostream.views.states import Rule, StateMachine

SOURCE = Source(
    "positions", Relation("positions"), (Column("id", ColumnType.INTEGER), Column("value", ColumnType.INTEGER)), ("id",)
)


def rule(state: str, when: dict[str, object], until: dict[str, object] | None = None) -> Rule:
    left = None if until is None else parse_filter(SOURCE, {"value": until})
    return Rule(state, parse_filter(SOURCE, {"value": when}), left)


def row(value: int | None) -> Row:
    return ("1", None if value is None else str(value))


def walk(machine: StateMachine, *values: int | None) -> list[str | None]:
    latches, states = 0, []
    for value in values:
        latches = machine.step(latches, row(value))
        states.append(machine.state(latches))
    return states


PLAIN = StateMachine((rule("critical", {"_gt": 100}), rule("warning", {"_gt": 50})))
LEVELS = StateMachine((rule("critical", {"_gt": 100}, {"_lt": 90}), rule("warning", {"_gt": 50}, {"_lt": 40})))
TRIGGER = StateMachine((rule("fired", {"_gt": 100}, {"_lt": 90}),))


def test_without_until_the_state_is_that_of_the_first_rule_that_holds() -> None:
    assert walk(PLAIN, 10, 51, 101, 51, 50, None) == [None, "warning", "critical", "warning", None, None]


def test_a_state_is_left_only_where_until_holds() -> None:
    assert walk(TRIGGER, 95, 101, 95, 90, 101, 89, 95, None) == [None, *["fired"] * 4, None, None, None]


@pytest.mark.parametrize(("values", "states"), [
    ((95, 101, 95, 89, 45, 39), ("warning", "critical", "critical", "warning", "warning", None)),
    ((60, 101), ("warning", "critical")),  # a rule of higher precedence takes over
    ((101, 45), ("critical", "warning")),  # as if it had been seen on the way
    ((101, 39), ("critical", None)),
    ((101, None, 95, 39), ("critical", "critical", "critical", None)),  # unknown is not less than 90
])  # fmt: skip
def test_several_levels(values: tuple[int | None, ...], states: tuple[str | None, ...]) -> None:
    assert tuple(walk(LEVELS, *values)) == states


def test_equal_rules_make_equal_machines() -> None:
    again = StateMachine((rule("critical", {"_gt": 100}, {"_lt": 90}), rule("warning", {"_gt": 50}, {"_lt": 40})))
    assert again == LEVELS
    assert hash(again) == hash(LEVELS)
    assert again != PLAIN


@given(values=st.lists(st.one_of(st.none(), st.integers(85, 105)), max_size=30))
def test_it_agrees_with_the_definition(values: list[int | None]) -> None:
    fired, expected = False, []
    for value in values:
        if value is not None and value > 100:
            fired = True
        elif fired and value is not None and value < 90:
            fired = False
        expected.append("fired" if fired else None)
    assert walk(TRIGGER, *values) == expected
    assert walk(TRIGGER, *[value for value in values for _ in range(2)]) == [one for one in expected for _ in range(2)]
