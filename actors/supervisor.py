"""The Supervisor actor: starts every other actor, watches them, restarts those with a strategy, stops all in order.

What sources tell it of their state is on its `SourceBoard`, which the health page reads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import pykka
from pykka import ActorRef

from actors.board import SourceBoard
from actors.runtime import Describe, LoopActor, Stop, handles, loop_actor, stop_actor, tell
from actors.source_messages import SourceStateChanged, State
from tycostream.errors import known
from tycostream.metrics import Sample, sample

log = logging.getLogger("tycostream.supervisor")

MakeActor = Callable[[ActorRef[Any]], ActorRef[Any]]
"""Starts a child; it is handed the supervisor."""

ACTOR_FAILED = known("ACTOR_FAILED")
ACTOR_GIVEN_UP = known("ACTOR_GIVEN_UP")

KINDS = ("supervisor", "connection", "source", "status", "feed", "trigger", "worker", "relay")
"""Of actors."""

DESCRIBE_SECONDS = 2.0
GIVEN_UP = "it failed too often and was given up: it is served again when the service is restarted"


@dataclass(frozen=True, slots=True)
class Restart:
    """How often an actor that failed is started again: at once, then after `delay` seconds, doubling up to `most`. An
    actor that failed `give_up` times within `within` seconds is not started again."""

    delay: float = 0.1
    most: float = 10.0
    give_up: int = 10
    within: float = 60.0


@dataclass(frozen=True, slots=True)
class StartChild:
    """Ask for a new child; the reply is its reference, or that of the child of this name that runs already. Without
    `restart` a failed child stays away."""

    kind: str
    name: str
    make: MakeActor
    restart: Restart | None = None


@dataclass(frozen=True, slots=True)
class Adopt:
    """Watch an actor that was started by somebody in a hurry: a client's connection. It is not started again."""

    kind: str
    name: str
    ref: ActorRef[Any]


