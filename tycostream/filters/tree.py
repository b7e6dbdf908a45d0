"""Filters as trees of conditions, normalised so that filters which say the same (as far as that is cheap to see) are
equal.

In SQL's three-valued logic a row passes only where its condition is true. Negations are pushed down to the leaves (De
Morgan's laws hold with unknown too), where "not" means: the value is known, and the test fails. What is left is
two-valued: a condition is true, or it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Always:
    """True for every row, or for none."""

    value: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """NULL, or not NULL."""

    column: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equal to one of the values; `negated`: known, and equal to none."""

    column: int
    values: frozenset[Any]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operator` is >, >=, < or <=."""

    column: int
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Test:
    """Any other operator; `operand` is hashable."""

    column: int
    operator: str
    operand: Any
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every condition holds."""

    conditions: frozenset[Node]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one condition holds."""

    conditions: frozenset[Node]


Leaf = IsNull | OneOf | Comparison | Test
Node = Always | Leaf | AllOf | AnyOf

TRUE, FALSE = Always(True), Always(False)

_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


def all_of(conditions: list[Node]) -> Node:
    """Their conjunction: flat, without repeats."""
    flat: set[Node] = set()
    for condition in conditions:
        if condition == FALSE:
            return FALSE
        if isinstance(condition, AllOf):
            flat |= condition.conditions
        elif condition != TRUE:
            flat.add(condition)
    if not flat:
        return TRUE
    return flat.pop() if len(flat) == 1 else AllOf(frozenset(flat))


def any_of(conditions: list[Node]) -> Node:
    """Their disjunction: flat, without repeats."""
    flat: set[Node] = set()
    for condition in conditions:
        if condition == TRUE:
            return TRUE
        if isinstance(condition, AnyOf):
            flat |= condition.conditions
        elif condition != FALSE:
            flat.add(condition)
    if not flat:
        return FALSE
    return flat.pop() if len(flat) == 1 else AnyOf(frozenset(flat))


def columns_of(node: Node) -> int:
    """The columns that the condition reads, as a bitmask."""
    if isinstance(node, Always):
        return 0
    if isinstance(node, AllOf | AnyOf):
        mask = 0
        for condition in node.conditions:
            mask |= columns_of(condition)
        return mask
    return 1 << node.column


def leaves_of(node: Node) -> Iterator[Leaf]:
    """The comparisons of a condition."""
    if isinstance(node, AllOf | AnyOf):
        for member in node.conditions:
            yield from leaves_of(member)
    elif not isinstance(node, Always):
        yield node


def negation(node: Node) -> Node:
    """True where the node is false; where it is unknown, not true."""
    if isinstance(node, Always):
        return Always(not node.value)
    if isinstance(node, IsNull):
        return IsNull(node.column, not node.wanted)
    if isinstance(node, OneOf):
        return OneOf(node.column, node.values, not node.negated)
    if isinstance(node, Comparison):
        return Comparison(node.column, _OPPOSITE[node.operator], node.value)
    if isinstance(node, Test):
        return Test(node.column, node.operator, node.operand, not node.negated)
    opposites = [negation(condition) for condition in node.conditions]
    return any_of(opposites) if isinstance(node, AllOf) else all_of(opposites)
