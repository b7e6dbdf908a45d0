"""What changes for clients between two schema files.

graphql-core compares the GraphQL schemas; what they don't show (another relation, another key order, enums whose values
have moved) is compared here. Each change is told once, at the place in the schema file where it was made.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import DangerousChangeType, find_breaking_changes, find_dangerous_changes

from tycostream.graphql.schema import build_schema
from tycostream.model import Catalog, Column, EnumType, Relation, Source


class Effect(enum.Enum):
    """What a change does to clients; the value is the word that is printed."""

    BREAKS = "breaks"
    CAREFUL = "careful"
    SAFE = "safe"


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `place` is a path within the schema file."""

    effect: Effect
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes, what breaks clients first; and what graphql-core says of the GraphQL schemas."""

    changes: tuple[Change, ...]
    graphql_breaking: tuple[str, ...]
    graphql_dangerous: tuple[str, ...]

    @property
    def breaks(self) -> bool:
        """Whether some client of the old schema fails, or is told other things, with the new one."""
        return bool(self.graphql_breaking) or any(change.effect is Effect.BREAKS for change in self.changes)

    def as_json(self) -> dict[str, Any]:
        """For programs; keys stay as they are."""
        return {
            "breaks": self.breaks,
            "changes": [
                {"effect": change.effect.value, "place": change.place, "message": change.message}
                for change in self.changes
            ],
            "graphql": {"breaking": list(self.graphql_breaking), "dangerous": list(self.graphql_dangerous)},
        }

    def as_text(self) -> str:
        """For people."""
        if not self.changes:
            return "Nothing changes for clients.\n"
        lines = [f"{change.effect.value:<8} {change.place}: {change.message}" for change in self.changes]
        if self.graphql_breaking:
            lines += ["", "In GraphQL, that breaks:", *(f"  {text}" for text in self.graphql_breaking)]
        verdict = "Some clients break." if self.breaks else "No client breaks."
        return "\n".join([*lines, "", verdict]) + "\n"


def compare(old: Catalog, new: Catalog) -> Difference:
    """What changes from the old catalog to the new one."""
    before, after = build_schema(old), build_schema(new)
    order = list(Effect)
    changes = sorted(
        [*_enums(old.enums, new.enums), *_sources(old.sources, new.sources)],
        key=lambda change: order.index(change.effect),
    )
    added = {DangerousChangeType.OPTIONAL_INPUT_FIELD_ADDED, DangerousChangeType.OPTIONAL_ARG_ADDED}
    return Difference(
        tuple(changes),
        tuple(sorted(change.description for change in find_breaking_changes(before, after))),
        tuple(
            sorted(change.description for change in find_dangerous_changes(before, after) if change.type not in added)
        ),
    )


def _enums(old: Mapping[str, EnumType], new: Mapping[str, EnumType]) -> Iterator[Change]:
    for name, before in old.items():
        place = f"enums.{name}"
        after = new.get(name)
        if after is None:
            # Where a column had it, the column's change tells what that means
            yield Change(Effect.CAREFUL, place, "removed")
            continue
        for value in before.values:
            if value not in after.values:
                yield Change(Effect.BREAKS, place, f"the value {value} is removed")
        for value in after.values:
            if value not in before.values:
                yield Change(Effect.CAREFUL, place, f"the value {value} is new: clients may meet one they don't know")
        if [value for value in before.values if value in after.values] != [
            value for value in after.values if value in before.values
        ]:
            message = f"the order is {', '.join(after.values)} instead of {', '.join(before.values)}"
            yield Change(Effect.BREAKS, place, f"{message}: filters and sorting follow it")
        yield from _description(place, before.description, after.description)
    for name in new:
        if name not in old:
            yield Change(Effect.SAFE, f"enums.{name}", "added")


def _sources(old: Mapping[str, Source], new: Mapping[str, Source]) -> Iterator[Change]:
    for name, before in old.items():
        place = f"sources.{name}"
        after = new.get(name)
        if after is None:
            yield Change(Effect.BREAKS, place, "removed")
            continue
        yield from _relation(place, before.relation, after.relation)
        yield from _key(place, before.primary_key, after.primary_key)
        yield from _columns(place, before, after)
        yield from _description(place, before.description, after.description)
    for name in new:
        if name not in old:
            yield Change(Effect.SAFE, f"sources.{name}", "added")


def _relation(place: str, before: Relation, after: Relation) -> Iterator[Change]:
    if before == after:
        return
    place = f"{place}.relation"
    if before.name == after.name and None in (before.schema, after.schema):
        message = f"{after} instead of {before}: the same where the search path finds it there"
        yield Change(Effect.CAREFUL, place, message)
    else:
        yield Change(Effect.BREAKS, place, f"{after} instead of {before}: the rows are others")


def _key(place: str, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Change]:
    if before == after:
        return
    place = f"{place}.primary_key"
    told = f"({', '.join(after)}) instead of ({', '.join(before)})"
    if set(before) == set(after):
        yield Change(Effect.CAREFUL, place, f"{told}: rows come in another order, and events have other ids")
    else:
        yield Change(Effect.BREAKS, place, f"{told}: clients tell rows apart by it")


def _columns(place: str, before: Source, after: Source) -> Iterator[Change]:
    new = {column.name: column for column in after.columns}
    old = {column.name: column for column in before.columns}
    for name, column in old.items():
        where = f"{place}.columns.{name}"
        now = new.get(name)
        if now is None:
            yield Change(Effect.BREAKS, where, "removed")
            continue
        if _type(column) != _type(now):
            yield Change(Effect.BREAKS, where, f"{_type(now)} instead of {_type(column)}")
        yield from _description(where, column.description, now.description)
    for name, column in new.items():
        if name not in old:
            yield Change(Effect.SAFE, f"{place}.columns.{name}", f"added, {_type(column)}")


def _type(column: Column) -> str:
    return column.enum.name if column.enum is not None else column.type.value


def _description(place: str, before: str | None, after: str | None) -> Iterator[Change]:
    if before != after:
        yield Change(Effect.SAFE, place, "described differently")
