"""Calculated fields: the rules that a request gives for them become a derivation, and rows of a query get their states.

The GraphQL types of rules are in schema.py. Whatever needs no calculated field stays with the database's columns, at
no cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from graphql import FieldNode, GraphQLError

from tycostream.filters import Filter, FilterError, dotted, parse_filter
from tycostream.graphql.errors import LIMIT_EXCEEDED
from tycostream.graphql.limits import Limits
from tycostream.graphql.rendering import Field
from tycostream.graphql.schema import rules_argument
from tycostream.model import Row, Source
from tycostream.turns import Turns
from tycostream.views.derived import Derivation, no_rules
from tycostream.views.states import Rule, StateMachine

_ROWS_AT_A_TIME = 100


def where_filter(source: Source, node: FieldNode, where: Mapping[str, Any] | None) -> Filter:
    """The filter of a field's `where`: on the source, or on its extension where it speaks of a calculated field.

    Raises GraphQLError.
    """
    try:
        try:
            return parse_filter(source, where)
        except FilterError as error:
            if not _is_calculated(source, error):
                raise
            return parse_filter(source.extended, where)
    except FilterError as error:
        place = f"{dotted(error.path)}: " if error.path else ""
        raise GraphQLError(f'Argument "where" of "{node.name.value}": {place}{error.message}', node) from None


def derivation_of(
    source: Source, node: FieldNode, arguments: Mapping[str, Any], limits: Limits, used: Iterable[str]
) -> Derivation | None:
    """The derivation that a field's rules ask for; None where it gives none, and of the columns `used` none is
    calculated. Raises GraphQLError.
    """
    machines = []
    for column in source.calculated:
        name = rules_argument(column.name)
        machines.append(StateMachine(_rules(source, node, name, arguments.get(name) or (), limits)))
    if any(machine.rules for machine in machines):
        return Derivation(source, tuple(machines))
    calculated = {column.name for column in source.calculated}
    return no_rules(source) if calculated.intersection(used) else None


def selected(fields: Iterable[Field]) -> Collection[str]:
    """The names of the fields."""
    return {field.name for field in fields}


async def extended(rows: Sequence[Row], derivation: Derivation, condition: Filter | None, turns: Turns) -> list[Row]:
    """The rows with their states, of which nothing but the row as it is counts; those that the condition admits."""
    found: list[Row] = []
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        piece = map(derivation.extend, rows[start : start + _ROWS_AT_A_TIME])
        found.extend(piece if condition is None else filter(condition.matches, piece))
        await turns.between()
    return found


def _rules(
    source: Source, node: FieldNode, name: str, given: Sequence[Mapping[str, Any]], limits: Limits
) -> tuple[Rule, ...]:
    if len(given) > limits.rules:
        message = f"found {len(given)} rules, allowed are {limits.rules}."
        raise _wrong(node, name, message, code=LIMIT_EXCEEDED)
    rules = []
    for index, rule in enumerate(given):
        when = _condition(source, node, name, (index, "when"), rule["when"])
        until = rule.get("until")
        left = None if until is None else _condition(source, node, name, (index, "until"), until)
        # A rule that may be left at any time is one without `until`
        rules.append(Rule(rule["state"], when, None if left == parse_filter(source, None) else left))
    return tuple(rules)


def _condition(source: Source, node: FieldNode, name: str, place: tuple[str | int, ...], given: object) -> Filter:
    try:
        return parse_filter(source, given)  # type: ignore[arg-type]  # what is no mapping is refused
    except FilterError as error:
        message = error.message
        if _is_calculated(source, error):
            columns = ", ".join(source.positions)
            message = f"{error.path[-1]} is a calculated field, and rules read the database's columns: {columns}."
        raise _wrong(node, name, f"{dotted((*place, *error.path))}: {message}") from None


def _is_calculated(source: Source, error: FilterError) -> bool:
    """Whether what is wrong for the database's columns is that a calculated field is spoken of."""
    return bool(error.path) and any(column.name == error.path[-1] for column in source.calculated)


def _wrong(node: FieldNode, argument: str, message: str, code: str | None = None) -> GraphQLError:
    extensions = None if code is None else {"code": code}
    return GraphQLError(f'Argument "{argument}" of "{node.name.value}": {message}', node, extensions=extensions)
