"""Long works leave the loop its turns, and take turns with one another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tycostream import turns
from tycostream.turns import Turns


class Clock:
    """The time, which stands still until the test moves it. `rounds` are those of the loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rounds = 0

    async def count(self) -> None:
        while True:
            self.rounds += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def stopped_clock() -> AsyncIterator[Clock]:
    clock = Clock()
    counting = asyncio.ensure_future(clock.count())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "perf_counter", lambda: clock.now)
        yield clock
    counting.cancel()


async def test_the_loop_has_its_turn_after_some_milliseconds() -> None:
    async with stopped_clock() as clock, Turns() as mine:
        await mine.between()
        assert clock.rounds == 0
        clock.now += 0.01
        await mine.between()
        assert clock.rounds == 1
        await mine.between()
        assert clock.rounds == 1


async def test_of_several_works_one_goes_on_in_each_round() -> None:
    order: list[str] = []

    async def work(name: str, clock: Clock) -> None:
        async with Turns() as mine:
            for _ in range(3):
                order.append(f"{name}{clock.rounds}")
                clock.now += 0.01
                await mine.between()

    async with stopped_clock() as clock:
        await asyncio.gather(*(work(name, clock) for name in "abc"))
    assert "".join(one[0] for one in order) == "abcabcabc"
    rounds = [one[1:] for one in order]
    assert len(set(rounds)) == len(rounds)


async def test_a_work_that_fails_passes_its_turn_on() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Turns():
            print(1 / 0)
    async with asyncio.timeout(5), Turns():
        pass


async def test_a_work_that_is_cancelled_leaves_the_turn_to_whose_it_is() -> None:
    entered: list[str] = []
    go_on = asyncio.Event()

    async def work(name: str, clock: Clock) -> None:
        async with Turns() as mine:
            entered.append(name)
            if name == "b":
                await go_on.wait()
            clock.now += 0.01
            await mine.between()

    async def until(count: int) -> None:
        async with asyncio.timeout(5):
            while len(entered) < count:
                await asyncio.sleep(0)

    async with stopped_clock() as clock:
        a, b, c = (asyncio.ensure_future(work(name, clock)) for name in "abc")
        await until(2)
        a.cancel()  # it waits for its next turn, which is b's
        with pytest.raises(asyncio.CancelledError):
            await a
        assert entered == ["a", "b"]
        go_on.set()
        await asyncio.gather(b, c)
        assert entered == ["a", "b", "c"]
