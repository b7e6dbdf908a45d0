"""Calculated fields in GraphQL: the schema, what is planned for whom, what is refused, queries, and how they are written."""

from __future__ import annotations

import json

import pytest
from graphql import GraphQLInputObjectType, GraphQLObjectType, print_type

from tests.graphql.examples import Shelf
from tests.support.rendering import rendered
from tycostream.graphql import Engine, Limits, Operation, PreparedQuery, RequestError, SubscriptionPlan
from tycostream.graphql.schema import rule_name
from tycostream.model import Catalog, Column, ColumnType, EnumType, Relation, Row, Source
from tycostream.settings import names
from tycostream.views.derived import no_rules
from tycostream.views.rules import rules_argument

RISK = EnumType("risk_level", ("low", "high", "critical"))
TREND = EnumType("trend", ("down", "up"))
POSITIONS = Source(
    "positions",
    Relation("positions"),
    (
        Column("id", ColumnType.INTEGER),
        Column("value", ColumnType.FLOAT),
        Column("note", ColumnType.STRING),
    ),
    ("id",),
    calculated=(
        Column("risk", ColumnType.ENUM, RISK, "How bad it is."),
        Column("trend", ColumnType.ENUM, TREND),
    ),
)
PLAIN = Source("plain", Relation("plain"), (Column("id", ColumnType.INTEGER),), ("id",))
CATALOG = Catalog({"positions": POSITIONS, "plain": PLAIN}, {"risk_level": RISK, "trend": TREND})
ROWS: list[Row] = [("1", "5", "a"), ("2", "50", None), ("3", "500", "c"), ("4", None, "d")]
RULES = "derive_risk: [{state: critical, when: {value: {_gt: 100}}}, {state: high, when: {value: {_gt: 10}}}]"


def engine(limits: Limits | None = None) -> Engine:
    return Engine(CATALOG, limits or Limits(), Shelf(ROWS))


ENGINE = engine()


def follow(
    arguments: str, selection: str = "data { id }", variables: dict[str, object] | None = None, head: str = ""
) -> SubscriptionPlan:
    text = f"subscription {head} {{ positions{arguments and f'({arguments})'} {{ {selection} }} }}"
    plan = ENGINE.prepare(text, None, variables)
    assert isinstance(plan, SubscriptionPlan)
    return plan


def refusal(arguments: str, limits: Limits | None = None) -> tuple[str, str]:
    """Message and code, which are the same for subscription and queries."""
    told = set()
    for text in (
        f"subscription {{ positions({arguments}) {{ operation }} }}",
        f"{{ positions({arguments}) {{ id }} }}",
    ):
        with pytest.raises(RequestError) as caught:
            engine(limits).prepare(text, None, None)
        (error, *_) = caught.value.errors
        assert error["locations"]
        told.add((error["message"], error["extensions"]["code"]))
    (one,) = told
    return one


# The schema


def test_calculated_fields_are_fields_like_any_other() -> None:
    types = ENGINE.schema.type_map
    assert print_type(types["positions"]) == (
        'type positions {\n  id: Int!\n  value: Float\n  note: String\n\n  """How bad it is."""\n  risk: risk_level\n'
        "  trend: trend\n}"
    )
    for name, kind in (("positionsExpression", "risk_levelComparison"), ("positions_order_by", "order_by")):
        type_ = types[name]
        assert isinstance(type_, GraphQLInputObjectType)
        assert str(type_.fields["risk"].type) == kind
    rule = types["positions_risk_rule"]
    assert isinstance(rule, GraphQLInputObjectType)
    assert {name: str(field.type) for name, field in rule.fields.items()} == {
        "state": "risk_level!",
        "when": "positionsExpression!",
        "until": "positionsExpression",
    }
    query, subscription = types["Query"], types["Subscription"]
    assert isinstance(query, GraphQLObjectType)
    assert isinstance(subscription, GraphQLObjectType)
    for field in (query.fields["positions"], query.fields["positions_by_pk"], subscription.fields["positions"]):
        assert str(field.args["derive_risk"].type) == "[positions_risk_rule!]"
        assert str(field.args["derive_trend"].type) == "[positions_trend_rule!]"
    for field in (query.fields["plain"], query.fields["plain_by_pk"], subscription.fields["plain"]):
        assert not any(name.startswith("derive_") for name in field.args)


def test_the_names_that_the_schema_takes_are_those_that_the_schema_file_is_checked_for() -> None:
    assert rule_name("a", "b") == names.rule_name("a", "b")
    assert rules_argument("b") == names.rules_argument("b")
    taken = {name for kind, name in names.source_names("positions", ["risk", "trend"]) if kind == "type"}
    made = {name for name in ENGINE.schema.type_map if name.startswith("positions")}
    assert made <= taken


# Planning


def test_who_needs_no_calculated_field_stays_with_the_columns() -> None:
    for plan in (
        follow(""),
        follow("where: {value: {_gt: 1}}"),
        follow("", "operation fields"),
        follow("derive_risk: []"),
    ):
        assert plan.derivation is None
        assert plan.filter.source is POSITIONS
    assert follow("", "data { id } fields").selection == follow(RULES, "data { id } fields").selection


