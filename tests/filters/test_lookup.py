"""Rows by their keys, however the client writes them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.filters.test_against_postgres import SIDE
from tycostream.filters import FilterError, KeyLookup, key_lookup, parse_filter
from tycostream.model import Column, ColumnType, Relation, Row, Source
from tycostream.model import ColumnType as T

UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"

# type, the key as the database prints it, as clients may write it: found by its text alone
BY_TEXT: list[tuple[ColumnType, str, list[Any]]] = [
    (T.INTEGER, "7", [7]),
    (T.BIGINT, "9007199254740993", ["9007199254740993", "+9007199254740993", "009007199254740993"]),
    (T.BIGINT, "0", ["0", "-0", "00"]),
    (T.BIGINT, "-5", ["-5", "-005"]),
    (T.STRING, "a B", ["a B"]),
    (T.UUID, UUID, [UUID, UUID.upper(), "{" + UUID + "}", UUID.replace("-", "")]),
    (T.BOOLEAN, "t", [True]),
    (T.BOOLEAN, "f", [False]),
    (T.ENUM, "middle", ["middle"]),
    (T.FLOAT, "1", [1, 1.0]),
    (T.FLOAT, "0.1", [0.1]),
    (T.NUMERIC, "1.50", ["1.50"]),
    (T.TIMESTAMP, "2024-01-02 03:04:05", ["2024-01-02 03:04:05", "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000+02:00"]),
    (T.TIMESTAMP, "2024-01-02 03:04:05.6", ["2024-01-02 03:04:05.600", "2024-01-02T03:04:05.6"]),
    (T.TIMESTAMP, "2024-01-02 03:04:05+00", ["2024-01-02 03:04:05+00", "2024-01-02T05:04:05+02:00", "2024-01-02 03:04:05"]),
    (T.TIMESTAMP, "2024-01-02 03:00:00.06+00", ["2024-01-02T03:00:00.0600Z"]),
    (T.DATE, "2024-01-02", ["2024-01-02", "2024-1-2", "2024-01-02T10:00:00Z"]),
    (T.TIME, "03:04:05", ["03:04:05"]),
    (T.JSON, '{"a": 1}', ['{"a": 1}']),
    (T.ARRAY, "{a,b}", ["{a,b}"]),
]  # fmt: skip
# Those of which the text differs from what anybody would guess
BY_VALUE: list[tuple[ColumnType, str, list[Any]]] = [
    (T.NUMERIC, "1.50", ["1.5", "+1.500", "15e-1"]),
    (T.NUMERIC, "NaN", ["nan"]),
    (T.FLOAT, "1e+15", [1e15]),
    (T.FLOAT, "-0", [0]),
    (T.TIMESTAMP, "0044-03-15 00:00:00 BC", ["0044-03-15 BC"]),
    (T.TIMESTAMP, "12024-01-02 03:04:05+00", ["12024-01-02T03:04:05Z"]),
    (T.TIMESTAMP, "infinity", ["+Infinity"]),
    (T.DATE, "12024-01-02", ["12024-1-2"]),
    (T.DATE, "0044-03-15 BC", ["0044-3-15 bc"]),
    (T.TIME, "03:04:05.6", ["03:04:05.600"]),
    (T.TIME, "03:04:05+02", ["03:04:05+02:00"]),
    (T.JSON, '{"a": 1}', ['{"a":1.0}']),
    (T.ARRAY, "{a,b}", ["{ a, b }"]),
]
EXACT = {T.INTEGER, T.BIGINT, T.STRING, T.UUID, T.BOOLEAN, T.ENUM}


def source_of(*kinds: ColumnType) -> Source:
    columns = tuple(Column(f"k{number}", kind, SIDE if kind is T.ENUM else None) for number, kind in enumerate(kinds))
    return Source("t", Relation("t"), (*columns, Column("v", T.STRING)), tuple(column.name for column in columns))


def cases(table: list[tuple[ColumnType, str, list[Any]]]) -> list[Any]:
    return [pytest.param(kind, text, given, id=f"{kind.value}-{given}") for kind, text, many in table for given in many]


@pytest.mark.parametrize(("kind", "text", "given"), cases(BY_TEXT))
def test_a_key_is_found_by_its_text(kind: ColumnType, text: str, given: Any) -> None:
    row: Row = (text, "x")
    assert key_lookup(source_of(kind), {"k0": given}).candidates({text: row, "other": ("other", "y")}) == (row,)


@pytest.mark.parametrize(("kind", "text", "given"), cases(BY_VALUE))
def test_a_key_of_unusual_text_is_found_among_all_rows(kind: ColumnType, text: str, given: Any) -> None:
    lookup = key_lookup(source_of(kind), {"k0": given})
    assert lookup.candidates({text: (text, "x")}) is None
    assert lookup.filter.matches((text, "x"))


@pytest.mark.parametrize(("kind", "text", "given"), cases(BY_TEXT))
def test_where_a_value_has_one_text_no_other_row_is_asked(kind: ColumnType, text: str, given: Any) -> None:
    lookup = key_lookup(source_of(kind), {"k0": given})
    assert lookup.exact == (kind in EXACT)
    assert lookup.candidates({}) == (() if kind in EXACT else None)


def test_a_text_that_means_something_else_in_this_column_is_not_taken() -> None:
    """12:00+02 is 10:00 UTC for a column with a time zone, 12:00 for one without."""
    lookup = key_lookup(source_of(T.TIMESTAMP), {"k0": "2024-01-02T12:00:00+02"})
    zoned, local, other = (("2024-01-02 10:00:00+00", "x"), ("2024-01-02 12:00:00", "x"), ("2024-01-02 10:00:00", "x"))
    assert lookup.candidates({row[0]: row for row in (other, zoned)}) == (zoned,)
    assert lookup.candidates({row[0]: row for row in (other, local)}) == (local,)
    assert lookup.candidates({other[0]: other}) is None


def test_a_row_of_one_of_the_texts_must_match() -> None:
    admits = parse_filter(source_of(T.NUMERIC), {"k0": {"_eq": "2"}})
    one, two = ("1", "x"), ("2.0", "x")
    assert KeyLookup(admits, ("1", "2.0"), exact=True).candidates({"1": one, "2.0": two}) == (two,)
    assert KeyLookup(admits, ("1",), exact=False).candidates({"1": one, "2.0": two}) is None


def test_keys_of_several_columns() -> None:
    source = source_of(T.UUID, T.DATE, T.NUMERIC)
    given = {"k2": "1.0", "k0": UUID.upper(), "k1": "2024-1-2"}
    row: Row = (UUID, "2024-01-02", "1.0", "x")
    lookup = key_lookup(source, given)
    assert lookup.candidates({source.key_of(row): row}) == (row,)
    assert not lookup.exact
    assert key_lookup(source_of(T.UUID, T.ENUM), {"k0": UUID, "k1": "low"}).exact


def test_many_ways_to_write_a_key_are_not_all_tried() -> None:
    source = source_of(*[T.TIMESTAMP] * 8)
    lookup = key_lookup(source, dict.fromkeys(source.primary_key, "2024-01-02T03:04:05Z"))
    assert len(lookup.keys) <= 64
    row: Row = ("2024-01-02 03:04:05+00",) * 8 + ("x",)
    assert lookup.candidates({source.key_of(row): row}) in ((row,), None)
    assert lookup.filter.matches(row)


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(FilterError, match="not a UUID"):
        key_lookup(source_of(T.UUID), {"k0": "nobody"})
