"""Reads a `where` object (as GraphQL hands it over: dictionaries, lists, scalars) into a tree of conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tycostream.filters import patterns
from tycostream.filters.errors import FilterError, Path, shown
from tycostream.filters.operators import BY_NAME, Operand, Operator, operators_of
from tycostream.filters.tree import Comparison, IsNull, Node, OneOf, Test, all_of, any_of, negation
from tycostream.filters.values import Domain, domain_of, text_operand
from tycostream.model import Source

MOST_LEVELS = 100
MOST_VALUES = 100_000
MOST_CONDITIONS = 5_000


def parse(source: Source, where: object) -> Node:
    """The conditions of a `where` object. Raises FilterError."""
    return _Parser(source).conditions(where, (), 0)


class _Parser:
    """Reads one `where` object, and counts what it has read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read = 0

    def _count(self, path: Path) -> None:
        self._read += 1
        if self._read > MOST_CONDITIONS:
            raise FilterError(path, f"a filter may have {MOST_CONDITIONS} conditions; of one column, _in takes more")

    def conditions(self, where: object, path: Path, level: int) -> Node:
        if level > MOST_LEVELS:
            raise FilterError(path, f"conditions may be nested {MOST_LEVELS} levels deep")
        if not isinstance(where, Mapping):
            raise FilterError(path, f"{shown(where)} is not an object of conditions")
        self._count(path)
        found: list[Node] = []
        for name, value in where.items():
            here = (*path, name)
            if value is None:
                raise FilterError(here, "null is no condition; leave it out, or ask a column's _is_null")
            if name in ("_and", "_or"):
                members = value if isinstance(value, list | tuple) else [value]
                parts = [self.conditions(member, (*here, index), level + 1) for index, member in enumerate(members)]
                found.append(all_of(parts) if name == "_and" else any_of(parts))
            elif name == "_not":
                found.append(negation(self.conditions(value, here, level + 1)))
            elif name in self._source.positions:
                found.append(self._column(name, value, here))
            else:
                known = ", ".join(self._source.positions)
                raise FilterError(here, f"{self._source.name} has no column {shown(name)}; its columns are {known}")
        return all_of(found)

    def _column(self, name: str, comparisons: object, path: Path) -> Node:
        if not isinstance(comparisons, Mapping):
            raise FilterError(path, f"{shown(comparisons)} is not an object of operators, such as {{_eq: ...}}")
        position = self._source.positions[name]
        column = self._source.columns[position]
        domain = domain_of(column)
        found = []
        for operator_name, operand in comparisons.items():
            here = (*path, operator_name)
            self._count(here)
            operator = BY_NAME.get(operator_name)
            if operator is None or column.type not in operator.types:
                known = ", ".join(one.name for one in operators_of(column.type))
                message = f"there is no operator {shown(operator_name)} for this column; there are {known}"
                raise FilterError(here, message)
            if operand is None:
                raise FilterError(here, "null is no operand; ask _is_null")
            found.append(_parse_comparison(position, domain, operator, operand, here))
        return all_of(found)


def _parse_comparison(position: int, domain: Domain, operator: Operator, operand: object, path: Path) -> Node:
    name = operator.name
    if operator.operand is Operand.BOOLEAN:
        if not isinstance(operand, bool):
            raise FilterError(path, f"{shown(operand)} is not true or false")
        return IsNull(position, operand)
    if name in ("_in", "_nin"):
        values = frozenset(_each(operand, domain.operand, path))
        one_of = any_of([OneOf(position, values)] if values else [])
        return one_of if name == "_in" else negation(one_of)
    if operator.operand is Operand.VALUE:
        value = _value(operand, domain.operand, path)
        if name in ("_eq", "_neq"):
            return OneOf(position, frozenset((value,)), negated=name == "_neq")
        if name in _SIGNS:
            return Comparison(position, _SIGNS[name], value)
        return Test(position, name, value)
    if operator.operand is Operand.TEXTS:
        return Test(position, name, frozenset(_each(operand, text_operand, path)))
    text = _value(operand, text_operand, path)
    negated = name in _NEGATED
    name = _NEGATED.get(name, name)
    if name in PATTERNS:
        _value(text, PATTERNS[name], path)  # must be valid
    return Test(position, name, text, negated)


_SIGNS = {"_gt": ">", "_gte": ">=", "_lt": "<", "_lte": "<="}
_NEGATED = {
    "_nlike": "_like", "_nilike": "_ilike", "_nsimilar": "_similar", "_nregex": "_regex", "_niregex": "_iregex",
}  # fmt: skip

PATTERNS: dict[str, Callable[[Any], patterns.Matcher]] = {
    "_like": lambda text: patterns.like(text, fold=False),
    "_ilike": lambda text: patterns.like(text, fold=True),
    "_similar": patterns.similar,
    "_regex": lambda text: patterns.regex(text, fold=False),
    "_iregex": lambda text: patterns.regex(text, fold=True),
}
"""How the pattern of an operator becomes a function of texts."""


def _each(operand: object, read: Callable[[object], Any], path: Path) -> list[Any]:
    members = operand if isinstance(operand, list | tuple) else [operand]
    if len(members) > MOST_VALUES:
        raise FilterError(path, f"a list may have {MOST_VALUES} values, not {len(members)}")
    return [_value(member, read, (*path, index)) for index, member in enumerate(members)]


def _value(operand: object, read: Callable[[Any], Any], path: Path) -> Any:
    if operand is None:
        raise FilterError(path, "null is no value; ask _is_null")
    try:
        return read(operand)
    except ValueError as error:
        raise FilterError(path, str(error)) from None