@pytest.mark.parametrize(("arguments", "selection"), [
    ("", "data { risk }"), ("where: {risk: {_is_null: true}}", "operation"), ("derive_risk: null", "data { id trend }"),
])  # fmt: skip
def test_without_rules_a_calculated_field_is_null(arguments: str, selection: str) -> None:
    plan = follow(arguments, selection)
    assert plan.derivation == no_rules(POSITIONS)
    extended = plan.derivation.extend(ROWS[2])
    assert extended == (*ROWS[2], None, None)
    assert plan.filter.matches(extended)
    assert not follow("where: {risk: {_neq: low}}").filter.matches(extended)


def test_equal_rules_are_equal_derivations() -> None:
    plan = follow(RULES)
    assert plan.derivation is not None
    same = [
        follow(RULES + ", where: {risk: {_eq: high}}", "data { risk }"),
        follow(RULES.replace("_gt: 100", "_gt: 100.0").replace("_gt: 10}", "_gt: 1e1}")),
        follow(RULES.replace("}}}", "}}, until: null}")),
        follow(RULES.replace("}}}", "}}, until: {}}")),
        follow(
            "derive_risk: [{state: $s, when: $w}, {state: high, when: {value: {_gt: 10}}}]",
            variables={"s": "critical", "w": {"value": {"_gt": 100}}},
            head="($s: risk_level!, $w: positionsExpression!)",
        ),
    ]
    assert {one.derivation for one in same} == {plan.derivation}
    others = [
        follow(RULES.replace("100", "101")), follow(RULES.replace("critical", "low")),
        follow(RULES.replace("}}}", "}}, until: {value: {_lt: 5}}}")),
        follow("derive_risk: [{state: high, when: {value: {_gt: 10}}}, {state: critical, when: {value: {_gt: 100}}}]"),
        follow(RULES + ", derive_trend: [{state: up, when: {}}]"),
    ]  # fmt: skip
    assert len({one.derivation for one in [plan, *others]}) == 6


def test_a_filter_on_a_calculated_field_reads_the_extended_row() -> None:
    plan = follow(RULES + ", where: {_or: [{risk: {_gte: high}}, {id: {_eq: 1}}]}")
    assert plan.filter.source is POSITIONS.extended
    assert plan.derivation is not None
    assert [plan.filter.matches(plan.derivation.extend(row)) for row in ROWS] == [True, True, True, False]
    assert follow(RULES + ", where: {id: {_eq: 1}}").filter.source is POSITIONS, "shared with who gives no rules"


def test_a_calculated_field_that_does_not_matter_to_a_filter_makes_no_states() -> None:
    plan = follow("where: {id: {_lt: 3}, _or: [{}, {risk: {_eq: low}}]}")
    assert plan.derivation is None
    assert plan.filter is follow("where: {id: {_lt: 3}}").filter


def test_one_state_may_have_several_rules() -> None:
    plan = follow(
        "derive_risk: [{state: high, when: {value: {_gt: 100}}}, {state: low, when: {value: {_gt: 10}}},"
        ' {state: high, when: {note: {_eq: "a"}}}]'
    )
    assert plan.derivation is not None
    assert [plan.derivation.extend(row)[3] for row in ROWS] == ["high", "low", "high", None]


COLUMNS = " database's columns: id, value, note"


@pytest.mark.parametrize(("arguments", "code", "message"), [
    ("derive_risk: [{state: up, when: {}}]", "GRAPHQL_VALIDATION_FAILED",
     "Value 'up' does not exist in 'risk_level' enum."),
    ("derive_risk: [{state: low}]", "GRAPHQL_VALIDATION_FAILED",
     "Expected value of type 'positions_risk_rule' to include required field 'when', found: { state: low }."),
    ("derive_risk: [null]", "GRAPHQL_VALIDATION_FAILED", "Expected value of non-null type 'positions_risk_rule!' not to be None."),
    ("derive_risk: [{state: low, when: {}}, {state: low, when: {_not: {risk: {_eq: low}}}}]", "BAD_USER_INPUT",
     'Argument "derive_risk" of "positions": [1].when._not.risk: risk is a calculated field, and rules read the' + COLUMNS),
    ("derive_trend: [{state: up, when: {}, until: {_or: [{}, {risk: null}]}}]", "BAD_USER_INPUT",
     'Argument "derive_trend" of "positions": [0].until._or[1].risk: risk is a calculated field, and rules read the' + COLUMNS),
    ("derive_risk: [{state: low, when: {value: {_gt: null}}}]", "BAD_USER_INPUT",
     'Argument "derive_risk" of "positions": [0].when.value._gt: null is no operand; ask _is_null'),
    ("where: {risk: {_gt: null}}", "BAD_USER_INPUT",
     'Argument "where" of "positions": risk._gt: null is no operand; ask _is_null'),
    ("where: {risk: {_eq: up}}", "GRAPHQL_VALIDATION_FAILED", "Value 'up' does not exist in 'risk_level' enum."),
])  # fmt: skip
def test_what_is_wrong_in_rules_is_told_with_its_place(arguments: str, code: str, message: str) -> None:
    assert refusal(arguments) == (message, code)


