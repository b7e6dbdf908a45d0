"""What is told, and what is kept: cooldowns and disabled triggers, against a model that never forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tycostream.triggers.telling import Telling
from tycostream.triggers.watches import Crossing, Happening


def crossing(happening: Happening, key: str = "1") -> Crossing:
    return Crossing(happening, key, (key,), 1)


FIRE, CLEAR = Happening.FIRE, Happening.CLEAR


def test_a_cooldown_is_for_each_row_and_counts_from_what_was_told() -> None:
    telling = Telling(10.0)
    steps = [
        (0.0, FIRE, "1", True), (1.0, CLEAR, "1", True), (9.0, FIRE, "1", False), (9.5, FIRE, "2", True),
        (11.0, CLEAR, "1", False), (11.5, FIRE, "1", True), (19.0, CLEAR, "2", True), (19.4, FIRE, "2", False),
        (30.0, CLEAR, "2", False), (30.0, FIRE, "2", True), (30.0, CLEAR, "1", True),
    ]  # fmt: skip
    for now, happening, key, told in steps:
        assert telling.decide(crossing(happening, key), now) is told, now


def test_the_least_time_is_enough() -> None:
    telling = Telling(10.0)
    assert [telling.decide(crossing(one), now) for now, one in ((0, FIRE), (1, CLEAR), (10, FIRE))] == [True] * 3


def test_without_a_cooldown_everything_is_told_and_nothing_remembered() -> None:
    telling = Telling(0.0)
    assert all(telling.decide(crossing(one), 0.0) for one in (FIRE, CLEAR) * 3)
    assert telling.remembered == 0


def test_rows_whose_time_is_over_are_forgotten() -> None:
    telling = Telling(10.0)
    for number in range(1000):
        telling.decide(crossing(FIRE, str(number)), number)
        assert telling.remembered <= 10


keys = st.sampled_from("abc")
steps = st.lists(
    st.one_of(st.tuples(st.just("cross"), keys), st.tuples(st.just("wait"), st.integers(1, 8)), st.just(("switch", 0)))
)


@given(history=steps, cooldown=st.sampled_from([0.0, 5.0]))
def test_it_agrees_with_a_model_that_never_forgets(history: list[tuple[str, object]], cooldown: float) -> None:
    telling, now, fired = Telling(cooldown), 0, set()
    last: dict[object, int] = {}
    silent: set[object] = set()
    for what, value in history:
        if what == "wait":
            now += int(str(value))
        elif what == "switch":
            telling.enabled = not telling.enabled
        elif value in fired:
            fired.remove(value)
            expected = telling.enabled and value not in silent
            assert telling.decide(crossing(CLEAR, str(value)), now) == expected
        else:
            fired.add(value)
            expected = telling.enabled and (not cooldown or value not in last or now - last[value] >= cooldown)
            silent.discard(value)
            if expected:
                last[value] = now
            else:
                silent.add(value)
            assert telling.decide(crossing(FIRE, str(value)), now) == expected
