"""Relations: their columns, what they hold, and the history that can still be read.

A relation is a collection of rows with a multiplicity that changes at timestamps (a "time-varying collection"). It can be read
at any timestamp from `since` on. Source: MaterializeInc/materialize doc/user/content/sql/subscribe.md;
type OIDs: src/pgrepr-consts/src/oid.rs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Row = tuple[str | None, ...]
"""Text as the database prints it, in the order of the columns; NULL is None."""

Update = tuple[Row, int]
"""A row, and how many of it came (positive) or went (negative)."""

# Name: (OID, size in bytes; -1 is a varying one)
TYPES: dict[str, tuple[int, int]] = {
    "boolean": (16, 1), "bytea": (17, -1), "bigint": (20, 8), "smallint": (21, 2), "integer": (23, 4), "text": (25, -1), "oid": (26, 4),
    "real": (700, 4), "double precision": (701, 8), "character": (1042, -1), "character varying": (1043, -1), "date": (1082, 4),
    "time without time zone": (1083, 8), "timestamp without time zone": (1114, 8), "timestamp with time zone": (1184, 8),
    "interval": (1186, 16), "numeric": (1700, -1), "uuid": (2950, 16), "jsonb": (3802, -1), "uint2": (16460, 2), "uint4": (16462, 4),
    "uint8": (16464, 8), "list": (16384, -1), "map": (16385, -1), "mz_timestamp": (16552, 8), "record": (2249, -1),
}  # fmt: skip
ARRAYS = {
    "boolean": 1000, "bytea": 1001, "bigint": 1016, "smallint": 1005, "integer": 1007, "text": 1009, "real": 1021,
    "double precision": 1022, "character varying": 1015, "date": 1182, "timestamp without time zone": 1115,
    "timestamp with time zone": 1185, "numeric": 1231, "uuid": 2951, "jsonb": 3807, "uint2": 16461, "uint4": 16463,
    "uint8": 16465, "mz_timestamp": 16553,
}  # fmt: skip
ALIASES = {
    "bool": "boolean", "int": "integer", "int4": "integer", "int2": "smallint", "int8": "bigint", "float4": "real",
    "float8": "double precision", "string": "text", "varchar": "character varying", "char": "character", "decimal": "numeric",
    "time": "time without time zone", "timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
    "json": "jsonb",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation or of a result."""

    name: str
    type: str
    oid: int
    size: int = -1
    nullable: bool = True


def column(name: str, type_name: str, *, nullable: bool = True) -> Column:
    """A column of a type by its SQL name; a type that Materialize does not know (an enum, say) is text."""
    known = ALIASES.get(type_name, type_name)
    if known.endswith("[]"):
        element = ALIASES.get(known[:-2], known[:-2])
        return Column(name, f"{element}[]", ARRAYS.get(element, ARRAYS["text"]), -1, nullable)
    if known not in TYPES:
        known = "text"
    return Column(name, known, *TYPES[known], nullable)


def consolidate(updates: Iterable[Update]) -> list[Update]:
    """The sum for each row, where it is not zero."""
    net: dict[Row, int] = {}
    for row, diff in updates:
        net[row] = net.get(row, 0) + diff
    return [(row, diff) for row, diff in net.items() if diff]


class Relation:
    """One table, view or source."""

    def __init__(self, item: str, database: str, schema: str, name: str, columns: Sequence[Column], since: int) -> None:
        self.id = item
        self.full_name = f"{database}.{schema}.{name}"
        self.name = name
        self.columns = tuple(columns)
        self.since = since
        self.poison: str | None = None
        self.tails: dict[str, dict[Row, bytes]] = {}
        """Encoded rows by format, so that each is encoded once, whoever subscribes."""
        self._now: dict[Row, int] = {}
        self._times: list[int] = []
        self._updates: list[list[Update]] = []

    def check(self, updates: Iterable[Update], *, allow_negative: bool = False) -> None:
        """Raises ValueError for rows that can't be: a mistake in a test should not look like one of the service's."""
        for row, _ in updates:
            if len(row) != len(self.columns) or not all(value is None or isinstance(value, str) for value in row):
                raise ValueError(f"{self.full_name} has {len(self.columns)} columns of text, unlike {row!r}")
        for row, diff in () if allow_negative else consolidate(updates):
            if self._now.get(row, 0) + diff < 0:
                raise ValueError(f"{self.full_name} holds {self._now.get(row, 0)} of {row}; {diff} can't be added")

    def apply(self, time: int, updates: Iterable[Update]) -> None:
        """Updates at a timestamp above all earlier ones. They are consolidated: of each row at most one update stays."""
        now, changes = self._now, consolidate(updates)
        for row, diff in changes:
            if count := now.get(row, 0) + diff:
                now[row] = count
            else:
                del now[row]
        if changes:
            self._times.append(time)
            self._updates.append(changes)

    def contents(self, time: int | None = None) -> Mapping[Row, int]:
        """The rows and their multiplicities now, or at a timestamp that is not below `since`."""
        if time is None or not self._times or self._times[-1] <= time:
            return self._now
        contents = dict(self._now)
        for updates in self._updates[bisect_left(self._times, time + 1) :]:
            for row, diff in updates:
                contents[row] = contents.get(row, 0) - diff
        return {row: count for row, count in contents.items() if count}

    def between(self, low: int, high: int) -> list[tuple[int, list[Update]]]:
        """The consolidated updates of each timestamp from `low` up to but not including `high`."""
        start, stop = bisect_left(self._times, low), bisect_left(self._times, high)
        return list(zip(self._times[start:stop], self._updates[start:stop], strict=True))

    def forget(self, before: int) -> None:
        """Drop the updates below a timestamp from memory (who may read what is decided by `since`)."""
        count = bisect_left(self._times, before)
        del self._times[:count], self._updates[:count]
        for tails in self.tails.values():
            if len(tails) > 2 * len(self._now) + 100_000:  # mostly of rows that are gone
                tails.clear()
