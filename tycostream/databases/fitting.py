"""Does a relation, as the database describes it, fit its source in the schema file? And do its rows?"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tycostream.databases.driver import DatabaseError
from tycostream.model import Column, ColumnType, Source


@dataclass(frozen=True, slots=True)
class ActualColumn:
    """A column of the database.

    `type` is its type as the database writes it, `base` the type's short name in PostgreSQL's catalog (int4, text);
    `labels` are the values of a native enum, None for any other type.
    """

    type: str
    base: str
    array: bool = False
    textual: bool = False
    labels: Sequence[str] | None = None


_INTEGERS = frozenset({"int2", "int4", "uint2"})
_LONG_INTEGERS = _INTEGERS | {"int8", "uint4", "uint8", "mz_timestamp"}

_FITTING: dict[ColumnType, frozenset[str]] = {
    ColumnType.INTEGER: _INTEGERS,
    ColumnType.BIGINT: _LONG_INTEGERS,
    ColumnType.FLOAT: frozenset({"float4", "float8", "numeric"}) | _INTEGERS,
    ColumnType.NUMERIC: frozenset({"numeric"}) | _LONG_INTEGERS,
    ColumnType.UUID: frozenset({"uuid"}),
    ColumnType.TIMESTAMP: frozenset({"timestamp", "timestamptz"}),
    ColumnType.DATE: frozenset({"date"}),
    ColumnType.TIME: frozenset({"time", "timetz"}),
    ColumnType.BOOLEAN: frozenset({"bool"}),
    ColumnType.JSON: frozenset({"json", "jsonb"}),
}

_NATURAL = {
    "int2": ColumnType.INTEGER, "int4": ColumnType.INTEGER, "int8": ColumnType.BIGINT,
    "uint2": ColumnType.INTEGER, "uint4": ColumnType.BIGINT, "uint8": ColumnType.BIGINT,
    "mz_timestamp": ColumnType.BIGINT, "float4": ColumnType.FLOAT, "float8": ColumnType.FLOAT,
    "numeric": ColumnType.FLOAT, "uuid": ColumnType.UUID, "timestamp": ColumnType.TIMESTAMP,
    "timestamptz": ColumnType.TIMESTAMP, "date": ColumnType.DATE, "time": ColumnType.TIME, "timetz": ColumnType.TIME,
    "bool": ColumnType.BOOLEAN, "json": ColumnType.JSON, "jsonb": ColumnType.JSON,
}  # fmt: skip


def natural_type(actual: ActualColumn) -> ColumnType:
    """The type in the schema file for a column of which nothing else is said; for numeric it has always been Float."""
    return ColumnType.ARRAY if actual.array else _NATURAL.get(actual.base, ColumnType.STRING)


def require_fit(source: Source, relation: str, columns: Mapping[str, ActualColumn]) -> None:
    """Raises a permanent DatabaseError that names every column that is missing or of a type that does not fit."""
    require(missing_columns(source, relation, columns) + misfits(source, columns))


def require(problems: Sequence[str]) -> None:
    """Raises a permanent DatabaseError where there are problems."""
    if problems:
        raise DatabaseError("; ".join(problems), hint="mend the schema file or the database", permanent=True)


def missing_columns(source: Source, relation: str, columns: Mapping[str, ActualColumn]) -> list[str]:
    """A sentence for each column of the source that the relation lacks."""
    problems = []
    for column in source.columns:
        if column.name not in columns:
            near = difflib.get_close_matches(column.name, columns, n=1)
            hint = f", did you mean {near[0]}?" if near else f"; its columns are {', '.join(columns)}"
            problems.append(f"{relation} has no column {column.name}{hint}")
    return problems


def misfits(source: Source, columns: Mapping[str, ActualColumn]) -> list[str]:
    """A sentence for each column of the source whose type is not the one that the database has for it."""
    problems = []
    for column in source.columns:
        actual = columns.get(column.name)
        if actual is not None and (problem := _misfit(column, actual)) is not None:
            problems.append(f"column {column.name}: {problem}")
    return problems


def _misfit(column: Column, actual: ActualColumn) -> str | None:
    if column.type is ColumnType.STRING:
        return None  # every value has a text
    if column.type is ColumnType.ARRAY:
        fits = actual.array
    elif column.enum is not None:
        missing = [label for label in actual.labels or () if label not in column.enum.values]
        if missing:
            return f"the database's type {actual.type} also has {', '.join(missing)}: add to enum {column.enum.name}"
        fits = actual.labels is not None or actual.textual
    else:
        fits = not actual.array and actual.base in _FITTING[column.type]
    if fits:
        return None
    natural = natural_type(actual)
    would = "Float or Numeric" if actual.base == "numeric" and not actual.array else natural.value
    named = column.enum.name if column.enum is not None else column.type.value
    return f"{named} does not fit the database's {actual.type}; {would} would"


def key_error(source: Source, what: str, key: Sequence[str | None]) -> DatabaseError:
    """The source's key does not tell the relation's rows apart; `key` is one that shows it."""
    values = ("NULL" if value is None else repr(value) for value in key)
    named = ", ".join(f"{name}={value}" for name, value in zip(source.primary_key, values, strict=True))
    columns = ", ".join(source.primary_key)
    hint = f"primary_key ({columns}) in the schema file must name columns that tell the rows of {source.relation} apart"
    return DatabaseError(f"{what} ({named})", hint=hint, permanent=True)
