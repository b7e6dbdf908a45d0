"""Writes a schema file from what the database tells, and from what the user says where it tells nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tycostream.databases.connection import AsyncConnection
from tycostream.databases.described import Described, Listed
from tycostream.databases.fitting import ActualColumn, misfits, natural_type
from tycostream.model import Column, ColumnType, EnumType, Relation, Source
from tycostream.schema.naming import Names
from tycostream.schema.wishes import SourceWish, UsageError, Wishes
from tycostream.schema.writing import NO_KEY_TYPES, DraftColumn, DraftSource, write
from tycostream.settings.names import BOOLEAN_WORDS, invalid_enum_value, invalid_name
from tycostream.settings.problems import did_you_mean, quoted


class Describing(Protocol):
    """What `databases.postgres.describe` and `databases.materialize.describe` offer."""

    def list_relations(self, connection: AsyncConnection) -> Awaitable[list[Listed]]: ...

    def describe(self, connection: AsyncConnection, relation: Relation) -> Awaitable[Described]: ...


@dataclass(frozen=True, slots=True)
class Generated:
    """The file's text, the sources whose key somebody has to fill in before it can be used, and those left out."""

    text: str
    unfinished: tuple[str, ...]
    left_out: tuple[str, ...]


async def generate(connection: AsyncConnection, database: Describing, wishes: Wishes) -> Generated:
    """The schema file for these wishes. Raises UsageError, UnknownRelationError, DatabaseError."""
    draft = _Draft(wishes.enums)
    for wish in wishes.sources:
        draft.add(wish, await database.describe(connection, wish.relation))
    return Generated(
        write(draft.enums.values(), draft.sources),
        unfinished=tuple(source.name for source in draft.sources if source.kept and not source.key),
        left_out=tuple(source.name for source in draft.sources if not source.kept),
    )


async def everything(connection: AsyncConnection, database: Describing) -> list[SourceWish]:
    """A wish for each relation that the database has."""
    return [SourceWish(listed.relation) for listed in await database.list_relations(connection)]


@dataclass(slots=True)
class _Draft:
    """What has been decided so far."""

    enums: dict[str, EnumType]
    sources: list[DraftSource] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    _native: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.enums = dict(self.enums)
        self.names.enums.extend(self.enums)

    def add(self, wish: SourceWish, found: Described) -> None:
        """Decide on a source. Raises UsageError where the wish names what is not there or can't be."""
        _require_columns("-p", wish.key, found)
        _require_columns("-c", wish.enums, found)
        columns = [self._column(name, actual, wish, found) for name, actual in found.columns.items()]
        by_name = {column.name: column for column in columns}
        key, no_key = tuple(wish.key) or found.key, found.no_key
        if obstacle := next((text for name in key if (text := _key_obstacle(by_name[name]))), None):
            if wish.key:
                raise UsageError(f"-p {obstacle}")
            key, no_key = (), f"its key can't be used: {obstacle}"
        name = self.names.source(found.relation)
        self.sources.append(DraftSource(name, found.relation, found.kind, key, no_key, found.likely, columns))

    def _column(self, name: str, actual: ActualColumn, wish: SourceWish, found: Described) -> DraftColumn:
        obstacle = invalid_name(name)
        if name in BOOLEAN_WORDS:
            obstacle = f"filters combine conditions with the word {name}"
        if name in wish.enums:
            return self._wished_enum(name, actual, wish, found, obstacle)
        if actual.labels is not None and not actual.array:
            unfit = next((label for label in actual.labels if invalid_enum_value(label)), None)
            if actual.labels and unfit is None:
                shown = "" if obstacle else self._native_enum(actual.base, tuple(actual.labels))
                return DraftColumn(name, ColumnType.ENUM, shown or actual.base, obstacle=obstacle)
            why = f"has {quoted(unfit)}, which GraphQL can't hold" if unfit is not None else "has no values"
            return DraftColumn(
                name, ColumnType.STRING, note=f"the database's enum {actual.type} {why}", obstacle=obstacle
            )
        kind = natural_type(actual)
        return DraftColumn(name, kind, note=_note(kind, actual), obstacle=obstacle)

    def _wished_enum(
        self, name: str, actual: ActualColumn, wish: SourceWish, found: Described, obstacle: str | None
    ) -> DraftColumn:
        enum = self.enums[wish.enums[name]]
        if obstacle:
            raise UsageError(f"-c {quoted(name)} can't be a column: {obstacle}")
        source = Source(name, found.relation, (Column(name, ColumnType.ENUM, enum),), (name,))
        if problems := misfits(source, found.columns):
            raise UsageError(f"-c {name}:{enum.name} does not fit {found.relation}: {problems[0]}")
        note = "" if actual.labels is not None else f"the database's {actual.type}"
        return DraftColumn(name, ColumnType.ENUM, enum.name, note=note)

    def _native_enum(self, wanted: str, labels: tuple[str, ...]) -> str:
        """The name of the enum with these values, which is declared where it is not yet."""
        if (declared := self.enums.get(wanted)) is not None and declared.values == labels:
            return wanted
        name = self._native.get((wanted, labels))
        if name is None:
            name = self._native[wanted, labels] = self.names.enum(wanted)
            self.enums[name] = EnumType(name, labels)
        return name


def _require_columns(flag: str, names: Iterable[str], found: Described) -> None:
    columns: Mapping[str, ActualColumn] = found.columns
    for name in names:
        if name not in columns:
            hint = did_you_mean(name, columns) or f"; its columns are {', '.join(columns)}"
            raise UsageError(f"{flag} {name}: {found.relation} has no such column{hint}")


def _key_obstacle(column: DraftColumn) -> str | None:
    if column.obstacle:
        return f"{quoted(column.name)} can't be a column: {column.obstacle}"
    if column.type in NO_KEY_TYPES:
        return (
            f"{quoted(column.name)} is of type {column.type.value}, whose equal values can be written differently: "
            "it can't be in a key"
        )
    return None


def _note(kind: ColumnType, actual: ActualColumn) -> str:
    if actual.base == "numeric" and not actual.array:
        return f"the database's {actual.type}; Numeric would keep every digit, as a string"
    if kind is ColumnType.ARRAY or (kind is ColumnType.STRING and not actual.textual):
        return f"the database's {actual.type}"
    return ""
