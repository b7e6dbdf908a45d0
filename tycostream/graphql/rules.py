"""Calculated fields in requests: rules become a derivation, and rows of a query get their states.

The GraphQL types of rules are in schema.py. Whatever needs no calculated field stays with the database's columns, at
no cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from graphql import FieldNode, GraphQLError

from tycostream.filters import Filter, FilterError, dotted
from tycostream.graphql.errors import LIMIT_EXCEEDED
from tycostream.graphql.limits import Limits
from tycostream.graphql.rendering import Field
from tycostream.model import Row, Source
from tycostream.turns import Turns
from tycostream.views.derived import Derivation
from tycostream.views.rules import TooManyRulesError, parse_condition, parse_derivation

_ROWS_AT_A_TIME = 100


def where_filter(source: Source, node: FieldNode, where: Mapping[str, Any] | None) -> Filter:
    """The filter of a field's `where`: on the source, or on its extension where it speaks of a calculated field.

    Raises GraphQLError.
    """
    try:
        return parse_condition(source, where)
    except FilterError as error:
        raise _wrong(node, "where", error.path, error.message) from None


def derivation_of(
    source: Source, node: FieldNode, arguments: Mapping[str, Any], limits: Limits, used: Iterable[str]
) -> Derivation | None:
    """The derivation that a field's rules ask for; None where it gives none, and of the columns `used` none is
    calculated. Raises GraphQLError.
    """
    try:
        return parse_derivation(source, arguments, used, limits.rules)
    except FilterError as error:
        argument, *path = error.path
        code = LIMIT_EXCEEDED if isinstance(error, TooManyRulesError) else None
        raise _wrong(node, str(argument), path, error.message, code) from None


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


def _wrong(
    node: FieldNode, argument: str, path: Iterable[str | int], message: str, code: str | None = None
) -> GraphQLError:
    place = f"{written}: " if (written := dotted(path)) else ""
    extensions = None if code is None else {"code": code}
    text = f'Argument "{argument}" of "{node.name.value}": {place}{message}'
    return GraphQLError(text, node, extensions=extensions)
