"""The index of crossings finds every condition whose truth changes, and few others."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.filters import CrossingIndex, Filter, parse_filter
from tycostream.model import Column, ColumnType, EnumType, Relation, Row, Source

LEVEL = EnumType("level", ("low", "mid", "high"))
SOURCE = Source(
    "things",
    Relation("things"),
    (
        Column("id", ColumnType.INTEGER),
        Column("price", ColumnType.FLOAT),
        Column("symbol", ColumnType.STRING),
        Column("level", ColumnType.ENUM, LEVEL),
        Column("at", ColumnType.TIMESTAMP),
        Column("tags", ColumnType.ARRAY),
    ),
    ("id",),
)

TEXTS: dict[str, list[str | None]] = {
    "id": ["1", "2", "3", "10"],
    "price": [None, "-1", "0", "0.5", "1", "1e300", "NaN", "Infinity", "no number"],
    "symbol": [None, "", "A", "B", "AB"],
    "level": [None, "low", "mid", "high", "unheard"],
    "at": [None, "2024-01-01 00:00:00", "2024-01-02 00:00:00+00", "infinity"],
    "tags": [None, "{}", "{a}", "{a,b}"],
}
rows = st.tuples(*(st.sampled_from(texts) for texts in TEXTS.values()))


def comparisons(values: list[Any], *more: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    value = st.sampled_from(values)
    return st.one_of(
        st.tuples(st.sampled_from(["_eq", "_neq", "_gt", "_gte", "_lt", "_lte"]), value).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        st.tuples(st.sampled_from(["_in", "_nin"]), st.lists(value, max_size=3)).map(lambda pair: {pair[0]: pair[1]}),
        st.booleans().map(lambda wanted: {"_is_null": wanted}),
        *map(st.just, more),
    )


leaves = st.one_of(
    comparisons([1, 2, 10]).map(lambda one: {"id": one}),
    comparisons([-1, 0, 0.5, "NaN", "Infinity"]).map(lambda one: {"price": one}),
    comparisons(["", "A", "B"], {"_like": "A%"}, {"_nregex": "b|A$"}).map(lambda one: {"symbol": one}),
    comparisons(["low", "mid", "high"]).map(lambda one: {"level": one}),
    comparisons(["2024-01-01", "2024-01-01T02:00:00+02", "infinity"]).map(lambda one: {"at": one}),
    comparisons(["{}", "{a}"]).map(lambda one: {"tags": one}),
    st.just({}),
)
wheres = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda several: {"_and": several}),
        st.lists(inner, max_size=3).map(lambda several: {"_or": several}),
        inner.map(lambda one: {"_not": one}),
    ),
    max_leaves=6,
)


@given(wanted=st.lists(wheres, max_size=8), removed=st.sets(st.integers(0, 7)), old=rows, new=rows)
def test_no_condition_whose_truth_changes_is_missed(
    wanted: list[dict[str, Any]], removed: set[int], old: Row, new: Row
) -> None:
    index: CrossingIndex[int] = CrossingIndex(SOURCE)
    conditions = dict(enumerate(parse_filter(SOURCE, where) for where in wanted))
    for number, condition in conditions.items():
        index.add(condition, number)
    for number in removed & conditions.keys():
        index.remove(conditions.pop(number), number)
    crossed, holding = set(index.crossed(old, new)), set(index.holding(new))
    assert {number for number, one in conditions.items() if one.matches(old) != one.matches(new)} <= crossed
    assert {number for number, one in conditions.items() if one.matches(new)} <= holding
    assert crossed | holding <= conditions.keys(), "what was taken out is gone"


@given(wanted=st.lists(wheres, max_size=8))
def test_an_index_from_which_all_is_taken_out_is_empty(wanted: list[dict[str, Any]]) -> None:
    index: CrossingIndex[int] = CrossingIndex(SOURCE)
    conditions = [parse_filter(SOURCE, where) for where in wanted]
    for number, condition in enumerate(conditions):
        index.add(condition, number)
    for number, condition in enumerate(conditions):
        index.remove(condition, number)
    assert not index._guarded
    assert not index._free.items
    assert not index._free._columns


def row(price: str | None, symbol: str | None = "A") -> Row:
    return ("1", price, symbol, None, None, None)


def above(*bounds: float, symbol: str | None = None) -> list[Filter]:
    guard = {} if symbol is None else {"symbol": {"_eq": symbol}}
    return [parse_filter(SOURCE, {"price": {"_gt": bound}} | guard) for bound in bounds]


@pytest.mark.parametrize(("old", "new", "found"), [
    ("5.1", "5.9", []),
    ("5.1", "6", []),  # 6 is not more than 6
    ("5", "6", [5.0]),
    ("6.1", "5.1", [6.0]),
    ("5.1", "8.5", [6.0, 7.0, 8.0]),
    (None, "2.5", [1.0, 2.0]),
    ("2.5", None, [1.0, 2.0]),
])  # fmt: skip
def test_only_bounds_between_the_old_and_the_new_value_are_found(
    old: str | None, new: str | None, found: list[float]
) -> None:
    index: CrossingIndex[float] = CrossingIndex(SOURCE)
    for bound, condition in zip(range(1, 11), above(*range(1, 11)), strict=True):
        index.add(condition, float(bound))
    assert sorted(index.crossed(row(old), row(new))) == found


def test_conditions_on_other_symbols_are_not_looked_at() -> None:
    index: CrossingIndex[tuple[str, float]] = CrossingIndex(SOURCE)
    for symbol, bound in itertools.product("AB", (1, 2, 3)):
        index.add(above(bound, symbol=symbol)[0], (symbol, bound))
    assert sorted(index.crossed(row("1.5", "A"), row("2.5", "A"))) == [("A", 2)]
    assert not index.crossed(row("1.5", "C"), row("2.5", "C"))
    assert sorted(index.crossed(row("9", "C"), row("9", "B"))) == [("B", 1), ("B", 2), ("B", 3)]
