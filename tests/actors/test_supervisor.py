"""The supervisor: who fails is started again, for a while; who is stopped is gone; everybody is listed."""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

from pykka import ActorRef

from actors.board import SourceBoard
from actors.runtime import LoopActor, handles, stop_actor, tell
from actors.source_messages import SourceStateChanged, State
from actors.supervisor import KINDS, Adopt, ListActors, Restart, StartChild, StopChild, StopChildren, Supervisor
from tests.actors.support import until


@dataclass(frozen=True)
class Fail:
    pass


@dataclass(frozen=True)
class Wait:
    gate: asyncio.Event


class Child(LoopActor):
    stopped: ClassVar[list[str]] = []

    def __init__(self, kind: str = "child") -> None:
        super().__init__()
        self.named = kind

    def on_stop(self) -> None:
        Child.stopped.append(self.named)

    @handles(Fail)
    def fail(self, _message: Fail) -> None:
        raise ValueError("on purpose")

    @handles(Wait)
    async def wait(self, message: Wait) -> None:
        await message.gate.wait()

    def details(self) -> dict[str, Any]:
        return {"named": self.named}


class House:
    def __init__(self) -> None:
        Child.stopped.clear()
        self.directory: dict[tuple[str, str], ActorRef[Any]] = {}
        self.board = SourceBoard()
        self.ref: ActorRef[Any] = Supervisor.start(self.board, self.directory)

    async def start(self, kind: str, restart: Restart | None = None) -> ActorRef[Any]:
        ref: ActorRef[Any] = await self.ref.ask(
            StartChild(kind, "one", lambda _supervisor: Child.start(kind), restart), block=False
        )
        return ref

    async def listed(self, **which: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.ref.ask(ListActors(**which), block=False)
        return found


async def test_who_fails_is_started_again_and_given_up_in_the_end() -> None:
    house = House()
    first = await house.start("source", Restart(delay=0.001, give_up=3))
    tell(first, Fail())
    await until(lambda: house.directory.get(("source", "one"), first) is not first)
    (known,) = await house.listed(kind="source")
    assert (known["state"], known["restarts"], known["last_error"]) == ("running", 1, "ValueError: on purpose")
    for _ in range(2):
        await until(lambda: ("source", "one") in house.directory)
        tell(house.directory["source", "one"], Fail())
        await until(lambda: ("source", "one") not in house.directory)
    await until(lambda: house.board.states)
    (known,) = await house.listed(kind="source")
    assert (known["state"], known["urn"]) == ("given up", None)
    assert house.board.states["one"].state is State.FAILED
    assert house.board.states["one"].reason == "given up: ValueError: on purpose"
    await stop_actor(house.ref)


async def test_an_adopted_actor_is_watched_and_not_started_again() -> None:
    house = House()
    ref = Child.start()
    house.ref.tell(Adopt("connection", "7", ref))
    (known,) = await house.listed(kind="connection")
    assert known["name"] == "7"
    assert known["details"] == {"named": "child"}
    (same,) = await house.listed(urn=ref.actor_urn)
    assert same["urn"] == known["urn"]
    tell(ref, Fail())
    await until(lambda: ("connection", "7") not in house.directory)
    assert await house.listed(kind="connection") == []
    await stop_actor(house.ref)


async def test_children_are_stopped_in_order_and_no_new_one_comes() -> None:
    house = House()
    for kind in ("feed", "source", "connection"):
        await house.start(kind)
    await house.ref.ask(StopChildren(("connection", "source", "feed")), block=False)
    assert Child.stopped == ["connection", "source", "feed"]
    late = Child.start("late")
    house.ref.tell(Adopt("connection", "9", late))
    await until(lambda: not late.is_alive())
    await stop_actor(house.ref)


async def test_a_child_that_is_to_end_is_not_started_again_and_its_name_is_free() -> None:
    house = House()
    first = await house.start("trigger", Restart())
    assert await house.start("trigger") == first, "there is one of a name"
    stopping = house.ref.ask(StopChild("trigger", "one"), block=False)
    second = await house.start("trigger", Restart())
    await stopping
    assert not first.is_alive()
    await until(lambda: house.directory.get(("trigger", "one")) == second)
    assert [known["urn"] for known in await house.listed(kind="trigger")] == [second.actor_urn]
    tell(second, Fail())
    await house.ref.ask(StopChild("trigger", "one"), block=False)
    await until(lambda: not second.is_alive())
    assert await house.ref.ask(StopChild("trigger", "one"), block=False) is None
    assert await house.listed(kind="trigger") == []
    assert house.directory == {}
    await stop_actor(house.ref)


async def test_a_child_that_waits_to_be_started_again_can_be_ended() -> None:
    house = House()
    first = await house.start("trigger", Restart(delay=60))
    tell(first, Fail())
    await until(lambda: house.directory.get(("trigger", "one")) not in (None, first))
    tell(house.directory["trigger", "one"], Fail())
    await until(lambda: not house.directory)
    assert [known["state"] for known in await house.listed(kind="trigger")] == ["restarting"]
    await house.ref.ask(StopChild("trigger", "one"), block=False)
    assert await house.listed(kind="trigger") == []
    await stop_actor(house.ref)


async def test_who_is_to_end_is_found_no_more_while_it_is_busy() -> None:
    house = House()
    gate = asyncio.Event()
    first = await house.start("source", Restart())
    house.ref.tell(SourceStateChanged("one", State.LIVE, None, 1.0))
    tell(first, Wait(gate))
    stopping = house.ref.ask(StopChild("source", "one"), block=False)
    await until(lambda: not house.directory)
    assert first.is_alive()
    assert house.board.states == {}
    gate.set()
    await stopping
    assert not first.is_alive()
    await stop_actor(house.ref)


async def test_what_sources_tell_is_on_the_board() -> None:
    house = House()
    told = SourceStateChanged("trades", State.LIVE, None, 1.0)
    house.ref.tell(told)
    (everyone,) = await house.listed()
    assert everyone["kind"] == "supervisor"
    assert house.board.states == {"trades": told}
    await stop_actor(house.ref)


def test_every_kind_of_actor_is_told_to_whoever_asks_for_metrics() -> None:
    for name in ("connection", "feed", "relay", "source", "trigger", "worker"):
        importlib.import_module(f"actors.{name}")
    ours = {cls.kind for cls in LoopActor.__subclasses__() if cls.__module__.startswith("actors.")}
    assert ours | {"status"} == set(KINDS)
