"""A limit that is nearly reached is logged, and not a thousand times."""

from __future__ import annotations

import pytest

from tycostream.limits import NearLimits


def test_a_warning_comes_at_four_fifths_and_once_a_minute_for_each_limit(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    near = NearLimits(lambda: now)
    near.note("A", 79, 100)
    near.note("NONE", 79, 0)
    assert not caplog.messages
    for used in (80, 90, 99):
        near.note("A", used, 100, "10.0.0.1")
    near.note("B", 8, 10)
    near.note("A", 100, 100, "10.0.0.2")
    now += 59.9
    near.note("A", 81, 100)
    now += 0.2
    near.note("A", 82, 100)
    assert caplog.messages == [
        "A is nearly reached: 80 of 100 by 10.0.0.1",
        "B is nearly reached: 8 of 10",
        "A is reached: 100 of 100 by 10.0.0.2",
        "A is nearly reached: 82 of 100 (3 more times since this was last said)",
    ]