def test_rules_are_limited() -> None:
    rules = ", ".join("{state: low, when: {}}" for _ in range(101))
    assert refusal(f"derive_risk: [{rules}]") == (
        'Argument "derive_risk" of "positions": found 101 rules, allowed are 100', "LIMIT_EXCEEDED",
    )  # fmt: skip
    assert follow(f"derive_risk: [{rules.removesuffix(', {state: low, when: {}}')}]").derivation is not None
    two = "derive_risk: [{state: low, when: {}}, {state: high, when: {}}]"
    assert "found 2 rules, allowed are 1" in refusal(two, Limits(rules=1))[0]


# Rendering


def test_states_are_written_and_count_as_changes() -> None:
    plan = follow(RULES, "operation data { id risk } fields")
    selection = plan.selection
    row: Row = ("1", "500", "n", "critical", None)
    assert selection.interest == 0b01001

    def written(operation: Operation, mask: int) -> object:
        return json.loads(rendered(selection, operation, row, mask, 7))["data"]["positions"]

    every = ["id", "value", "note", "risk", "trend"]
    assert written(Operation.INSERT, 0) == {
        "operation": "INSERT",
        "data": {"id": 1, "risk": "critical"},
        "fields": every,
    }
    assert written(Operation.DELETE, 0) == {"operation": "DELETE", "data": {"id": 1, "risk": None}, "fields": every}
    assert written(Operation.UPDATE, 0b01010) == {
        "operation": "UPDATE", "data": {"id": 1, "risk": "critical"}, "fields": ["value", "risk"],
    }  # fmt: skip
    assert written(Operation.UPDATE, 0b00010) == {
        "operation": "UPDATE", "data": {"id": 1, "risk": None}, "fields": ["value"],
    }  # fmt: skip


def test_who_selects_no_calculated_field_is_shown_rows_without_them() -> None:
    plan = follow("", "operation data { id note } fields")
    result = rendered(plan.selection, Operation.INSERT, ROWS[0], 0, 7)
    assert json.loads(result)["data"]["positions"] == {
        "operation": "INSERT", "data": {"id": 1, "note": "a"}, "fields": ["id", "value", "note", "risk", "trend"],
    }  # fmt: skip


# Queries


async def answer(text: str) -> object:
    prepared = ENGINE.prepare(text, None, None)
    assert isinstance(prepared, PreparedQuery)
    return (await ENGINE.execute(prepared))["data"]


@pytest.mark.parametrize(("arguments", "expected"), [
    ("", [(1, None), (2, None), (3, None), (4, None)]),
    (RULES, [(1, None), (2, "high"), (3, "critical"), (4, None)]),
    (RULES + ", where: {risk: {_eq: critical}}", [(3, "critical")]),
    (RULES + ", where: {_or: [{risk: {_is_null: true}}, {id: {_eq: 2}}]}", [(1, None), (2, "high"), (4, None)]),
    (RULES + ", where: {id: {_gt: 2}}", [(3, "critical"), (4, None)]),
    (RULES + ", order_by: {risk: desc_nulls_last}", [(3, "critical"), (2, "high"), (1, None), (4, None)]),
    (RULES + ", order_by: {risk: asc}, limit: 1, offset: 1", [(3, "critical")]),
    ("order_by: {risk: asc}, where: {risk: {_neq: low}}", []),
    ("where: {id: {_lt: 3}, _or: [{}, {risk: {_eq: low}}]}", [(1, None), (2, None)]),
    # without a past, `until` says nothing
    ("derive_risk: [{state: low, when: {value: {_gt: 100}}, until: {value: {_lt: 1}}}]",
     [(1, None), (2, None), (3, "low"), (4, None)]),
])  # fmt: skip
async def test_queries_calculate_states_of_the_rows_as_they_are(
    arguments: str, expected: list[tuple[int, str | None]]
) -> None:
    given = f"({arguments})" if arguments else ""
    found = await answer(f"{{ positions{given} {{ id risk }} }}")
    assert found == {"positions": [{"id": id_, "risk": risk} for id_, risk in expected]}


async def test_rows_can_be_in_the_order_of_a_field_that_nobody_gives_rules_for() -> None:
    assert await answer("{ positions(order_by: {risk: asc}, limit: 2) { id } }") == {
        "positions": [{"id": 1}, {"id": 2}]
    }


async def test_a_filter_to_which_a_calculated_field_does_not_matter_is_asked_of_the_columns() -> None:
    found = await answer("{ positions(where: {id: {_lt: 3}, _or: [{}, {risk: {_eq: low}}]}) { id } }")
    assert found == {"positions": [{"id": 1}, {"id": 2}]}


async def test_a_row_by_its_key_has_its_state() -> None:
    text = "{ a: positions_by_pk(id: 3, %s) { risk trend } b: positions_by_pk(id: 3) { id } c: positions_by_pk(id: 9) { risk } }"
    assert await answer(text % RULES) == {"a": {"risk": "critical", "trend": None}, "b": {"id": 3}, "c": None}
