"""Actors on the loop behave as pykka's actors do, and fail in the open."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pykka
import pytest
from pykka import ActorDeadError, ActorRegistry

from actors.runtime import Dispatcher, LoopActor, handles, stop_actor


@dataclass(frozen=True)
class Add:
    number: int


@dataclass(frozen=True)
class AddSlowly:
    number: int
    gate: asyncio.Event


@dataclass(frozen=True)
class Total:
    pass


@dataclass(frozen=True)
class Later:
    answer: asyncio.Future[Any]


@dataclass(frozen=True)
class Crash:
    pass


class Counter(LoopActor):
    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.events: list[str] = []

    def on_start(self) -> None:
        self.events.append("start")

    def on_stop(self) -> None:
        self.events.append("stop")

    def on_failure(self, *error: object) -> None:
        self.events.append("failure")

    def after_turn(self) -> None:
        self.events.append("turn")

    @handles(Add)
    def add(self, message: Add) -> int:
        self.total += message.number
        return self.total

    @handles(AddSlowly)
    async def add_slowly(self, message: AddSlowly) -> int:
        await message.gate.wait()
        return self.add(Add(message.number))

    @handles(Total)
    def tell_total(self, message: Total) -> int:
        return self.total

    @handles(Later)
    def later(self, message: Later) -> asyncio.Future[Any]:
        return message.answer

    @handles(Crash)
    def crash(self, message: Crash) -> None:
        raise ValueError("crash")


async def test_tells_are_handled_in_order_and_asks_are_awaited() -> None:
    ref = Counter.start()
    for number in range(1000):
        ref.tell(Add(number))
    assert await ref.ask(Total(), block=False) == sum(range(1000))
    assert ActorRegistry.get_by_class(Counter) == [ref]
    await stop_actor(ref)
    assert not ref.is_alive()


async def test_a_burst_is_one_turn_so_that_its_outcome_can_be_sent_at_once() -> None:
    ref = Counter.start()
    actor = ref._actor_weakref()
    for number in range(10):
        ref.tell(Add(number))
    await ref.ask(Total(), block=False)
    assert actor.events == ["start", "turn"]
    await stop_actor(ref)
    assert actor.events[-1] == "stop"


async def test_a_coroutine_keeps_the_actor_busy_but_not_the_loop() -> None:
    ref = Counter.start()
    gate = asyncio.Event()
    slow = ref.ask(AddSlowly(5, gate), block=False)
    total = ref.ask(Total(), block=False)
    await asyncio.sleep(0.01)
    gate.set()
    assert await slow == 5
    assert await total == 5
    await stop_actor(ref)


async def test_a_future_is_answered_later_while_the_actor_goes_on() -> None:
    ref = Counter.start()
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    later = ref.ask(Later(answer), block=False)
    assert await ref.ask(Add(1), block=False) == 1
    answer.set_exception(LookupError("not there"))
    with pytest.raises(LookupError, match="not there"):
        await later
    assert ref.is_alive()
    await stop_actor(ref)


async def test_a_crash_is_told_to_the_asker_to_whoever_watches_and_to_those_who_wait() -> None:
    ended: list[BaseException | None] = []
    ref = Counter.start()
    actor = ref._actor_weakref()
    actor.on_exit = lambda _ref, error: ended.append(error)
    crash = ref.ask(Crash(), block=False)
    waiting = ref.ask(Total(), block=False)
    with pytest.raises(ValueError, match="crash"):
        await crash
    with pytest.raises(ActorDeadError):
        await waiting
    assert [type(error) for error in ended] == [ValueError]
    assert "failure" in actor.events
    with pytest.raises(ActorDeadError):
        ref.tell(Add(1))


async def test_other_threads_ask_in_the_blocking_way() -> None:
    ref = Counter.start()
    answers: list[int] = []

    def ask() -> None:
        answers.extend(ref.ask(Add(1)) for _ in range(100))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.001)
    assert sorted(answers) == list(range(1, 401))
    await stop_actor(ref)


async def test_ten_thousand_actors_cost_no_thread() -> None:
    threads = threading.active_count()
    refs = [Counter.start() for _ in range(10_000)]
    for ref in refs:
        ref.tell(Add(1))
    assert await refs[-1].ask(Total(), block=False) == 1
    assert threading.active_count() == threads
    for ref in refs:
        ref.actor_inbox.put(pykka._envelope.Envelope(pykka.messages._ActorStop()))
    await asyncio.gather(*(stop_actor(ref) for ref in refs[-10:]))
    while ActorRegistry.get_by_class(Counter):
        await asyncio.sleep(0)


async def test_get_on_the_loop_refuses_to_block() -> None:
    ref = Counter.start()
    with pytest.raises(RuntimeError, match="block the event loop"):
        ref.ask(Total())
    await stop_actor(ref)


async def test_spawned_work_is_waited_for_and_cancelled_when_late() -> None:
    dispatcher = Dispatcher.current()
    quick = dispatcher.spawn(asyncio.sleep(0, result="done"))
    slow = dispatcher.spawn(asyncio.sleep(60))
    await dispatcher.finish_tasks(within=0.05)
    assert quick.result() == "done"
    assert slow.cancelled()
