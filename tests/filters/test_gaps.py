"""A map of gaps says that there is nothing only where that is so, and says it where gaps are wide."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.filters import gaps
from tycostream.filters.gaps import Gaps
from tycostream.filters.values import NAN

numbers = st.integers(-40, 40) | st.floats(-40, 40) | st.integers() | st.floats(allow_nan=False)
intervals = st.tuples(numbers, numbers).filter(lambda pair: pair[0] <= pair[1])


@given(st.lists(intervals, min_size=1), st.lists(intervals | st.none(), max_size=20), st.lists(numbers), st.data())
def test_what_is_within_an_interval_is_never_in_a_gap(
    first: list[tuple[Any, Any]], steps: list[tuple[Any, Any] | None], values: list[Any], data: st.DataObject
) -> None:
    there = list(first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gaps, "PIECE", 2)
        try:
            found = Gaps(*bounds_of(there))
        except (ValueError, ArithmeticError):
            return  # too far apart for a map, or all at one place
        for step in steps:
            if step is None:
                found.draw(*bounds_of(there))
            elif found.cover(*step):
                there.append(step)
        shares = st.fractions(0, 1)
        inside = [low + (high - low) * data.draw(shares) for low, high in there if math.isfinite(low + high)]
        for value in (*values, *map(shaped, inside), *(bound for pair in there for bound in pair)):
            if any(low <= value <= high for low, high in there):
                assert not found.has(value)


def bounds_of(pairs: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return sorted(low for low, _ in pairs), sorted(high for _, high in pairs)


def shaped(value: Any) -> Any:
    """A number of a kind that columns have."""
    return float(value) if isinstance(value, Fraction) and abs(value) < 1e300 else value


def test_what_is_between_intervals_is_in_a_gap_once_that_is_drawn() -> None:
    lows, highs = [float(number) for number in range(5000)], [number + 0.1 for number in range(5000)]
    found = Gaps(lows, highs)
    assert not found.has(7.7)
    pieces = 1
    while found.draw(lows, highs):
        pieces += 1
    assert pieces == 5
    assert all(found.has(number + 0.7) for number in range(4999))
    assert not any(found.has(number + 0.05) for number in range(5000))
    assert not found.has(-0.5), "beyond the map"
    assert not found.has(6000.5)
    assert found.cover(7.3, 9.2)
    assert not found.has(7.7)
    assert not found.has(8.7)
    assert found.has(9.7)
    assert found.has(2.7)
    assert found.cover(-math.inf, 3.0)
    assert not found.has(2.7)
    assert found.has(3.7)
    assert found.has(4990.7)
    assert found.cover(4990.2, 6001.0)
    assert not found.has(4990.7)
    assert found.cover(7000.0, 8000.0), "where nothing is known anyway"
    assert found.has(4980.7)


def test_what_comes_to_lie_beyond_the_map_while_it_is_drawn_does_no_harm() -> None:
    lows, highs = [10.0 * number for number in range(50)], [10.0 * number + 1 for number in range(50)]
    found = Gaps(lows, highs)
    more = [(-1e300, -1e299), (-5.0, -4.0), (1e12, 1e13), (1e300, math.inf), (math.inf, math.inf)]
    for low, high in more:
        assert found.cover(low, high)
    every = [*zip(lows, highs, strict=True), *more]
    while found.draw(*bounds_of(every)):
        pass
    assert all(found.has(10.0 * number + 5) for number in range(49))
    assert not any(found.has(10.0 * number + 0.5) for number in range(50))
    assert not any(found.has(value) for value in (-1e299, -4.5, 5e12, 1e308, math.inf))


@pytest.mark.parametrize("value", [NAN, math.inf, Decimal("7.7"), "7.7", 10**400])
def test_of_what_is_no_usual_number_nothing_is_known(value: Any) -> None:
    lows, highs = [0, 10, 20], [1, 11, 21]
    found = Gaps(lows, highs)
    found.draw(lows, highs)
    assert found.has(5.5)
    assert not found.has(value)


@pytest.mark.parametrize("operands", [([3.0], [3.0]), (["a"], ["b"]), ([0.0], [math.inf]), ([0], [10**400])])
def test_where_there_can_be_no_map_it_raises(operands: tuple[list[Any], list[Any]]) -> None:
    with pytest.raises((TypeError, ValueError, ArithmeticError)):
        Gaps(*operands)
