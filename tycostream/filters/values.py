"""How values compare: for each column type, the database's text and a client's operand become values of one order.

The orders are PostgreSQL's. Whatever can't be read raises ValueError: in an operand with what would be valid, in a row
(where the database holds something else than the schema file says) it makes a comparison unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from tycostream.filters import arrays, documents, moments
from tycostream.filters.errors import shown
from tycostream.model import Column, ColumnType


class _Greatest:
    """NaN as PostgreSQL orders it: equal to itself and above every number."""

    def __eq__(self, other: object) -> bool:
        return other is self

    def __hash__(self) -> int:
        return 0

    def __lt__(self, _other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, _other: object) -> bool:
        return True


NAN: Final = _Greatest()


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of one column.

    `read` takes the database's text, `operand` what a client gave; both give comparable, hashable values. `canonical`,
    where a value has exactly one text in this database, gives that text: equality is then a comparison of texts. Where
    it has several, `likely` gives those that are worth a try. `rank` takes the database's text and gives what rows are
    sorted by, where that is not what they are compared by.
    """

    read: Callable[[str], Any]
    operand: Callable[[object], Any]
    canonical: Callable[[Any], str] | None = None
    likely: Callable[[Any], tuple[str, ...]] | None = None
    rank: Callable[[str], Any] | None = None


@lru_cache(maxsize=1024)
def domain_of(column: Column) -> Domain:
    """The domain of a column."""
    if column.enum is not None:
        return _enum_domain(column.enum.values)
    return _DOMAINS[column.type]


def text_operand(value: object) -> str:
    """A text that PostgreSQL can hold."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not a text")
    if "\0" in value:
        raise ValueError("a text can't hold the character NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("a text can't hold half of a surrogate pair") from None
    return value


_INTEGER = re.compile(r"[+-]?[0-9]+")
_DIGITS = 4000


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= _DIGITS and _INTEGER.fullmatch(value.strip()):
        return int(value)
    raise ValueError(f'{shown(value)} is not a whole number, such as 42 or "42"')


def _float(text: str) -> Any:
    number = float(text)
    return number if number == number else NAN  # noqa: PLR0124  # a third faster than math.isnan


def _float_operand(value: object) -> Any:
    text = _number_text(value)
    number = float(text)
    if math.isinf(number) and "inf" not in text.lower():
        raise ValueError(f"{shown(value)} is beyond the largest Float")
    if number == 0 and _DIGIT_NOT_ZERO.match(text):
        raise ValueError(f"{shown(value)} is closer to 0 than the smallest Float")
    return NAN if math.isnan(number) else number


def _float_texts(value: Any) -> tuple[str, ...]:
    return (repr(value).removesuffix(".0"),)


def _decimal(text: str) -> Any:
    number = Decimal(text)
    return NAN if number.is_nan() else number


def _decimal_operand(value: object) -> Any:
    try:
        return _decimal(_number_text(value))
    except InvalidOperation:
        raise ValueError(f"{shown(value)} is beyond the largest Numeric") from None


_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?)|nan", re.IGNORECASE | re.ASCII
)
_DIGIT_NOT_ZERO = re.compile(r"[^eE]*[1-9]")


def _number_text(value: object) -> str:
    """A number as text that Python and PostgreSQL read alike."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        text = str(value).strip() if not isinstance(value, int) or value.bit_length() < _DIGITS else ""
        if len(text) <= _DIGITS and _NUMBER.fullmatch(text):
            return text
    raise ValueError(f'{shown(value)} is not a number, such as 12.5, or "NaN" or "Infinity"')


_UUID = re.compile(r"[0-9a-f]{4}(-?[0-9a-f]{4}){7}")


def _uuid_operand(value: object) -> str:
    text = value.lower() if isinstance(value, str) else ""
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    if not _UUID.fullmatch(text):
        raise ValueError(f"{shown(value)} is not a UUID, such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    digits = text.replace("-", "")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _boolean(text: str) -> bool:
    if text in ("t", "true"):
        return True
    if text in ("f", "false"):
        return False
    raise ValueError(f"not a boolean: {text}")


def _boolean_operand(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not true or false")
    return value


def _enum_domain(values: tuple[str, ...]) -> Domain:
    ranks = {value: rank for rank, value in enumerate(values)}

    def read(text: str) -> int:
        # A label that the schema file does not know has no place in the order
        rank = ranks.get(text)
        if rank is None:
            raise ValueError(f"unknown label {text}")
        return rank

    def operand(value: object) -> int:
        if not isinstance(value, str) or value not in ranks:
            raise ValueError(f"{shown(value)} is not one of {', '.join(values)}")
        return ranks[value]

    return Domain(read, operand, values.__getitem__)


def _same(text: str) -> str:
    return text


_DOMAINS: dict[ColumnType, Domain] = {
    ColumnType.INTEGER: Domain(int, _integer, str),
    ColumnType.BIGINT: Domain(int, _integer, str),
    ColumnType.FLOAT: Domain(_float, _float_operand, likely=_float_texts),
    ColumnType.NUMERIC: Domain(_decimal, _decimal_operand),
    ColumnType.STRING: Domain(_same, text_operand, _same),
    ColumnType.UUID: Domain(_same, _uuid_operand, _same),
    ColumnType.BOOLEAN: Domain(_boolean, _boolean_operand, lambda value: "t" if value else "f"),
    ColumnType.TIMESTAMP: Domain(moments.read_timestamp, moments.timestamp_operand, likely=moments.timestamp_texts),
    ColumnType.DATE: Domain(moments.read_date, moments.date_operand, likely=moments.date_texts),
    ColumnType.TIME: Domain(moments.read_time, moments.time_operand, rank=moments.rank_time),
    # A column of type json has no order in PostgreSQL, and documents that differ deep down compare slowly
    ColumnType.JSON: Domain(documents.read_json, documents.json_operand, rank=_same),
    ColumnType.ARRAY: Domain(arrays.read_array, arrays.array_operand),
}
