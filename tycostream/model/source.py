"""A source: one relation of the database, as the schema file describes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import itemgetter

from tycostream.model.columns import Column, EnumType

Row = tuple[str | None, ...]
"""A row's values as the database printed them, in the order of `Source.columns`; NULL is None."""

Key = str | tuple[str, ...]
"""A row's primary key: its text, or a tuple of texts where the key has several columns."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table's or view's name in the database. Without a schema, the search path decides."""

    name: str
    schema: str | None = None

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, eq=False)
class Source:
    """A relation that clients can follow. Compared by identity: there is one per configured name.

    `primary_key` holds column names in the order the file gives them; `key_of` takes a row's key
    (never NULL in a valid row).

    `columns` are the database's, and all that rows hold. `calculated` are fields of enums that are worked out for each
    subscriber's own rules; `extended` is the same source with rows that have a value for each of these as well, after
    the columns. A source without calculated fields is its own extension.

    Nothing of it ever changes but its descriptions (`describe_as`), which nothing but the GraphQL schema looks at.
    """

    name: str
    relation: Relation
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    description: str | None = None
    calculated: tuple[Column, ...] = ()
    extended: Source = field(init=False, repr=False)
    positions: dict[str, int] = field(init=False)
    key_positions: tuple[int, ...] = field(init=False)
    key_of: Callable[[Row], Key] = field(init=False)

    def __post_init__(self) -> None:
        positions = {column.name: index for index, column in enumerate(self.columns)}
        key_positions = tuple(positions[name] for name in self.primary_key)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "key_positions", key_positions)
        object.__setattr__(self, "key_of", itemgetter(*key_positions))
        extended = self
        if self.calculated:
            columns = self.columns + self.calculated
            extended = Source(self.name, self.relation, columns, self.primary_key, self.description)
        object.__setattr__(self, "extended", extended)

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        return self.columns[self.positions[name]]

    def row_of(self, key: Key) -> Row:
        """A row that has this key, and nothing else."""
        texts: list[str | None] = [None] * len(self.columns)
        for position, text in zip(self.key_positions, (key,) if isinstance(key, str) else key, strict=True):
            texts[position] = text
        return tuple(texts)

    def serves_as(self, other: Source) -> bool:
        """Whether the other source differs in its descriptions at most: names, types, key, relation and order are the
        same, so that its rows, filters and selections are."""
        return self._undescribed() == other._undescribed()

    def is_described_as(self, other: Source) -> bool:
        """Whether the descriptions of the other source, which serves as this one, are the same, too."""
        mine, its = (
            (self.description, self.columns, self.calculated),
            (other.description, other.columns, other.calculated),
        )
        return mine == its

    def describe_as(self, other: Source) -> None:
        """Take over the descriptions of a source that differs in nothing else."""
        for name in ("description", "columns", "calculated"):
            object.__setattr__(self, name, getattr(other, name))
        if self.extended is not self:
            self.extended.describe_as(other.extended)

    def _undescribed(self) -> tuple[object, ...]:
        columns = (tuple(map(_undescribed, group)) for group in (self.columns, self.calculated))
        return (self.name, self.relation, self.primary_key, *columns)


@dataclass(frozen=True, eq=False)
class Catalog:
    """All that a schema file describes, in the file's order."""

    sources: dict[str, Source]
    enums: dict[str, EnumType]


def _undescribed(column: Column) -> Column:
    enum = None if column.enum is None else replace(column.enum, description=None)
    return replace(column, enum=enum, description=None)
