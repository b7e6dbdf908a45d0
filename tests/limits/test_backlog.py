"""What waits for all clients together is bounded, at the cost of those that the most waits for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.limits import Account, Backlog, NearLimits


def test_the_client_that_the_most_waits_for_is_given_up_first() -> None:
    backlog = Backlog(100, NearLimits())
    gone: list[str] = []
    one, two, three = (backlog.open(lambda name=name: gone.append(name)) for name in "123")  # type: ignore[misc]
    one.set(30)
    two.set(60)
    three.set(10)
    assert not gone
    three.set(20)
    assert gone == ["2"]
    assert backlog.total == 50
    two.set(1000)
    assert backlog.total == 50, "who was given up counts no more"
    one.set(101)
    assert gone == ["2", "1"]
    two.close()
    one.close()
    three.close()
    assert backlog.total == 0


def test_what_waits_no_more_makes_room() -> None:
    backlog = Backlog(100, NearLimits())
    gone: list[str] = []
    one, two = (backlog.open(lambda name=name: gone.append(name)) for name in "12")  # type: ignore[misc]
    for _ in range(10):
        one.set(90)
        one.set(0)
        two.set(90)
        two.close()
    assert not gone


def test_it_is_said_when_it_is_nearly_full(caplog: pytest.LogCaptureFixture) -> None:
    backlog = Backlog(100, NearLimits())
    backlog.open(lambda: None).set(85)
    assert caplog.messages == ["MAX_TOTAL_PENDING_BYTES is nearly reached: 85 of 100"]


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 70)))))
def test_the_total_is_that_of_those_who_stay_and_never_more_than_the_limit(
    steps: list[tuple[int, int | None]],
) -> None:
    backlog = Backlog(100, NearLimits())
    gone: set[int] = set()
    accounts: list[Account] = [backlog.open(lambda at=at: gone.add(at)) for at in range(6)]  # type: ignore[misc]
    expected = dict.fromkeys(range(6), 0)
    for at, waiting in steps:
        if waiting is None:
            accounts[at].close()
            expected[at] = 0
            gone.discard(at)
        else:
            accounts[at].set(waiting)
            expected[at] = waiting
        for one in gone:
            expected[one] = 0
        assert backlog.total == sum(expected.values()) <= 100
