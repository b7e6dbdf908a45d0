"""Conditions filed under their guards, level below level.

A guard's place holds one condition (a `Leaf`), or a `Level` of several: few of those are asked one after the other,
more of them filed by what is left of their conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from tycostream.filters.compile import Sieve, shape_of, sieve_of
from tycostream.filters.filter import Filter
from tycostream.filters.guards import Guard, cover_of, keys_of
from tycostream.filters.tables import TEXT, Address, Finder, Table, address_of, finder_of, new_table, words_for
from tycostream.filters.tree import TRUE, Node, columns_of, leaves_of
from tycostream.model import Row, Source

T = TypeVar("T")

FEW = 4
"""Conditions in one place that are not worth an index of their own."""

MOST_WORK = 2000
"""Comparisons that are filed for one filter: where a guard has many keys, what is left of a long condition is not filed
once more under each of them."""


class Entry(Generic[T]):
    """A filter and its item, and what it has cost."""

    __slots__ = ("comparisons", "evaluated", "filter", "item", "matched", "matches", "reads")

    def __init__(self, item: T, condition: Filter) -> None:
        self.item = item
        self.filter = condition
        self.matches = condition.matches
        self.reads = condition.reads
        self.comparisons = sum(1 for _ in leaves_of(condition.node))
        self.evaluated = 0
        self.matched = 0


Found = dict[Entry[T], None]


class Leaf(Generic[T]):
    """A condition in its place: what has to hold of a row that has come there. `final`: it is not filed further."""

    __slots__ = ("entry", "final", "rest")

    def __init__(self, entry: Entry[T], rest: Node, *, final: bool = False) -> None:
        self.entry = entry
        self.rest = TRUE if rest == TRUE else rest  # looked at by identity
        self.final = final

    def of(self, row: Row, found: Found[T]) -> None:
        """Add the entry if it matches a row that has come here."""
        entry = self.entry
        if self.rest is not TRUE:
            entry.evaluated += 1
            if not entry.matches(row):
                return
        found[entry] = None

    def both(self, old: Row, new: Row, mask: int, before: Found[T], after: Found[T]) -> None:
        """The same for both rows of a change."""
        entry = self.entry
        if self.rest is not TRUE:
            entry.evaluated += 1
            matches = entry.matches(new)
            if mask & entry.reads:
                if entry.matches(old):
                    before[entry] = None
                if matches:
                    after[entry] = None
                return
            if not matches:
                return
        before[entry] = None
        after[entry] = None


class Part(Leaf[T]):
    """What is left of a condition behind one of its guards."""

    __slots__ = ("guard",)

    def __init__(self, entry: Entry[T], rest: Node, guard: Guard, *, final: bool) -> None:
        super().__init__(entry, rest, final=final)
        self.guard = guard

    def address(self) -> tuple[Address, tuple[Any, ...]]:
        """The table that it is filed in, and the keys there."""
        return address_of(self.guard, self.entry.filter.source)


class _Sieve(Generic[T]):
    """Conditions of one shape, asked together."""

    def __init__(self, source: Source, shape: str, columns: int) -> None:
        self._test: Sieve = sieve_of(source, shape)
        self.columns = columns
        self.filed: dict[Leaf[T], tuple[Any, ...]] = {}
        self.times = 0

    def of(self, row: Row) -> Found[T]:
        """The entries whose conditions are true of a row."""
        self.times += 1
        return dict.fromkeys(self._test(row, self.filed.values()))


class Level(Generic[T]):
    """Conditions that one gets to in the same way. More than `few` of them are filed by their guards."""

    __slots__ = ("_exact", "_few", "_filed", "_finders", "_most", "_other", "_sieved", "_sieves", "_tables", "_texts")

    def __init__(self, few: int = FEW) -> None:
        self._most = few
        self._exact: dict[Leaf[T], None] = {}
        self._few: dict[Leaf[T], None] = {}
        self._filed: dict[Leaf[T], tuple[Part[T], ...]] = {}
        self._sieved: dict[Leaf[T], tuple[_Sieve[T], int]] = {}  # and how often it had been used before
        self._sieves: dict[str, _Sieve[T]] = {}
        self._tables: dict[Address, Table] = {}
        # What a look-up needs of the tables. The second number is the column's bit in a mask of changes
        self._texts: list[tuple[int, int, Callable[[Any], Any]]] = []
        self._finders: list[tuple[int, int, Finder]] = []
        self._other = False

    def __bool__(self) -> bool:
        return bool(self._filed or self._exact or self._few or self._sieved)

    # What a change concerns

    def of(self, row: Row, found: Found[T]) -> None:
        """Add the entries that match a row which has come here."""
        for leaf in self._exact:
            found[leaf.entry] = None
        for leaf in self._few:
            leaf.of(row, found)
        for column, _bit, get in self._texts:
            place = get(row[column])
            if place is not None:
                place.of(row, found)
        if self._other:
            self._others_of(row, found)

    def _others_of(self, row: Row, found: Found[T]) -> None:
        for column, _bit, find in self._finders:
            for place in find(row[column]):
                place.of(row, found)
        for sieve in self._sieves.values():
            found.update(sieve.of(row))

    def both(self, old: Row, new: Row, mask: int, before: Found[T], after: Found[T]) -> None:
        """The same for both rows of a change. A column that has not changed is looked up once."""
        for leaf in self._exact:
            before[leaf.entry] = None
            after[leaf.entry] = None
        for leaf in self._few:
            leaf.both(old, new, mask, before, after)
        for column, bit, get in self._texts:
            place = get(new[column])
            if not mask & bit:
                if place is not None:
                    place.both(old, new, mask, before, after)
                continue
            if place is not None:
                place.of(new, after)
            place = get(old[column])
            if place is not None:
                place.of(old, before)
        if self._other:
            self._others_of_both(old, new, mask, before, after)

    def _others_of_both(self, old: Row, new: Row, mask: int, before: Found[T], after: Found[T]) -> None:
        for column, bit, find in self._finders:
            if mask & bit:
                for place in find(new[column]):
                    place.of(new, after)
                for place in find(old[column]):
                    place.of(old, before)
            else:
                for place in find(new[column]):
                    place.both(old, new, mask, before, after)
        for sieve in self._sieves.values():
            found = sieve.of(new)
            after.update(found)
            before.update(sieve.of(old) if mask & sieve.columns else found)

    # Filing

    def add(self, leaf: Leaf[T]) -> None:
        """File a condition by its rest."""
        if leaf.rest is TRUE:
            self._exact[leaf] = None
        elif leaf.final or len(self._few) < self._most:
            self._few[leaf] = None
        else:
            more = [*(one for one in self._few if not one.final), leaf]
            self._few, self._most = {one: None for one in self._few if one.final}, 0
            for one in more:
                self._file(one)

    def remove(self, leaf: Leaf[T]) -> None:
        """Take it out again. Raises KeyError where it is not there."""
        if leaf in self._filed:
            for part in self._filed.pop(leaf):
                self._drop(part)
        elif leaf in self._sieved:
            sieve, _times = self._sieved.pop(leaf)
            del sieve.filed[leaf]
            if not sieve.filed:
                self._sieves = {shape: one for shape, one in self._sieves.items() if one is not sieve}
                self._arrange(leaf)
        else:
            del (self._few if leaf in self._few else self._exact)[leaf]

    def _file(self, leaf: Leaf[T]) -> None:
        source = leaf.entry.filter.source
        cover = cover_of(leaf.rest, source)
        if cover is None:
            shape, constants = shape_of(source, leaf.rest)
            sieve = self._sieves.get(shape)
            if sieve is None:
                sieve = self._sieves[shape] = _Sieve(source, shape, columns_of(leaf.rest))
                self._arrange(leaf)
            sieve.filed[leaf] = (leaf.entry, *constants)
            self._sieved[leaf] = sieve, sieve.times
            return
        final = keys_of(cover) * leaf.entry.comparisons > MOST_WORK
        parts = self._filed[leaf] = tuple(Part(leaf.entry, rest, guard, final=final) for guard, rest in cover)
        for part in parts:
            address, keys = part.address()
            table = self._tables.get(address)
            if table is None:
                table = self._tables[address] = new_table(address)
                self._arrange(part)
            for key in keys:
                place = table.get(key)
                if place is None:
                    table.put(key, part)
                elif isinstance(place, Level):
                    place.add(part)
                else:
                    level: Level[T] = Level()
                    level.add(place)
                    level.add(part)
                    table.put(key, level)

    def _drop(self, part: Part[T]) -> None:
        address, keys = part.address()
        table = self._tables[address]
        for key in keys:
            place = table.get(key)
            if isinstance(place, Level):
                place.remove(part)
            if place is part or not place:
                table.drop(key)
        if not table:
            del self._tables[address]
            self._arrange(part)

    def _arrange(self, leaf: Leaf[T]) -> None:
        """A table or a sieve has come or gone; of whichever leaf, the source's columns are these."""
        source = leaf.entry.filter.source
        self._texts = []
        others: dict[int, list[tuple[str, Table]]] = {}
        for (kind, column, *_operators), table in self._tables.items():
            if kind == TEXT:
                self._texts.append((column, 1 << column, table.get))
            else:
                others.setdefault(column, []).append((kind, table))
        self._finders = [
            (column, 1 << column, finder_of(source.columns[column], tables)) for column, tables in others.items()
        ]
        self._other = bool(self._finders or self._sieves)

    # Explaining

    def ways(self, leaf: Leaf[T]) -> Iterator[str]:
        """How the condition is found from here, in words."""
        if leaf in self._sieved:
            yield "evaluated one by one"
        for part in self._filed.get(leaf, ()):
            address, keys = part.address()
            place = self._tables[address].get(keys[0])
            way = words_for(part.guard, part.entry.filter.source)
            further = list(dict.fromkeys(place.ways(part))) if isinstance(place, Level) else []
            if not further or part.rest is TRUE:
                yield way
            for one in further:
                yield f"{way}, then {one}"

    def sieved(self, leaf: Leaf[T]) -> int:
        """How often the condition has been asked together with others of its shape."""
        count = 0
        if leaf in self._sieved:
            sieve, before = self._sieved[leaf]
            count = sieve.times - before
        for part in self._filed.get(leaf, ()):
            address, keys = part.address()
            places = (self._tables[address].get(key) for key in keys)
            count += sum(place.sieved(part) for place in places if isinstance(place, Level))
        return count
