"""What has to hold of one column for a condition to be true: the guards by which conditions are filed and found.

A condition is covered by guards when it can be true only where one of them holds. Each guard comes with the rest of
the condition: the condition is true where, of some guard, both the guard and its rest are. So where the rest is TRUE
nothing is left to evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tycostream.filters.compile import reader
from tycostream.filters.moments import Moment
from tycostream.filters.tree import TRUE, AllOf, Always, AnyOf, Comparison, IsNull, Node, OneOf, all_of
from tycostream.filters.values import domain_of
from tycostream.model import Column, ColumnType, Source

MOST_GUARDS = 1000
"""Keys under which one condition is filed; one that needs more has no guards."""

_ORDERED = frozenset(ColumnType) - {ColumnType.JSON, ColumnType.ARRAY, ColumnType.TIME}

Bound = tuple[str, Any]
"""An operator (>, >=, < or <=) and what it compares with."""


@dataclass(frozen=True, slots=True)
class Equal:
    """The column has one of these keys: texts where each value has one text, else values. See `key_reader`."""

    column: int
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """The column's value is within one bound or two."""

    column: int
    low: Bound | None
    high: Bound | None


@dataclass(frozen=True, slots=True)
class Null:
    """The column is NULL, or it is not."""

    column: int
    wanted: bool


Guard = Equal | Within | Null
Cover = list[tuple[Guard, Node]]


def cover_of(node: Node, source: Source) -> Cover | None:
    """Guards that cover the condition, each with its rest; the most selective ones that there are. None where there are
    none to be had, and an empty list where the condition can't be true."""
    if isinstance(node, Always):
        return None if node.value else []
    if isinstance(node, AnyOf):
        found: Cover = []
        for branch in node.conditions:
            guards = cover_of(branch, source)
            if guards is None:
                return None
            found += guards
        return found if keys_of(found) <= MOST_GUARDS else None
    return _cover_of_all(list(_conjuncts(node)), source)


def keys_of(cover: Cover) -> int:
    """In how many places a condition is filed."""
    return sum(len(guard.keys) if isinstance(guard, Equal) else 1 for guard, _rest in cover)


def key_reader(column: Column) -> Callable[[str | None], Any] | None:
    """What makes a row's text a key of `Equal`; None where it is one."""
    domain = domain_of(column)
    return None if domain.canonical is not None else reader(domain)


def is_ordered(column: Column) -> bool:
    """Whether the column's values, as filters read them, have one order."""
    return column.type in _ORDERED


def _conjuncts(node: Node) -> Iterator[Node]:
    if isinstance(node, AllOf):
        for member in node.conditions:
            yield from _conjuncts(member)
    else:
        yield node


def _cover_of_all(conjuncts: list[Node], source: Source) -> Cover | None:
    """The cover of a conjunction: that of its most selective part."""
    equal: dict[int, list[OneOf]] = {}
    bounds: dict[int, list[Comparison]] = {}
    choices: list[tuple[Cover, set[int]]] = []  # guards, and the conjuncts (by identity) that they make superfluous
    for one in conjuncts:
        if isinstance(one, OneOf):
            if not one.negated and not any(isinstance(value, Moment) for value in one.values):
                equal.setdefault(one.column, []).append(one)
        elif isinstance(one, Comparison):
            if is_ordered(source.columns[one.column]) and not isinstance(one.value, Moment):
                bounds.setdefault(one.column, []).append(one)
        elif isinstance(one, IsNull):
            choices.append(([(Null(one.column, one.wanted), TRUE)], {id(one)}))
        elif isinstance(one, AnyOf | Always) and (cover := cover_of(one, source)) is not None:
            choices.append((cover, {id(one)}))
    for column, several in equal.items():
        values = frozenset.intersection(*(one.values for one in several))
        canonical = domain_of(source.columns[column]).canonical
        keys = tuple(values if canonical is None else map(canonical, values))
        choices.append(([(Equal(column, keys), TRUE)] if keys else [], set(map(id, several))))
    for column, comparisons in bounds.items():
        within = _within(column, comparisons)
        choices.append(([(within, TRUE)] if within is not None else [], set(map(id, comparisons))))
    choices = [choice for choice in choices if keys_of(choice[0]) <= MOST_GUARDS]
    if not choices:
        return None
    best, spared = min(choices, key=lambda choice: _cost(choice[0], source))
    # One object for all guards, and no flat copy for each: conditions of a client may have thousands of parts
    others = all_of([one for one in conjuncts if id(one) not in spared])
    return [(guard, _both(rest, others)) for guard, rest in best]


def _both(one: Node, other: Node) -> Node:
    if one == TRUE:
        return other
    return one if other == TRUE else AllOf(frozenset((one, other)))


def _within(column: int, comparisons: list[Comparison]) -> Within | None:
    """The tightest bounds; None where no value is within."""
    low: Bound | None = None
    high: Bound | None = None
    for one in comparisons:
        bound = one.operator, one.value
        if one.operator in (">", ">="):
            if low is None or one.value > low[1] or (one.value == low[1] and one.operator == ">"):
                low = bound
        elif high is None or one.value < high[1] or (one.value == high[1] and one.operator == "<"):
            high = bound
    if low is not None and high is not None:
        empty = low[1] >= high[1] if low[0] == ">" or high[0] == "<" else low[1] > high[1]
        if empty:
            return None
    return Within(column, low, high)


def _cost(cover: Cover, source: Source) -> tuple[int, bool, int, int]:
    """The lower, the fewer rows are likely to pass. No guard at all lets none pass."""
    if not cover:
        return -1, False, 0, 0
    kinds = max(_kind(guard) for guard, _rest in cover)
    coarse = any(_is_coarse(source.columns[guard.column]) for guard, _rest in cover)
    return kinds, coarse, keys_of(cover), min(guard.column for guard, _rest in cover)


def _kind(guard: Guard) -> int:
    if isinstance(guard, Equal):
        return 0
    if isinstance(guard, Within):
        return 2 if guard.low is None or guard.high is None else 1
    return 3 if guard.wanted else 4


def _is_coarse(column: Column) -> bool:
    """Whether the column has but a few values."""
    return column.enum is not None or column.type is ColumnType.BOOLEAN
