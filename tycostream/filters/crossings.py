"""Which conditions may have become true, or ceased to be, with a change of a row? Cost follows the crossings.

A condition's truth changes only where that of one of its comparisons does. So every comparison is filed by what it
compares with: ranges by their bounds, of which only those between a column's old and new value are looked at; equality
through a hash; the rest by column. A condition that needs a certain value in some column (`symbol = 'A' and price > 9`)
is filed under that value, and not looked at while rows of others move.

What is found are candidates: whoever asks evaluates them.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from tycostream.filters.bounds import Bounds
from tycostream.filters.compile import remembering_reader
from tycostream.filters.filter import Filter
from tycostream.filters.guards import Equal, cover_of, is_ordered, key_reader
from tycostream.filters.moments import Moment
from tycostream.filters.tree import Comparison, IsNull, Leaf, Node, OneOf, leaves_of
from tycostream.filters.values import domain_of
from tycostream.model import Column, Row, Source

T = TypeVar("T")

MOST_GUARDS = 100
"""Values under which one condition is filed."""


class _Column(Generic[T]):
    """The comparisons of one column."""

    def __init__(self, column: Column) -> None:
        domain = domain_of(column)
        self._read = remembering_reader(domain)
        self._key = key_reader(column)
        self._canonical = domain.canonical
        self._ordered = is_ordered(column)  # what is not is looked at whenever its column changes
        self._bounds: dict[str, Bounds[dict[T, None]]] = {}
        self._equal: dict[Any, dict[T, None]] = {}
        self._unequal: dict[T, None] = {}
        self._null: dict[T, None] = {}
        self._other: dict[T, None] = {}

    def file(self, leaf: Leaf, item: T, *, remove: bool = False) -> None:
        """File an item under one of its comparisons, or take it out."""
        if isinstance(leaf, IsNull):
            _file(self._null, item, remove=remove)
        elif isinstance(leaf, Comparison) and self._ordered and not isinstance(leaf.value, Moment):
            bounds = self._bounds.setdefault(leaf.operator, Bounds(leaf.operator))
            if (filed := bounds.get(leaf.value)) is None:
                bounds.put(leaf.value, filed := {})
            _file(filed, item, remove=remove)
            if not filed:
                bounds.drop(leaf.value)
            if not bounds:
                del self._bounds[leaf.operator]
        elif isinstance(leaf, OneOf) and not any(isinstance(value, Moment) for value in leaf.values):
            for value in leaf.values if self._canonical is None else map(self._canonical, leaf.values):
                filed = self._equal.setdefault(value, {})
                _file(filed, item, remove=remove)
                if not filed:
                    del self._equal[value]
            if leaf.negated:
                _file(self._unequal, item, remove=remove)
        else:
            _file(self._other, item, remove=remove)

    def changed(self, old: str | None, new: str | None, found: dict[T, None]) -> None:
        """Those of which the truth may differ between two values that are not the same."""
        found.update(self._other)
        if old is None or new is None:
            found.update(self._null)
        if self._equal or self._unequal:
            was, now = (old, new) if self._key is None else (self._key(old), self._key(new))
            for value in (was, now):
                if filed := self._equal.get(value):
                    found.update(filed)
            if was is None or now is None:
                found.update(self._unequal)
        if self._bounds:
            was, now = self._read(old), self._read(new)
            for bounds in self._bounds.values():
                if was is not None and now is not None:
                    crossed = bounds.between(was, now)
                elif was is not None or now is not None:
                    crossed = bounds.holding(now if was is None else was)
                else:
                    continue
                for filed in crossed:
                    found.update(filed)

    def holding(self, text: str | None, found: dict[T, None]) -> None:
        """Those that may hold of a value."""
        found.update(self._other)
        found.update(self._null)
        if self._equal and (filed := self._equal.get(text if self._key is None else self._key(text))):
            found.update(filed)
        found.update(self._unequal)
        if self._bounds and (value := self._read(text)) is not None:
            for bounds in self._bounds.values():
                for filed in bounds.holding(value):
                    found.update(filed)

    def __bool__(self) -> bool:
        return bool(self._bounds or self._equal or self._unequal or self._null or self._other)


class _Part(Generic[T]):
    """Conditions that are filed together: all that need one value in some column, or those that need none."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.items: dict[T, None] = {}
        self._columns: dict[int, _Column[T]] = {}
        self._always: dict[T, None] = {}

    def file(self, node: Node, item: T, guarded: int | None, *, remove: bool = False) -> None:
        """File an item under its condition's comparisons, but for those of the column that guards it."""
        _file(self.items, item, remove=remove)
        leaves = {leaf for leaf in leaves_of(node) if leaf.column != guarded}
        for leaf in leaves:
            column = self._columns.get(leaf.column)
            if column is None:
                column = self._columns[leaf.column] = _Column(self._source.columns[leaf.column])
            column.file(leaf, item, remove=remove)
            if not column:
                del self._columns[leaf.column]
        if not leaves:
            _file(self._always, item, remove=remove)

    def changed(self, old: Row, new: Row, found: dict[T, None]) -> None:
        for position, column in self._columns.items():
            was, now = old[position], new[position]
            if was != now:
                column.changed(was, now, found)

    def holding(self, row: Row, found: dict[T, None]) -> None:
        found.update(self._always)
        for position, column in self._columns.items():
            column.holding(row[position], found)


