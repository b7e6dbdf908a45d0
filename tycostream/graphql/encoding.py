"""A column's text, as the database printed it, becomes a value: JSON bytes for events, a Python value for queries.

Both directions agree: `json.loads(encoder(column)(text)) == decoder(column)(text)`. Text that doesn't fit its column
(the relation was changed behind the schema file) becomes null: never broken JSON, never an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring

import orjson

from tycostream.model import Column, ColumnType

NULL = "null"

Write = Callable[[str], str]
Encode = Callable[[str | None], bytes]
Decode = Callable[[str | None], object]


class _Choices(dict[str, str]):
    """JSON for the few texts a column can have. Its `__getitem__` is a writer without a Python frame."""

    def __missing__(self, text: str) -> str:
        return NULL


_BOOLEANS = {"t": True, "f": False, "true": True, "false": False}
_NUMBERS = (float, int)
_loads = orjson.loads


def writer(column: Column) -> Write:
    """What turns the column's text (which is not NULL) into JSON.

    Integer and Float keep the database's digits (an Integer beyond GraphQL's 32 bits goes as it is, up to 64 bits);
    NaN and infinities, which JSON lacks, are null. An enum's value that the schema file doesn't declare is null.
    """
    match column.type:
        case ColumnType.INTEGER:
            return write_integer
        case ColumnType.FLOAT:
            return write_number
        case ColumnType.BOOLEAN:
            return write_boolean
        case ColumnType.ENUM if column.enum is not None:
            return _Choices((value, json_string(value)) for value in column.enum.values).__getitem__
        case _:
            return json_string


def encoder(column: Column) -> Encode:
    """As `writer`, for texts that may be NULL, and to bytes in UTF-8."""
    write = writer(column)
    return lambda text: (NULL if text is None else write(text)).encode()


def decoder(column: Column) -> Decode:
    """What turns the column's text into int, float, bool, str or None; the same rules as `encoder`."""
    match column.type:
        case ColumnType.INTEGER:
            return decode_integer
        case ColumnType.FLOAT:
            return decode_number
        case ColumnType.BOOLEAN:
            return decode_boolean
        case ColumnType.ENUM if column.enum is not None:
            return _decode_choice(frozenset(column.enum.values))
        case _:
            return decode_text


def decode_number(text: str | None) -> int | float | None:
    """A JSON number's value; None for anything else, also for a number beyond a double's range."""
    if text is None:
        return None
    try:
        value = _loads(text)
    except ValueError:
        return None
    return value if type(value) in _NUMBERS else None


def decode_integer(text: str | None) -> int | None:
    """An integer of up to 64 bits; None for anything else."""
    if text is None:
        return None
    try:
        value = _loads(text)
    except ValueError:
        return None
    return value if type(value) is int else None


def write_number(text: str) -> str:
    """The text itself where it is a JSON number."""
    try:
        if type(_loads(text)) in _NUMBERS:
            return text
    except ValueError:
        pass
    return NULL


def write_integer(text: str) -> str:
    """The text itself where it is an integer of up to 64 bits."""
    try:
        if type(_loads(text)) is int:
            return text
    except ValueError:
        pass
    return NULL


def decode_boolean(text: str | None) -> bool | None:
    """True or False for the database's words."""
    return None if text is None else _BOOLEANS.get(text)


write_boolean: Write = _Choices((text, "true" if value else "false") for text, value in _BOOLEANS.items()).__getitem__
"""true or false for the database's words."""

json_string: Write = encode_basestring
"""A JSON string; what is not ASCII stays as it is. In C, as a text: a row's values become bytes together."""


def decode_text(text: str | None) -> str | None:
    """The text as it is."""
    return text


def _decode_choice(values: frozenset[str]) -> Decode:
    def decode_choice(text: str | None) -> str | None:
        return text if text in values else None

    return decode_choice
