"""The index answers what asking every filter answers, and asks few."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import total_ordering
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tycostream.filters import Filter, FilterIndex, levels, parse_filter
from tycostream.filters.bounds import MANY, Bounds, Intervals
from tycostream.filters.guards import MOST_GUARDS
from tycostream.model import Column, ColumnType, EnumType, Relation, Row, Source

LEVEL = EnumType("level", ("low", "mid", "high"))
SOURCE = Source(
    "things",
    Relation("things"),
    (
        Column("id", ColumnType.INTEGER),
        Column("big", ColumnType.BIGINT),
        Column("price", ColumnType.FLOAT),
        Column("amount", ColumnType.NUMERIC),
        Column("symbol", ColumnType.STRING),
        Column("owner", ColumnType.UUID),
        Column("open", ColumnType.BOOLEAN),
        Column("at", ColumnType.TIMESTAMP),
        Column("day", ColumnType.DATE),
        Column("clock", ColumnType.TIME),
        Column("doc", ColumnType.JSON),
        Column("tags", ColumnType.ARRAY),
        Column("level", ColumnType.ENUM, LEVEL),
    ),
    ("id",),
)
OWNER = "5d0c5a5e-8f0c-4c52-9c2f-0d4b5b7b3c11"

TEXTS: dict[str, list[str | None]] = {
    "id": ["1", "2", "3"],
    "big": [None, "7", "9007199254740993"],
    "price": [None, "-1", "-0", "0", "0.5", "1", "NaN", "Infinity", "no number"],
    "amount": [None, "0.5", "0.50", "1", "NaN", "-Infinity"],
    "symbol": [None, "", "A", "AB", "B"],
    "owner": [None, OWNER],
    "open": [None, "t", "f"],
    "at": [None, "2024-01-01 00:00:00", "2024-01-01 00:00:00+00", "infinity"],
    "day": [None, "2024-01-01", "2024-01-02", "infinity"],
    "clock": [None, "01:00:00", "01:00:00+00", "03:00:00+02"],
    "doc": [None, "{}", '{"a": 1}', "[]", "1", "1.0"],
    "tags": [None, "{}", "{a}", "{a,b}", "{NULL}"],
    "level": [None, "low", "mid", "high", "unheard"],
}
OPERANDS: dict[str, list[Any]] = {
    "id": [1, 2, 3],
    "big": [7, "9007199254740993"],
    "price": [-1, 0, 0.5, 1, "NaN", "Infinity"],
    "amount": ["0.5", 1, "NaN", "-Infinity"],
    "symbol": ["", "A", "B"],
    "owner": [OWNER, OWNER.upper()],
    "open": [True, False],
    "at": ["2024-01-01", "2024-01-01T02:00:00+02", "2024-01-01T02:00:00+01", "infinity"],
    "day": ["2024-01-01", "2024-01-02", "-infinity"],
    "clock": ["01:00", "01:00+00", "02:00+01"],
    "doc": ["{}", '{"a": 1.0}', "[]", "1"],
    "tags": ["{}", "{a}", "{NULL}"],
    "level": ["low", "mid", "high"],
}
MORE: dict[str, list[dict[str, Any]]] = {
    "symbol": [{"_like": "A%"}, {"_nlike": "A%"}, {"_regex": "B"}],
    "doc": [{"_has_key": "a"}, {"_contains": "{}"}, {"_has_keys_any": ["a", "b"]}],
}

rows = st.tuples(*(st.sampled_from(texts) for texts in TEXTS.values()))


def comparisons(name: str) -> st.SearchStrategy[dict[str, Any]]:
    operand = st.sampled_from(OPERANDS[name])
    one = st.one_of(
        st.tuples(st.sampled_from(["_eq", "_neq", "_gt", "_gte", "_lt", "_lte"]), operand).map(
            lambda pair: dict([pair])
        ),
        st.tuples(st.sampled_from(["_gt", "_gte"]), operand, st.sampled_from(["_lt", "_lte"]), operand).map(
            lambda four: {four[0]: four[1], four[2]: four[3]}
        ),
        st.tuples(st.sampled_from(["_in", "_nin"]), st.lists(operand, max_size=3)).map(lambda pair: dict([pair])),
        st.booleans().map(lambda wanted: {"_is_null": wanted}),
        *map(st.just, MORE.get(name, [])),
    )
    return one.map(lambda found: {name: found})


leaves = st.one_of(*map(comparisons, OPERANDS), st.just({}))
wheres = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda several: {"_and": several}),
        st.lists(inner, max_size=3).map(lambda several: {"_or": several}),
        inner.map(lambda one: {"_not": one}),
    ),
    max_leaves=5,
)


def changed(old: Row, new: Row) -> int:
    return sum(1 << at for at, (was, now) in enumerate(zip(old, new, strict=True)) if was != now)


def asked_one_by_one(
    kept: Iterable[tuple[Filter, int]], old: Row | None, new: Row | None
) -> set[tuple[int, bool, bool]]:
    told = {
        (item, old is not None and condition.matches(old), new is not None and condition.matches(new))
        for condition, item in kept
    }
    return {one for one in told if one[1] or one[2]}


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(wheres, min_size=1, max_size=6),
    removed=st.sets(st.integers(0, 41)),
    changes=st.lists(st.tuples(rows, rows, st.integers(0, (1 << len(TEXTS)) - 1)), min_size=1, max_size=4),
    most_work=st.sampled_from([1, levels.MOST_WORK]),
)
def test_the_index_answers_what_asking_every_filter_answers(
    parts: list[dict[str, Any]], removed: set[int], changes: list[tuple[Row, Row, int]], most_work: int
) -> None:
    """Each part alone, and all pairs of them: so that many filters share places, and levels come and go."""
    wanted = [*parts, *({"_and": list(pair)} for pair in itertools.product(parts, parts))]
    kept = {number: parse_filter(SOURCE, where) for number, where in enumerate(wanted)}
    index: FilterIndex[int] = FilterIndex()

    def check() -> None:
        filters = [(condition, number) for number, condition in kept.items()]
        for old, other, moved in changes:
            new = tuple(b if moved >> at & 1 else a for at, (a, b) in enumerate(zip(old, other, strict=True)))
            mask = changed(old, new)
            for args in ((old, new, mask), (old, new), (None, new), (old, None), (new, new, 0)):
                found = list(index.match(*args))
                assert len(found) == len(set(found)), "nothing is told twice"
                assert set(found) == asked_one_by_one(filters, args[0], args[1])

    with patch.object(levels, "MOST_WORK", most_work):
        for number, condition in kept.items():
            index.add(condition, number)
        check()
        again = {number: kept.pop(number) for number in removed & kept.keys()}
        for number, condition in again.items():
            index.remove(condition, number)
        check()
        for number, condition in again.items():
            index.add(condition, number)
        kept.update(again)
        check()
        for number, condition in kept.items():
            assert index.explain(condition, number).index
            index.remove(condition, number)
        kept.clear()
        check()
    assert not len(index)
    assert not index._level
    assert not index._level._tables
    assert not index._level._sieves


bounds = st.integers(0, 8)


@given(
    operators=st.tuples(st.sampled_from([">", ">="]), st.sampled_from(["<", "<="])),
    pairs=st.lists(st.tuples(bounds, bounds), max_size=40),
    values=st.lists(bounds.map(lambda whole: whole) | bounds.map(lambda whole: whole + 0.5), min_size=1, max_size=8),
    dropped=st.sets(st.integers(0, 39)),
    many=st.sampled_from([0, MANY]),
)
def test_intervals_are_found_by_what_is_within(
    operators: tuple[str, str], pairs: list[tuple[int, int]], values: list[float], dropped: set[int], many: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tycostream.filters.bounds.MANY", many)
        patch.setattr("tycostream.filters.gaps.PIECE", 3)
        check_intervals(operators, pairs, values, dropped)


def check_intervals(
    operators: tuple[str, str], pairs: list[tuple[int, int]], values: list[float], dropped: set[int]
) -> None:
    strict = ">" in operators or "<" in operators
    coming = {pair for pair in pairs if (pair[0] < pair[1] if strict else pair[0] <= pair[1])}
    kept: set[tuple[int, int]] = set()
    intervals: Intervals[tuple[int, int]] = Intervals(*operators)

    def check() -> None:
        for value in values * 3:  # meanwhile a map is drawn
            within = {
                (low, high)
                for low, high in kept
                if (low < value if operators[0] == ">" else low <= value)
                and (value < high if operators[1] == "<" else value <= high)
            }
            found = intervals.holding(value)
            assert set(found) == within
            assert len(found) == len(within)

    for pair in coming:
        intervals.put(pair, pair)
        kept.add(pair)
        check()
    for pair in [pair for number, pair in enumerate(pairs) if number in dropped and pair in kept]:
        kept.discard(pair)
        if intervals.get(pair) is not None:
            intervals.drop(pair)
    check()
    assert bool(intervals) == bool(kept)


@total_ordering
class Counted:
    """A number that counts its comparisons."""

    made = 0

    def __init__(self, number: float) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        Counted.made += 1
        return isinstance(other, Counted) and self.number == other.number

    def __lt__(self, other: Counted) -> bool:
        Counted.made += 1
        return self.number < other.number

    def __le__(self, other: Counted) -> bool:
        Counted.made += 1
        return self.number <= other.number

    def __hash__(self) -> int:
        return hash(self.number)


def comparisons_made(table: Bounds[int] | Intervals[int], value: float) -> tuple[int, int]:
    before = Counted.made
    found = len(table.holding(Counted(value)))
    return found, Counted.made - before


def test_what_does_not_match_is_hardly_looked_at() -> None:
    """In whichever order they came: 20,000 intervals, a wide one among them, cost a bisection and a way down a tree."""
    intervals: Intervals[int] = Intervals(">=", "<")
    for number in range(20_000):
        intervals.put((Counted(number), Counted(number + 0.5)), number)
    assert comparisons_made(intervals, 7000.7) == (0, pytest.approx(16, abs=2))
    intervals.put((Counted(-1), Counted(30_000)), -1)
    found, made = comparisons_made(intervals, 7000.7)
    assert found == 1
    assert made < 500, "the tree is balanced"
    assert comparisons_made(intervals, 9000.7)[1] < 50, "the wide one is tried first"
    thresholds: Bounds[int] = Bounds(">")
    for number in range(20_000):
        thresholds.put(Counted(number), number)
    assert comparisons_made(thresholds, -1) == (0, pytest.approx(15, abs=2))
    assert comparisons_made(thresholds, 2.5)[0] == 3


NUMBERS = list(range(1000))
"""Items are filed by their identity."""


def row(**texts: str | None) -> Row:
    return tuple(texts.get(name) for name in TEXTS)


def filed(*wanted: dict[str, Any]) -> tuple[FilterIndex[int], list[Filter]]:
    index: FilterIndex[int] = FilterIndex()
    filters = [parse_filter(SOURCE, where) for where in wanted]
    for number, condition in zip(NUMBERS, filters, strict=False):
        index.add(condition, number)
    return index, filters


def evaluated(index: FilterIndex[int], filters: list[Filter]) -> list[int]:
    explanations = [index.explain(condition, number) for number, condition in zip(NUMBERS, filters, strict=False)]
    return [number for number, one in enumerate(explanations) if one.evaluated]


def test_filters_on_values_that_do_not_occur_are_never_asked() -> None:
    index, filters = filed(*({"id": {"_eq": number}, "symbol": {"_like": "a%"}} for number in range(1000)))
    assert index.match(None, row(id="7", symbol="abc")) == [(7, False, True)]
    assert index.match(row(id="8", symbol="b"), None) == []
    assert evaluated(index, filters) == [7, 8]


def test_of_filters_on_one_value_the_rest_is_looked_up_too() -> None:
    index, filters = filed(*({"symbol": {"_eq": "A"}, "price": {"_gt": number}} for number in range(1000)))
    old, new = row(symbol="A", price="-5"), row(symbol="A", price="1.5")
    assert sorted(index.match(old, new, changed(old, new))) == [(0, False, True), (1, False, True)]
    assert not index.match(row(symbol="B", price="900"), None)
    assert evaluated(index, filters) == []
    assert index.explain(filters[3], 3).index == "hash on symbol, then bounds on price"


def test_filters_that_their_guard_decides_are_not_evaluated_and_matches_are_counted() -> None:
    index, filters = filed(
        {"price": {"_gte": 1, "_lt": 2}}, {"amount": {"_lte": 5}}, {"id": {"_in": [1, 2]}}, {"symbol": {"_is_null": True}}, {}
    )  # fmt: skip
    one, other = row(id="1", price="1.5", amount="5.0"), row(id="1", price="2", amount="6", symbol="A")
    for old, new in ((None, one), (one, other), (other, one), (one, None), (None, other)):
        index.match(old, new)
    explanations = [index.explain(condition, number) for number, condition in zip(NUMBERS, filters, strict=False)]
    assert [one.matched for one in explanations] == [4, 4, 5, 4, 5]
    assert [one.evaluated for one in explanations] == [0] * 5


@pytest.mark.parametrize(("where", "words"), [
    ({}, "every row"),
    ({"id": {"_eq": 1}}, "hash on id"),
    ({"id": {"_in": [1, 2]}, "price": {"_gt": 5}}, "hash on id"),
    ({"open": {"_eq": True}, "id": {"_eq": 1}}, "hash on id"),
    ({"price": {"_gt": 5}}, "bounds on price"),
    ({"price": {"_gt": 5}, "amount": {"_gte": 1, "_lt": 2}}, "bounds on amount"),
    ({"_not": {"price": {"_gt": 5}}}, "bounds on price"),
    ({"_or": [{"id": {"_eq": 1}}, {"price": {"_gt": 5}}]}, "bounds on price or hash on id"),
    ({"_or": [{"id": {"_eq": 1}}, {"symbol": {"_like": "a%"}}]}, "evaluated one by one"),
    ({"_or": [{"id": {"_eq": 1}}, {"symbol": {"_like": "a%"}}], "day": {"_is_null": True}}, "day is null"),
    ({"day": {"_is_null": False}}, "day is not null"),
    ({"price": {"_gt": 5, "_lt": 5}}, "no row can match"),
    ({"at": {"_gt": "2024-01-01T00:00+02"}}, "evaluated one by one"),
    ({"doc": {"_gt": "1"}}, "evaluated one by one"),
    ({"id": {"_neq": 1}}, "evaluated one by one"),
    ({"id": {"_in": list(range(MOST_GUARDS + 1))}}, "evaluated one by one"),
    ({"id": {"_in": list(range(MOST_GUARDS + 1))}, "price": {"_gt": 5}}, "bounds on price"),
    ({"_or": [{name: {"_eq": OPERANDS[name][0]}} for name in ("id", "big", "price", "amount", "symbol", "owner", "open")]},
     "in 2 more ways"),
])  # fmt: skip
def test_an_explanation_names_the_guard(where: dict[str, Any], words: str) -> None:
    index, (condition,) = filed(where)
    assert sorted(index.explain(condition, 0).index.split(" or "))[-1 if "more ways" in words else 0 :] == words.split(
        " or "
    )


def test_what_is_evaluated_one_by_one_is_counted_and_asked_once_where_its_columns_stay() -> None:
    index, filters = filed(*({"symbol": {"_like": f"a{number}%"}} for number in range(3)))
    old, new = row(symbol="a1", price="1"), row(symbol="a1", price="2")
    assert index.match(old, new, changed(old, new)) == [(1, True, True)]
    assert [index.explain(one, number).evaluated for number, one in enumerate(filters)] == [1, 1, 1]
    late = parse_filter(SOURCE, {"symbol": {"_like": "b%"}})
    index.add(late, 9)
    index.match(old, row(symbol="b"), changed(old, row(symbol="b")))
    assert (index.explain(late, 9).evaluated, index.explain(filters[0], 0).evaluated) == (2, 3)


def test_a_long_condition_with_many_guards_is_filed_under_each_and_no_further() -> None:
    """Else a filter of a few kilobytes would take seconds to file."""
    where = {"_and": [
        {"_or": [{"id": {"_eq": number}, "price": {"_gt": number}} for number in range(500)]},
        *({"symbol": {"_like": f"{number}%"}} for number in range(500)),
    ]}  # fmt: skip
    index: FilterIndex[int] = FilterIndex()
    condition = parse_filter(SOURCE, where)
    with patch.object(levels, "shape_of", side_effect=AssertionError("the rest is filed again")):
        for number in range(10):
            index.add(condition, number)
    assert not index.match(None, row(id="7", price="9", symbol="1"))
    for number in range(10):
        index.remove(condition, number)
    assert not index._level._tables


def test_of_bounds_at_the_same_value_the_strict_one_counts() -> None:
    for value in range(20):
        at, beside = row(price=str(value)), row(price=str(value + 0.5))
        index, _ = filed({"price": {"_gt": value, "_gte": value}}, {"price": {"_lt": value, "_lte": value}})
        assert list(index.match(None, at)) == []
        assert list(index.match(None, beside)) == [(0, False, True)]
