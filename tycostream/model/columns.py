"""Column types as the schema file names them."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ColumnType(enum.Enum):
    """What a column holds; the value is the type's name in the schema file.

    ENUM is not written in the file: a column of an enum names the enum itself.
    """

    INTEGER = "Integer"
    FLOAT = "Float"
    BIGINT = "BigInt"
    NUMERIC = "Numeric"
    STRING = "String"
    UUID = "UUID"
    TIMESTAMP = "Timestamp"
    DATE = "Date"
    TIME = "Time"
    BOOLEAN = "Boolean"
    JSON = "JSON"
    ARRAY = "Array"
    ENUM = "enum"


@dataclass(frozen=True, slots=True)
class EnumType:
    """A named list of values in rising order: comparisons follow the order of declaration."""

    name: str
    values: tuple[str, ...]
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a source. `enum` is set if and only if `type` is ENUM."""

    name: str
    type: ColumnType
    enum: EnumType | None = None
    description: str | None = None
