"""Which filters does a change of a row concern? Cost follows the matches, not the number of filters.

A filter that can only be true for certain values of one column is found through a hash on that column; one without a
condition comes straight; the rest is evaluated one by one (residual).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tycostream.filters.compile import reader
from tycostream.filters.filter import Filter
from tycostream.filters.moments import Moment
from tycostream.filters.tree import TRUE, AllOf, AnyOf, Node, OneOf
from tycostream.filters.values import domain_of
from tycostream.model import Row, Source

T = TypeVar("T")

MOST_GUARDS = 1000
"""Values under which one filter is filed; one with more is evaluated one by one."""


@dataclass(eq=False, slots=True)
class _Entry(Generic[T]):
    item: T
    matches: Callable[[Row], bool]


class _Column(Generic[T]):
    """Filters by a column's value. `read` is None where texts are equal if and only if the values are."""

    def __init__(self, read: Callable[[str | None], Any] | None) -> None:
        self.read = read
        self.filed: dict[Any, dict[_Entry[T], None]] = {}

    def add(self, value: Any, entry: _Entry[T]) -> None:
        self.filed.setdefault(value, {})[entry] = None

    def remove(self, value: Any, entry: _Entry[T]) -> None:
        entries = self.filed[value]
        del entries[entry]
        if not entries:
            del self.filed[value]


class FilterIndex(Generic[T]):
    """The filters of one source, each with an item of the caller's."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Filter, int], _Entry[T]] = {}
        self._everything: dict[_Entry[T], None] = {}
        self._residual: dict[_Entry[T], None] = {}
        self._columns: dict[int, _Column[T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, condition: Filter, item: T) -> None:
        """File an item under a filter. The same item may be filed once under each filter."""
        entry = _Entry(item, condition.matches)
        self._entries[condition, id(item)] = entry
        guards = guards_of(condition.node, condition.source)
        if condition.node == TRUE:
            self._everything[entry] = None
        elif guards is None or len(guards) > MOST_GUARDS:
            self._residual[entry] = None
        else:
            for column, value in guards:
                self._column(condition.source, column).add(value, entry)

    def remove(self, condition: Filter, item: T) -> None:
        """Take it out again. Raises KeyError where it is not there."""
        entry = self._entries.pop((condition, id(item)))
        guards = guards_of(condition.node, condition.source)
        if condition.node == TRUE:
            del self._everything[entry]
        elif guards is None or len(guards) > MOST_GUARDS:
            del self._residual[entry]
        else:
            for column, value in guards:
                self._columns[column].remove(value, entry)
                if not self._columns[column].filed:
                    del self._columns[column]

    def _column(self, source: Source, column: int) -> _Column[T]:
        if column not in self._columns:
            domain = domain_of(source.columns[column])
            self._columns[column] = _Column(None if domain.canonical is not None else reader(domain))
        return self._columns[column]

    def match(self, old: Row | None, new: Row | None) -> list[tuple[T, bool, bool]]:
        """(item, matched before, matches now) of every filter that matches the old row or the new one."""
        before, after = old is not None, new is not None
        found = [(entry.item, before, after) for entry in self._everything]
        for entry in self._candidates(old, new) if self._columns else ():
            was, now = before and entry.matches(old), after and entry.matches(new)  # type: ignore[arg-type]
            if was or now:
                found.append((entry.item, was, now))
        for entry in self._residual:
            was, now = before and entry.matches(old), after and entry.matches(new)  # type: ignore[arg-type]
            if was or now:
                found.append((entry.item, was, now))
        return found

    def _candidates(self, old: Row | None, new: Row | None) -> dict[_Entry[T], None]:
        candidates: dict[_Entry[T], None] = {}
        for column, index in self._columns.items():
            was = None if old is None else old[column]
            now = None if new is None else new[column]
            for text in (was,) if was == now else (was, now):
                entries = index.filed.get(text if index.read is None else index.read(text))
                if entries:
                    candidates.update(entries)
        return candidates


Guard = tuple[int, Any]


def guards_of(node: Node, source: Source) -> list[Guard] | None:
    """(column, value) pairs of which one holds for every row that passes; None where there are none to be had."""
    if isinstance(node, OneOf):
        if node.negated or any(isinstance(value, Moment) for value in node.values):
            return None
        canonical = domain_of(source.columns[node.column]).canonical
        return [(node.column, value if canonical is None else canonical(value)) for value in node.values]
    if isinstance(node, AllOf):
        found = [guards for member in node.conditions if (guards := guards_of(member, source)) is not None]
        return min(found, key=len) if found else None
    if isinstance(node, AnyOf):
        branches = [guards_of(member, source) for member in node.conditions]
        return None if None in branches else list({guard: None for branch in branches for guard in branch or ()})
    return None
