"""What is wrong in a filter is told with its place, what was found and what would be valid."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.filters.test_against_postgres import SOURCE
from tycostream.filters import OPERATORS, FilterError, FilterIndex, Operand, parse_filter


@pytest.mark.parametrize(
    ("where", "path", "message"),
    [
        ({"i": {"_eq": None}}, ("i", "_eq"), "null is no operand; ask _is_null"),
        ({"i": {"_in": [1, None]}}, ("i", "_in", 1), "null is no value; ask _is_null"),
        ({"i": None}, ("i",), "null is no condition; leave it out, or ask a column's _is_null"),
        ({"_and": None}, ("_and",), "null is no condition; leave it out, or ask a column's _is_null"),
        ({"_or": [{"_not": {"i": {"_gt": "x"}}}]}, ("_or", 0, "_not", "i", "_gt"), '"x" is not a whole number, such as 42 or "42"'),
        ({"i": {"_eq": True}}, ("i", "_eq"), 'true is not a whole number, such as 42 or "42"'),
        ({"f": {"_eq": "abc"}}, ("f", "_eq"), '"abc" is not a number, such as 12.5, or "NaN" or "Infinity"'),
        ({"n": {"_eq": "1_0"}}, ("n", "_eq"), '"1_0" is not a number'),
        ({"f": {"_eq": "1_0"}}, ("f", "_eq"), '"1_0" is not a number'),
        ({"f": {"_eq": "1e400"}}, ("f", "_eq"), '"1e400" is beyond the largest Float'),
        ({"f": {"_eq": "1e-400"}}, ("f", "_eq"), '"1e-400" is closer to 0 than the smallest Float'),
        ({"f": {"_eq": 10**5000}}, ("f", "_eq"), "a number of very many digits is not a number, such as"),
        ({"_and": [None]}, ("_and", 0), "null is not an object of conditions"),
        ({"s": {"_eq": False}}, ("s", "_eq"), "false is not a text"),
        ({"ts": {"_eq": "294277-01-01"}}, ("ts", "_eq"), '"294277-01-01" is not between the years 4714 BC and 294276'),
        ({"d": {"_eq": "5000-01-01 BC"}}, ("d", "_eq"), '"5000-01-01 BC" is not between the years 4714 BC and 5874897'),
        ({"s": {"_regex": "\\Y"}}, ("s", "_regex"), "the constraint \\Y is not supported"),
        ({"s": {"_regex": "[a-b-c]"}}, ("s", "_regex"), "a - within brackets stands between two characters"),
        ({"s": {"_regex": "[a-[:digit:]]"}}, ("s", "_regex"), "a class is no end of a range"),
        ({"s": {"_regex": "(a.{255}){3}"}}, ("s", "_regex"), "the pattern is too large"),
        ({"s": {"_like": "_" * 9000}}, ("s", "_like"), "the pattern is too large"),
        ({"j": {"_eq": "[" * 101 + "]" * 101}}, ("j", "_eq"), "JSON may be nested 100 levels deep"),
        ({"j": {"_eq": '["\\u0000"]'}}, ("j", "_eq"), "JSON text can't hold the character NUL"),
        ({"j": {"_eq": '{"\\ud800": 1}'}}, ("j", "_eq"), "JSON text can't hold half of a surrogate pair"),
        ({"arr": {"_eq": "{a,{b}}"}}, ("arr", "_eq"), '"{a,{b}}" is not an array'),
        ({"arr": {"_eq": "[1:2]={a}"}}, ("arr", "_eq"), '"[1:2]={a}" is not an array'),
        ({"_or": [{}] * 5000}, ("_or", 4999), "a filter may have 5000 conditions"),
        ({"u": {"_eq": "abc"}}, ("u", "_eq"), '"abc" is not a UUID, such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
        ({"e": {"_eq": "lowest"}}, ("e", "_eq"), '"lowest" is not one of low, middle, high'),
        ({"b": {"_eq": "t"}}, ("b", "_eq"), '"t" is not true or false'),
        ({"ts": {"_gt": "2024-02-30"}}, ("ts", "_gt"), '"2024-02-30" is not a timestamp, such as "2024-01-02T03:04:05Z" or "2024-01-02 03:04:05"'),
        ({"d": {"_gt": "tomorrow"}}, ("d", "_gt"), '"tomorrow" is not a date, such as "2024-01-02"'),
        ({"t": {"_gt": "25:00"}}, ("t", "_gt"), '"25:00" is not a time, such as "03:04:05" or "03:04:05+02"'),
        ({"s": {"_eq": "a\0"}}, ("s", "_eq"), "a text can't hold the character NUL"),
        ({"s": {"_eq": "\ud800"}}, ("s", "_eq"), "a text can't hold half of a surrogate pair"),
        ({"s": {"_like": "a\\"}}, ("s", "_like"), "a LIKE pattern must not end with a backslash: write \\\\ for one"),
        ({"s": {"_regex": "(?=a)"}}, ("s", "_regex"), "lookahead and lookbehind, as in (?=...), are not supported"),
        ({"s": {"_regex": "(a)\\1"}}, ("s", "_regex"), "back-references, as in \\1, are not supported"),
        ({"s": {"_regex": "[a"}}, ("s", "_regex"), "a bracket expression has no end"),
        ({"s": {"_regex": "(a"}}, ("s", "_regex"), "not a valid regular expression: missing ): "),
        ({"s": {"_is_null": 1}}, ("s", "_is_null"), "1 is not true or false"),
        ({"i": {"_like": "a"}}, ("i", "_like"), 'there is no operator "_like" for this column; there are _eq, _neq'),
        ({"x": {}}, ("x",), 't has no column "x"; its columns are id, i'),
        ({"j": {"_eq": "{"}}, ("j", "_eq"), '"{" is not JSON: '),
        ({"arr": {"_eq": "a,b"}}, ("arr", "_eq"), '"a,b" is not an array, such as'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(where: Any, path: tuple[Any, ...], message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(SOURCE, where)
    assert caught.value.path == path
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"i": {"_eq": 1}}, {"i": {"_in": [1, 1]}}),
        ({"i": {"_gt": 1, "_lt": 5}}, {"_and": [{"i": {"_lt": 5}}, {"i": {"_gt": 1}}, {}]}),
        ({"_not": {"i": {"_gt": 1}}}, {"i": {"_lte": 1}}),
        ({"_not": {"_not": {"s": {"_nlike": "a"}}}}, {"_not": {"s": {"_like": "a"}}}),
        ({"u": {"_eq": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"}}, {"u": {"_eq": "a0eebc999c0b4ef8bb6d6bb9bd380a11"}}),
        (None, {"_and": [{}]}),
    ],
)
def test_filters_that_say_the_same_are_one(one: Any, other: Any) -> None:
    assert parse_filter(SOURCE, one) == parse_filter(SOURCE, other)
    assert hash(parse_filter(SOURCE, one)) == hash(parse_filter(SOURCE, other))


@pytest.mark.parametrize(
    "text", ["", "garbage", "{", "{a", '{"a', "{a\\", "[1:2]={", "{" * 1000, "[" * 900 + "]" * 900, "[" * 100_000, "1e9999999999999999999", "9" * 5000, "\ud800"]
)  # fmt: skip
def test_a_row_that_the_column_cannot_hold_is_no_error(text: str) -> None:
    row = tuple(text for _ in SOURCE.columns)
    operands: dict[str, Any] = {"i": 1, "f": 1.5, "n": "1", "ts": "2024-01-01", "tz": "2024-01-01T00:00+02", "d": "2024-01-01", "t": "10:00",
                                "j": "[" * 100 + "]" * 100, "arr": "{a}", "s": "_a%", "e": "low", "b": True, "big": "7"}  # fmt: skip
    index: FilterIndex[str] = FilterIndex()
    for operator in OPERATORS:
        for name, operand in operands.items():
            if SOURCE.column(name).type not in operator.types or operator.operand is Operand.BOOLEAN:
                continue
            given = operand if operator.operand in (Operand.VALUE, Operand.TEXT) else [operand]
            condition = parse_filter(SOURCE, {name: {operator.name: given}})
            condition.matches(row)
            index.add(condition, f"{name} {operator.name}")
    index.match(row, row)


def test_a_row_that_the_column_cannot_hold_is_unknown() -> None:
    row = tuple("garbage" for _ in SOURCE.columns)
    for name, operand in {
        "i": 1,
        "f": 1.5,
        "n": "1",
        "ts": "2024-01-01",
        "t": "10:00",
        "j": "1",
        "arr": "{a}",
        "e": "low",
    }.items():
        for operator in ("_gt", "_lte"):
            assert not parse_filter(SOURCE, {name: {operator: operand}}).matches(row)
            assert not parse_filter(SOURCE, {"_not": {name: {operator: operand}}}).matches(row)


def test_deep_nesting_is_refused_and_what_is_allowed_works() -> None:
    where: dict[str, Any] = {"i": {"_eq": 7}}
    for level in range(99):
        where = {"_or" if level % 2 else "_and": [where, {"s": {"_eq": f"{level}"}}]}
    assert not parse_filter(SOURCE, where).matches(("0",) * len(SOURCE.columns))
    for _ in range(5000):
        where = {"_not": where}
    with pytest.raises(FilterError, match="nested 100 levels deep"):
        parse_filter(SOURCE, where)


@pytest.mark.parametrize(
    "where",
    [
        {"_regex": "(a+)+$"},
        {"_regex": "((a*)*)*b"},
        {"_regex": "(a|a)*b"},
        {"_like": "%a" * 4000 + "b"},
        {"_ilike": "%_a" * 100 + "b"},
        {"_similar": "(a|aa)+b"},
    ],
)
def test_hostile_patterns_run_in_linear_time(where: dict[str, Any]) -> None:
    condition = parse_filter(SOURCE, {"s": where})
    at = SOURCE.positions["s"]

    def seconds(length: int) -> float:
        row = tuple("a" * length if index == at else None for index in range(len(SOURCE.columns)))
        taken = []
        for _ in range(3):
            start = time.process_time()
            condition.matches(row)
            taken.append(time.process_time() - start)
        return min(taken)

    # Sixteen times the text in sixteen times the time, or a clock's tick: quadratic time would be 256 times
    assert seconds(80_000) < 64 * max(seconds(5_000), 0.0005)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "_and",
                        "_or",
                        "_not",
                        "s",
                        "i",
                        "f",
                        "j",
                        "arr",
                        "_eq",
                        "_in",
                        "_gt",
                        "_regex",
                        "_like",
                        "_similar",
                        "_contains",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_anything_else_is_a_filter_error(where: Any) -> None:
    with contextlib.suppress(FilterError):
        parse_filter(SOURCE, where)