class CrossingIndex(Generic[T]):
    """Conditions of one source, each with an item of the caller's (hashable; filed under one condition at a time)."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._free: _Part[T] = _Part(source)
        self._guarded: dict[int, dict[Any, _Part[T]]] = {}

    def add(self, condition: Filter, item: T) -> None:
        """File an item under a condition."""
        for guard in self._guards(condition):
            part = self._free
            if guard is not None:
                parts = self._guarded.setdefault(guard[0], {})
                part = parts.get(guard[1]) or parts.setdefault(guard[1], _Part(self._source))
            part.file(condition.node, item, None if guard is None else guard[0])

    def remove(self, condition: Filter, item: T) -> None:
        """Take it out again."""
        for guard in self._guards(condition):
            if guard is None:
                self._free.file(condition.node, item, None, remove=True)
                continue
            column, value = guard
            parts = self._guarded[column]
            parts[value].file(condition.node, item, column, remove=True)
            if not parts[value].items:
                del parts[value]
            if not parts:
                del self._guarded[column]

    def crossed(self, old: Row, new: Row) -> dict[T, None]:
        """The items of conditions that may hold of one of these rows and not of the other."""
        found: dict[T, None] = {}
        self._free.changed(old, new, found)
        for column, parts in self._guarded.items():
            was, now = old[column], new[column]
            if was == now:
                if part := parts.get(self._key(column, now)):
                    part.changed(old, new, found)
                continue
            for text in (was, now):
                if part := parts.get(self._key(column, text)):
                    found.update(part.items)
        return found

    def holding(self, row: Row) -> dict[T, None]:
        """The items of conditions that may hold of a row."""
        found: dict[T, None] = {}
        self._free.holding(row, found)
        for column, parts in self._guarded.items():
            if part := parts.get(self._key(column, row[column])):
                found.update(part.items)
        return found

    def _key(self, column: int, text: str | None) -> Any:
        read = key_reader(self._source.columns[column])
        return text if read is None else read(text)

    def _guards(self, condition: Filter) -> list[tuple[int, Any]] | list[None]:
        """(column, key) pairs of which one holds wherever the condition is true."""
        guards: dict[tuple[int, Any], None] = {}
        cover = cover_of(condition.node, self._source)
        if cover is None:
            return [None]
        for guard, _rest in cover:
            if not isinstance(guard, Equal):
                return [None]
            guards.update(((guard.column, key), None) for key in guard.keys)
        return list(guards) if len(guards) <= MOST_GUARDS else [None]


def _file(place: dict[T, None], item: T, *, remove: bool) -> None:
    if remove:
        place.pop(item, None)
    else:
        place[item] = None