@dataclass(frozen=True, slots=True)
class StopChild:
    """Ask for the end of a child, whether it runs or waits to be started again; answered when it has stopped."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A child has stopped (no error) or failed."""

    ref: ActorRef[Any]
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class RestartChild:
    """The delay before a restart has passed."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ListActors:
    """Ask for a description of every actor that runs or has failed for good, as the debug page shows them."""

    kind: str | None = None
    urn: str | None = None


@dataclass(frozen=True, slots=True)
class StopChildren:
    """Ask for an orderly end: kinds in this order, all of one kind together. Answered when they have stopped."""

    order: tuple[str, ...]


@dataclass(eq=False, slots=True)
class Child:
    """What is known of a child."""

    kind: str
    name: str
    make: MakeActor | None = None
    restart: Restart | None = None
    ref: ActorRef[Any] | None = None
    state: str = "running"
    started: float = field(default_factory=time.time)
    restarts: int = 0
    failures: list[float] = field(default_factory=list)
    last_error: str | None = None


class Supervisor(LoopActor):
    """See the module."""

    kind = "supervisor"

    def __init__(self, board: SourceBoard, directory: dict[tuple[str, str], ActorRef[Any]]) -> None:
        super().__init__()
        self._board = board
        self._directory = directory
        self._children: dict[tuple[str, str], Child] = {}
        self._by_urn: dict[str, Child] = {}
        self._stopping = False
        self._since = time.time()
        self._failures: Counter[str] = Counter()
        self._restarts: Counter[str] = Counter()

    @handles(SourceStateChanged)
    def _on_source_state(self, message: SourceStateChanged) -> None:
        self._board.post(message)

    # Children

    @handles(StartChild)
    def _start_child(self, order: StartChild) -> ActorRef[Any]:
        if self._stopping:
            raise pykka.ActorDeadError("the service is being stopped")
        known = self._children.get((order.kind, order.name))
        if known is not None and known.ref is not None:
            return known.ref
        child = Child(order.kind, order.name, order.make, order.restart)
        self._children[child.kind, child.name] = child
        return self._run(child)

    @handles(Adopt)
    def _adopt(self, message: Adopt) -> None:
        if self._stopping:
            tell(message.ref, Stop())
        elif message.ref.is_alive():
            child = Child(message.kind, message.name)
            self._children[child.kind, child.name] = child
            self._watch(child, message.ref)

    @handles(StopChild)
    def _stop_child(self, message: StopChild) -> asyncio.Future[None] | None:
        name = (message.kind, message.name)
        child = self._children.pop(name, None)
        if message.kind == "source":
            self._board.remove(message.name)
        if child is None or child.ref is None:
            return None
        if self._directory.get(name) == child.ref:  # whoever looks for it from now on does not find it
            del self._directory[name]
        return self.spawn(stop_actor(child.ref))

    def _run(self, child: Child) -> ActorRef[Any]:
        assert child.make is not None
        ref = child.make(self.actor_ref)
        child.state = "running"
        child.started = time.time()
        self._watch(child, ref)
        return ref

    def _watch(self, child: Child, ref: ActorRef[Any]) -> None:
        child.ref = ref
        self._by_urn[ref.actor_urn] = child
        self._directory[child.kind, child.name] = ref
        actor = loop_actor(ref)
        if actor is not None:
            actor.on_exit = self._on_exit

    def _on_exit(self, ref: ActorRef[Any], error: BaseException | None) -> None:
        tell(self.actor_ref, ChildEnded(ref, error))

    @handles(ChildEnded)
    def _on_child_ended(self, message: ChildEnded) -> None:
        ref, error = message.ref, message.error
        child = self._by_urn.pop(ref.actor_urn, None)
        if child is None:
            return
        child.ref = None
        name = (child.kind, child.name)
        if self._directory.get(name) == ref:
            del self._directory[name]
        if self._children.get(name) is not child:  # it was to end anyway
            return
        if error is None:
            del self._children[name]
            return
        self._failures[child.kind] += 1
        child.last_error = f"{type(error).__name__}: {error}"
        child.state = "failed"
        log.error("%s %s failed: %s [%s]", child.kind, child.name, child.last_error, ACTOR_FAILED)
        if child.restart is None or self._stopping:
            if child.restart is None:
                del self._children[child.kind, child.name]
            return
        self._restart(child, child.restart)

    def _restart(self, child: Child, strategy: Restart) -> None:
        now = time.monotonic()
        child.failures = [moment for moment in child.failures if now - moment < strategy.within] + [now]
        count = len(child.failures)
        if count >= strategy.give_up:
            child.state = "given up"
            if child.kind == "source":
                reason = f"given up: {child.last_error}"
                self._board.post(SourceStateChanged(child.name, State.FAILED, reason, time.time(), GIVEN_UP))
            log.error(
                "%s %s failed %d times in %.0f s: given up [%s]",
                child.kind,
                child.name,
                count,
                strategy.within,
                ACTOR_GIVEN_UP,
            )
            return
        delay = 0.0 if count == 1 else min(strategy.most, strategy.delay * 2.0 ** (count - 2))
        child.state = "restarting"
        self.tell_later(delay, RestartChild(child.kind, child.name))

    @handles(RestartChild)
    def _on_restart(self, message: RestartChild) -> None:
        child = self._children.get((message.kind, message.name))
        if child is not None and child.ref is None and not self._stopping:
            child.restarts += 1
            self._restarts[child.kind] += 1
            self._run(child)

    @handles(StopChildren)
    def _on_stop_children(self, message: StopChildren) -> asyncio.Future[None]:
        self._stopping = True
        return self.spawn(self._stop_children(message.order))

    async def _stop_children(self, order: tuple[str, ...]) -> None:
        for kind in order:
            refs = [child.ref for child in self._children.values() if child.kind == kind and child.ref is not None]
            if refs:
                await asyncio.gather(*(stop_actor(ref) for ref in refs))

    # Descriptions

    @handles(ListActors)
    def _on_list(self, message: ListActors) -> asyncio.Future[list[dict[str, Any]]]:
        return self.spawn(self._describe_all(message))

    async def _describe_all(self, question: ListActors) -> list[dict[str, Any]]:
        listed: list[tuple[str, Child | None, ActorRef[Any] | None]] = [(self.kind, None, self.actor_ref)]
        listed += [(child.kind, child, child.ref) for child in self._children.values()]
        chosen = [
            (child, ref)
            for kind, child, ref in listed
            if question.kind in (None, kind) and question.urn in (None, ref.actor_urn if ref is not None else "")
        ]
        return [await self._describe(child, ref) for child, ref in chosen]

    async def _describe(self, child: Child | None, ref: ActorRef[Any] | None) -> dict[str, Any]:
        known: dict[str, Any] = {
            "kind": self.kind if child is None else child.kind,
            "name": "supervisor" if child is None else child.name,
            "urn": None if ref is None else ref.actor_urn,
            "state": "running" if child is None else child.state,
            "parent": None if child is None else self.actor_urn,
            "uptime_seconds": round(time.time() - (self._since if child is None else child.started), 3),
            "restarts": 0 if child is None else child.restarts,
            "inbox_depth": 0,
            "messages_handled": 0,
            "last_error": None if child is None else child.last_error,
            "details": {},
        }
        actor = None if ref is None else loop_actor(ref)
        if ref is None or actor is None:
            return known
        known["inbox_depth"] = actor.inbox_depth
        known["messages_handled"] = actor.handled
        try:
            known["details"] = await asyncio.wait_for(_ask(ref, Describe()), DESCRIBE_SECONDS)
        except (TimeoutError, pykka.ActorDeadError) as error:
            known["details"] = {"error": f"no answer: {type(error).__name__}"}
        return known

    def samples(self) -> Iterator[Sample]:
        """How many actors there are, and what has become of others."""
        running = Counter(map(itemgetter(0), self._directory))
        running[self.kind] += 1
        for kind in KINDS:
            yield sample("tycostream_actors", running[kind], kind=kind)
            yield sample("tycostream_actor_failures_total", self._failures[kind], kind=kind)
            yield sample("tycostream_actor_restarts_total", self._restarts[kind], kind=kind)

    def details(self) -> dict[str, Any]:
        counts: dict[str, int] = {}
        for child in self._children.values():
            counts[child.kind] = counts.get(child.kind, 0) + 1
        return {"children": counts}


async def stop_everything(
    supervisor: ActorRef[Any], directory: dict[tuple[str, str], ActorRef[Any]], order: tuple[str, ...]
) -> None:
    """Stop all children, kinds in this order; also where the supervisor is dead, and nobody knows but the directory."""
    try:
        await _ask(supervisor, StopChildren(order))
    except pykka.ActorDeadError:
        for kind in order:
            refs = [ref for (found, _name), ref in directory.items() if found == kind]
            await asyncio.gather(*(stop_actor(ref) for ref in refs))


async def _ask(ref: ActorRef[Any], message: Any) -> Any:
    return await ref.ask(message, block=False)
