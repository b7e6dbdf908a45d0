"""Where conditions are filed by their guards: one table for each column and kind of guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tycostream.filters.bounds import Bounds, Intervals
from tycostream.filters.compile import reader
from tycostream.filters.guards import Equal, Guard, Null, key_reader
from tycostream.filters.values import domain_of
from tycostream.model import Column, Source

TEXT, VALUE, PRESENT, BOUNDS = "text", "value", "present", "bounds"
"""By the column's text (NULL too), by its value, whether it is not NULL, by what its value is within."""

Address = tuple[Any, ...]
"""Kind and column of a table, and the operators of its bounds."""


class Hash(dict[Any, Any]):
    """Places by a column's key."""

    __slots__ = ()

    put = dict.__setitem__
    drop = dict.__delitem__


Table = Hash | Bounds[Any] | Intervals[Any]

Finder = Callable[[str | None], Sequence[Any]]
"""From a column's text to the places for it."""


def address_of(guard: Guard, source: Source) -> tuple[Address, tuple[Any, ...]]:
    """The table for a guard, and the keys of its places there."""
    if isinstance(guard, Equal):
        return (TEXT if key_reader(source.columns[guard.column]) is None else VALUE, guard.column), guard.keys
    if isinstance(guard, Null):
        return (TEXT if guard.wanted else PRESENT, guard.column), (None,)
    bounds = [bound for bound in (guard.low, guard.high) if bound is not None]
    operators, values = zip(*bounds, strict=True)
    return (BOUNDS, guard.column, *operators), (values if len(values) == 1 else (values,))


def new_table(address: Address) -> Table:
    """An empty table."""
    kind, _column, *operators = address
    if kind != BOUNDS:
        return Hash()
    return Bounds(*operators) if len(operators) == 1 else Intervals(*operators)


def words_for(guard: Guard, source: Source) -> str:
    """How a guard is found."""
    name = source.columns[guard.column].name
    if isinstance(guard, Equal):
        return f"hash on {name}"
    if isinstance(guard, Null):
        return f"{name} is {'' if guard.wanted else 'not '}null"
    return f"bounds on {name}"


def finder_of(column: Column, tables: Sequence[tuple[str, Table]]) -> Finder:
    """Looks a column's text up in all its tables but those of texts."""
    read = reader(domain_of(column))
    finders: list[Finder] = []
    ranges: list[Callable[[Any], Sequence[Any]]] = [
        table.holding for kind, table in tables if not isinstance(table, Hash)
    ]
    if len(ranges) == 1:
        finders.append(_in_bounds(read, ranges[0]))
    elif ranges:
        finders.append(_in_many_bounds(read, ranges))
    finders += [
        _in_hash(read, table) if kind == VALUE else _if_present(table)
        for kind, table in tables
        if isinstance(table, Hash)
    ]
    if len(finders) == 1:
        return finders[0]
    return lambda text: [place for find in finders for place in find(text)]


def _in_hash(read: Callable[[str | None], Any], table: Hash) -> Finder:
    get = table.get

    def find(text: str | None) -> Sequence[Any]:
        place = get(read(text))
        return () if place is None else (place,)

    return find


def _in_bounds(read: Callable[[str | None], Any], holding: Callable[[Any], Sequence[Any]]) -> Finder:
    def find(text: str | None) -> Sequence[Any]:
        value = read(text)
        return () if value is None else holding(value)

    return find


def _in_many_bounds(read: Callable[[str | None], Any], ranges: Sequence[Callable[[Any], Sequence[Any]]]) -> Finder:
    def find(text: str | None) -> Sequence[Any]:
        value = read(text)
        return () if value is None else [place for holding in ranges for place in holding(value)]

    return find


def _if_present(table: Hash) -> Finder:
    return lambda text: () if text is None else (table[None],)
