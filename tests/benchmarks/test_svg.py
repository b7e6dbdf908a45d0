"""Charts are SVG that a browser can read, and have what they were given."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.svg import Chart, draw, shorten

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_has_its_words_and_a_dot_for_each_point() -> None:
    lines = {"a < b": [(10, 1.0), (100, 5.0)], "plain": [(10, 2.0), (100, 4.0)]}
    root = ElementTree.fromstring(draw(Chart("A & B", "filters", "µs"), lines))
    assert {"A & B", "filters", "µs", "a < b", "10", "100", "5"} <= {one.text for one in root.iter(f"{SVG}text")}
    dots = [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter(f"{SVG}circle")]
    assert len(dots) == 4
    assert dots[0][0] < dots[1][0]
    assert dots[0][1] > dots[2][1] > dots[3][1] > dots[1][1], "the larger, the higher"


def test_a_logarithmic_axis_has_the_same_distance_for_each_factor() -> None:
    root = ElementTree.fromstring(draw(Chart("", "", ""), {"a": [(1, 1.0), (2, 10.0), (3, 1000.0)]}))
    first, second, third = (float(one.get("cy", "")) for one in root.iter(f"{SVG}circle"))
    assert second - third == pytest.approx(2 * (first - second), abs=0.2)


@pytest.mark.parametrize("line", [[(1, 0.0)], [(1, 0.0), (2, 0.0)], [(1, -1.0), (2, 5.0)]])
def test_odd_values_are_no_error(line: list[tuple[float, float]]) -> None:
    ElementTree.fromstring(draw(Chart("", "", ""), {"a": line}))


def test_numbers_are_short() -> None:
    assert [shorten(value) for value in (0.5, 12, 1000, 2_500_000, 3_141_592)] == [
        "0.5",
        "12",
        "1,000",
        "2.5M",
        "3.14M",
    ]
