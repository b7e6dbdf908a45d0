"""A line through what was measured: the slope that is there, and no slope where there is none."""

from __future__ import annotations

import random

import pytest

from benchmarks.soak import Sample, judge
from benchmarks.trend import trend


def noisy(slope: float, seed: int) -> list[tuple[float, float]]:
    chance = random.Random(seed)
    return [(number / 30, 1000 + slope * number / 30 + chance.gauss(0, 50)) for number in range(600)]


@pytest.mark.parametrize("slope", [0.0, 40.0, -40.0])
def test_the_slope_is_found_within_its_error(slope: float) -> None:
    hits = 0
    for seed in range(100):
        found = trend(noisy(slope, seed), 0.5)
        assert 0 < found.error < 10
        hits += abs(found.slope - slope) <= found.error
    assert hits >= 85


def test_neighbours_that_are_alike_do_not_make_it_more_certain() -> None:
    points = noisy(0.0, 1)
    doubled = [point for point in points for _ in range(10)]
    assert trend(doubled, 0.5).error == pytest.approx(trend(points, 0.5).error)


def test_too_few_are_no_trend() -> None:
    with pytest.raises(ValueError, match="2 blocks"):
        trend([(0.0, 1.0), (0.9, 1.0)], 0.5)


def samples(kib_a_minute: float, descriptors_a_minute: float = 0.0) -> list[Sample]:
    return [
        Sample(minute / 30, 50_000 + kib_a_minute * minute / 30, 1, 20 + int(descriptors_a_minute * minute / 30), {})
        for minute in range(600)
    ]


def test_the_verdict_names_what_grows_what_is_left_and_who_is_wrong() -> None:
    rest = Sample(21, 50_000, 1, 20, {"source": 3})
    assert judge(samples(10), rest, [], 100).problems == []
    assert "memory" in judge(samples(200), rest, [], 100).problems[0]
    assert "descriptors" in judge(samples(0, 2), rest, [], 100).problems[0]
    assert "wrong rows" in judge(samples(0), rest, ["trades"], 100).problems[0]
    left = Sample(21, 50_000, 1, 60, {"connection": 1})
    assert len(judge(samples(0), left, [], 100).problems) == 2
