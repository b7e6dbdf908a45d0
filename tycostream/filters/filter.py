"""A parsed filter: equal to every other that says the same, compiled once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from weakref import WeakValueDictionary

from tycostream.filters.compile import Predicate, compile_predicate
from tycostream.filters.parse import parse
from tycostream.filters.tree import TRUE, Node, columns_of
from tycostream.model import Row, Source


class Filter:
    """A condition on the rows of a source. `matches` says of a row whether it is true; unknown is not."""

    __slots__ = ("__weakref__", "_hash", "_where", "matches", "node", "source")

    def __init__(self, source: Source, node: Node, where: Mapping[str, object] | None) -> None:
        self.source = source
        self.node = node
        self.matches: Predicate = _every_row if node == TRUE else compile_predicate(source, node)
        self._where = where
        self._hash = hash((source, node))

    @property
    def reads(self) -> int:
        """The columns on which the truth depends, as a bitmask; worked out at each asking."""
        return columns_of(self.node)

    def columns(self) -> Iterator[str]:
        """The names of those columns."""
        reads = self.reads
        return (column.name for index, column in enumerate(self.source.columns) if reads >> index & 1)

    def moved_to(self, source: Source) -> Filter:
        """The same condition on another source, which has the columns that it reads at the same positions."""
        return _shared(source, self.node, self._where)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Filter)
            and self._hash == other._hash
            and self.source is other.source
            and self.node == other.node
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Filter({self.source.name}, {self.to_json()})"

    def to_json(self) -> str:
        """The expression as it was first given, as JSON text."""
        return json.dumps(self._where or {}, ensure_ascii=False, default=str)


def _every_row(_row: Row) -> bool:
    return True


_known: WeakValueDictionary[tuple[Source, Node], Filter] = WeakValueDictionary()


def parse_filter(source: Source, where: Mapping[str, object] | None) -> Filter:
    """The filter of a `where` object, or the one that admits everything. Raises FilterError.

    Filters that say the same are one object as long as anybody holds it.
    """
    return _shared(source, TRUE if where is None else parse(source, where), where)


def _shared(source: Source, node: Node, where: Mapping[str, object] | None) -> Filter:
    known = _known.get((source, node))
    if known is None:
        known = _known[source, node] = Filter(source, node, where)
    return known
