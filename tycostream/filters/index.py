"""Which filters does a change of a row concern? Cost follows the matches, not the number of filters.

Filters are filed under their guards (guards.py): values of a column in a hash, bounds in sorted lists, NULL. What
shares a place there is filed once more, by the rest of its condition (levels.py). Where there is nothing to file by,
one function asks all conditions that differ in constants alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tycostream.filters.filter import Filter
from tycostream.filters.levels import Entry, Leaf, Level
from tycostream.filters.tree import TRUE
from tycostream.model import Row

T = TypeVar("T")

EVERYTHING = -1
"""The columns that may have changed where nobody says which."""

MOST_WAYS = 5
"""Ways in which a filter is found that its explanation names."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a filter is found. `index` says it in words; `evaluated` is how often its condition was asked of a row that
    the index could not decide, and `matched` how many changes it matched, since it was filed."""

    index: str
    evaluated: int
    matched: int


class FilterIndex(Generic[T]):
    """The filters of one source, each with an item of the caller's."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[Filter, int], Leaf[T]] = {}
        self._everything: dict[Leaf[T], int] = {}  # and what `passed` was when they came
        self._entering: list[tuple[T, bool, bool]] = []
        self._staying: list[tuple[T, bool, bool]] = []
        self._leaving: list[tuple[T, bool, bool]] = []
        self._level: Level[T] = Level(few=0)
        self.sole: T | None = None
        """The only item that there is, if its filter admits every row: there is no need to ask `match` for it, but
        `passed` has to be told."""
        self.passed = 0
        """How many changes have gone to those that want every row."""

    def __len__(self) -> int:
        return len(self._leaves)

    def add(self, condition: Filter, item: T) -> None:
        """File an item under a filter. The same item may be filed once under each filter."""
        leaf = self._leaves[condition, id(item)] = Leaf(Entry(item, condition), condition.node)
        if condition.node == TRUE:
            self._everything[leaf] = self.passed
        else:
            self._level.add(leaf)
        self._prepare()

    def remove(self, condition: Filter, item: T) -> None:
        """Take it out again. Raises KeyError where it is not there."""
        leaf = self._leaves.pop((condition, id(item)))
        if condition.node == TRUE:
            del self._everything[leaf]
        else:
            self._level.remove(leaf)
        self._prepare()

    def _prepare(self) -> None:
        items = [leaf.entry.item for leaf in self._everything]
        self._entering = [(item, False, True) for item in items]
        self._staying = [(item, True, True) for item in items]
        self._leaving = [(item, True, False) for item in items]
        self.sole = items[0] if len(items) == len(self._leaves) == 1 else None

    def match(self, old: Row | None, new: Row | None, mask: int = EVERYTHING) -> Sequence[tuple[T, bool, bool]]:
        """(item, matched before, matches now) of every filter that matches the old row or the new one. Where both are
        there, `mask` has the bits of the columns that differ, and perhaps of others. The result is not the caller's."""
        if old is None:
            found = self._entering
        elif new is None:
            found = self._leaving
        else:
            found = self._staying
        if found:
            self.passed += 1
        if not self._level:
            return found
        before: dict[Entry[T], None] = {}
        after: dict[Entry[T], None] = {}
        if old is None:
            if new is not None:
                self._level.of(new, after)
        elif new is None:
            self._level.of(old, before)
        else:
            self._level.both(old, new, mask, before, after)
        if before or after:
            found = found.copy()
            for entry in before:
                entry.matched += 1
                found.append((entry.item, True, entry in after))
            for entry in after:
                if entry not in before:
                    entry.matched += 1
                    found.append((entry.item, False, True))
        return found

    def explain(self, condition: Filter, item: T) -> Explanation:
        """How the item is found that is filed under a filter. Raises KeyError where it is not there."""
        leaf = self._leaves[condition, id(item)]
        if leaf in self._everything:
            return Explanation("every row", 0, self.passed - self._everything[leaf])
        ways = list(dict.fromkeys(self._level.ways(leaf)))
        if len(ways) > MOST_WAYS:
            ways[MOST_WAYS:] = [f"in {len(ways) - MOST_WAYS} more ways"]
        evaluated = leaf.entry.evaluated + self._level.sieved(leaf)
        return Explanation(" or ".join(ways) or "no row can match", evaluated, leaf.entry.matched)
