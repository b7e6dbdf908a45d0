"""What the command line asks of the schema generator: enums, and sources each with its key and enum columns.

The flags are those of the earlier version's generator and count in their order: -p and -c belong to the -s before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tycostream.model import EnumType, Relation
from tycostream.settings.names import COLUMN_TYPES, clashes, invalid_enum_value, invalid_name
from tycostream.settings.problems import did_you_mean, quoted
from tycostream.settings.schema_file import parse_relation

Flag = Literal["-e", "-s", "-p", "-c"]

Given = tuple[Flag, Sequence[str]]
"""A flag and its values, as they stand on the command line."""


class UsageError(Exception):
    """The command line asks for what can't be; the text is one line for the user."""


@dataclass(slots=True)
class SourceWish:
    """One -s: the relation, and what is said of its columns. An empty `key` asks the database."""

    relation: Relation
    key: list[str] = field(default_factory=list)
    enums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wishes:
    """All that is asked for."""

    enums: dict[str, EnumType]
    sources: list[SourceWish]


def collect(given: Iterable[Given]) -> Wishes:
    """The wishes that these flags make. Raises UsageError."""
    wishes = Wishes({}, [])
    for flag, values in given:
        if flag == "-e":
            enum = _enum(*values)
            if enum.name in wishes.enums:
                raise UsageError(f"-e {enum.name} is there twice")
            wishes.enums[enum.name] = enum
        elif flag == "-s":
            wishes.sources.append(SourceWish(_relation(values[0], wishes)))
        elif not wishes.sources:
            raise UsageError(f"{flag} {values[0]} belongs to a source: put it behind its -s")
        elif flag == "-p":
            _add_key(wishes.sources[-1], values[0])
        else:
            _add_enum_column(wishes.sources[-1], values[0])
    for source in wishes.sources:
        for column, name in source.enums.items():
            if name not in wishes.enums:
                hint = did_you_mean(name, wishes.enums) or f'; declare it with -e {name} "value,value"'
                raise UsageError(f"-c {column}:{name}: there is no -e {name}{hint}")
    return wishes


def _relation(text: str, wishes: Wishes) -> Relation:
    try:
        relation = parse_relation(text)
    except ValueError as error:
        if not text.strip() or "\0" in text or set(text) & {'"', "."}:
            raise UsageError(f"-s: {error}") from None
        relation = Relation(text)  # a name that only SQL would want in quotes
    if any(source.relation == relation for source in wishes.sources):
        raise UsageError(f"-s {text} is there twice")
    return relation


def _enum(name: str, listed: str) -> EnumType:
    if reason := invalid_name(name):
        raise UsageError(f"-e {quoted(name)} can't be a name: {reason}")
    if name in COLUMN_TYPES:
        raise UsageError(f"-e {name}: a column type has that name")
    if problem := next(clashes([name], {}), None):
        raise UsageError(f"-e {name} {problem[1]}")
    values = [value.strip() for value in listed.split(",")]
    for value in values:
        if not value:
            raise UsageError(f'-e {name}: found {quoted(listed)}, expected values such as "buy,sell"')
        if reason := invalid_enum_value(value):
            raise UsageError(f"-e {name}: {quoted(value)} can't be an enum value: {reason}")
        if values.count(value) > 1:
            raise UsageError(f"-e {name}: {quoted(value)} is there twice")
    return EnumType(name, tuple(values))


def _add_key(source: SourceWish, text: str) -> None:
    for name in (part.strip() for part in text.split(",")):
        if not name:
            raise UsageError(f"-p: found {quoted(text)}, expected a column's name")
        if name in source.key:
            raise UsageError(f"-p {name} is there twice for {source.relation}")
        source.key.append(name)


def _add_enum_column(source: SourceWish, text: str) -> None:
    found = re.fullmatch(r"([^:]+):([^:]+)", text)
    if found is None:
        raise UsageError(f"-c: found {quoted(text)}, expected COLUMN:ENUM, such as side:side")
    column, enum = found[1].strip(), found[2].strip()
    if column in source.enums:
        raise UsageError(f"-c {column} is there twice for {source.relation}")
    source.enums[column] = enum
