"""The one table of comparison operators: parser, evaluation, GraphQL inputs and documentation read it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from tycostream.model import ColumnType


class Operand(enum.Enum):
    """What stands behind an operator."""

    VALUE = "a value of the column's type"
    VALUES = "a list of values of the column's type"
    BOOLEAN = "true or false"
    TEXT = "a text"
    TEXTS = "a list of texts"


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator, and the column types that it applies to."""

    name: str
    operand: Operand
    help: str
    types: frozenset[ColumnType]


_ALL = frozenset(ColumnType)
_TEXT = frozenset({ColumnType.STRING})
_JSON = frozenset({ColumnType.JSON})

OPERATORS: tuple[Operator, ...] = (
    Operator("_eq", Operand.VALUE, "equal to", _ALL),
    Operator("_neq", Operand.VALUE, "not equal to", _ALL),
    Operator("_gt", Operand.VALUE, "greater than", _ALL),
    Operator("_gte", Operand.VALUE, "greater than or equal to", _ALL),
    Operator("_lt", Operand.VALUE, "less than", _ALL),
    Operator("_lte", Operand.VALUE, "less than or equal to", _ALL),
    Operator("_in", Operand.VALUES, "one of; an empty list admits nothing", _ALL),
    Operator("_nin", Operand.VALUES, "none of; an empty list admits everything, NULL too", _ALL),
    Operator("_is_null", Operand.BOOLEAN, "NULL (true) or not NULL (false)", _ALL),
    Operator("_like", Operand.TEXT, "the whole text matches: % is any text, _ any character, backslash escapes", _TEXT),
    Operator("_nlike", Operand.TEXT, "does not match as _like", _TEXT),
    Operator("_ilike", Operand.TEXT, "as _like, A to Z equal to a to z", _TEXT),
    Operator("_nilike", Operand.TEXT, "does not match as _ilike", _TEXT),
    Operator("_similar", Operand.TEXT, "the whole text matches SQL's SIMILAR TO", _TEXT),
    Operator("_nsimilar", Operand.TEXT, "does not match as _similar", _TEXT),
    Operator("_regex", Operand.TEXT, "a part matches the regular expression (POSIX, in linear time)", _TEXT),
    Operator("_iregex", Operand.TEXT, "as _regex, A to Z equal to a to z", _TEXT),
    Operator("_nregex", Operand.TEXT, "no part matches as _regex", _TEXT),
    Operator("_niregex", Operand.TEXT, "no part matches as _iregex", _TEXT),
    Operator("_contains", Operand.VALUE, "contains this JSON at its top level (PostgreSQL's @>)", _JSON),
    Operator("_contained_in", Operand.VALUE, "is contained in this JSON (PostgreSQL's <@)", _JSON),
    Operator("_has_key", Operand.TEXT, "has this key, or this text as an element", _JSON),
    Operator("_has_keys_any", Operand.TEXTS, "has one of these keys", _JSON),
    Operator("_has_keys_all", Operand.TEXTS, "has all of these keys", _JSON),
)

BY_NAME: dict[str, Operator] = {operator.name: operator for operator in OPERATORS}


def operators_of(kind: ColumnType) -> tuple[Operator, ...]:
    """The operators of a column type, in the table's order."""
    return tuple(operator for operator in OPERATORS if kind in operator.types)
