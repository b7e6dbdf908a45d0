"""The registry of triggers: which there are, and what clients do to them. It implements `graphql.TriggerService`.

A name is taken and given back here, in one step each; the actors are the supervisor's children.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any
from weakref import WeakSet

import pykka
from pykka import ActorRef

from actors.runtime import Dispatcher, tell
from actors.source_messages import ShowRow, StopWatch
from actors.supervisor import Restart, StartChild, StopChild
from actors.trigger import TriggerActor, ended, hand_on
from actors.trigger_memory import TriggerCounts, TriggerMemory, utc_now
from tycostream.metrics import Sample, sample
from tycostream.model import Row, Source
from tycostream.triggers import EventType, TargetPolicy, WebhookEvent
from tycostream.triggers.codes import Code, TriggerError
from tycostream.triggers.definition import define, define_again, some_of
from tycostream.triggers.status import Outlet, TriggerStatus

log = logging.getLogger("tycostream.trigger")

KIND = "trigger"
_RESTART = Restart()


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """`most` triggers there may be. `within` is how long a client waits for its new trigger's rows, in seconds."""

    policy: TargetPolicy
    most: int = 10_000
    within: float = 10.0


class TriggerRegistry:
    """See the module. Of use once it is opened."""

    def __init__(self, config: RegistryConfig, directory: dict[tuple[str, str], ActorRef[Any]]) -> None:
        self._config = config
        self._directory = directory
        self._triggers: dict[Source, dict[str, TriggerMemory]] = {}
        self._past: WeakSet[Source] = WeakSet()
        self._total = 0
        self._counts: defaultdict[str, TriggerCounts] = defaultdict(TriggerCounts)
        self._tests = count(1)
        self._supervisor: ActorRef[Any]
        self._outlet: Outlet

    def open(self, supervisor: ActorRef[Any], outlet: Outlet) -> None:
        """From now on triggers can be created."""
        self._supervisor = supervisor
        self._outlet = outlet

    # What there is

    def find(self, source: Source, name: str) -> TriggerStatus | None:
        """The trigger of that name."""
        memory = self._triggers.get(source, {}).get(name)
        return None if memory is None else memory.status(self._outlet)

    def all_of(self, source: Source) -> Iterator[TriggerStatus]:
        """The source's triggers, in the order in which they were created, each as it stands when it is asked for."""
        for memory in list(self._triggers.get(source, {}).values()):
            yield memory.status(self._outlet)

    def samples(self, names: Iterable[str]) -> Iterator[Sample]:
        """For `/metrics`, of the sources of these names."""
        numbers = {source.name: len(mine) for source, mine in self._triggers.items()}
        for name in names:
            counts = self._counts[name]
            yield sample("tycostream_triggers", numbers.get(name, 0), source=name)
            yield sample("tycostream_trigger_events_total", counts.fired, source=name, event="fire")
            yield sample("tycostream_trigger_events_total", counts.cleared, source=name, event="clear")
            yield sample("tycostream_trigger_events_suppressed_total", counts.suppressed, source=name)

    # What clients do

    async def create(self, source: Source, wish: Mapping[str, Any]) -> TriggerStatus:
        """Start a trigger. Whatever changes after this has returned can fire it, unless its source has no rows yet."""
        self._require_current(source)
        definition = define(source, wish, self._config.policy)
        mine = self._triggers.setdefault(source, {})
        if definition.name in mine:
            raise TriggerError(Code.TRIGGER_EXISTS, f'{source.name} has a trigger "{definition.name}" already')
        if self._total >= self._config.most:
            message = f"there are {self._total} triggers, which is the most that MAX_TRIGGERS allows; delete some"
            raise TriggerError(Code.TOO_MANY_TRIGGERS, message)
        memory = mine[definition.name] = TriggerMemory(definition, self._counts[source.name])
        self._total += 1
        try:
            await self._run(memory)
        except TriggerError:
            self._drop(memory)
            raise
        log.info("trigger %s: created", _child_name(memory))
        with suppress(TimeoutError):  # then the source has no rows yet: `watching` says so
            async with asyncio.timeout(self._config.within):
                await memory.settled.wait()
        return memory.status(self._outlet)

    async def delete(self, source: Source, name: str) -> TriggerStatus:
        """End a trigger, and what waits to be delivered for it. Returns how it stood."""
        memory = self._existing(source, name)
        status = memory.status(self._outlet, tuple(memory.watch.fired))
        self._drop(memory)
        # To the end, also where the client that asked for it goes away meanwhile
        await asyncio.shield(Dispatcher.current().spawn(self._end(memory)))
        return status

    async def enable(self, source: Source, name: str) -> TriggerStatus:
        """Tell its webhook again, also one that answered 410; run it again where it was given up."""
        memory = self._existing(source, name)
        memory.telling.enabled = True
        log.info("trigger %s: enabled", _child_name(memory))
        memory.updated_at = utc_now()
        self._outlet.enable(memory.definition.url)
        if (KIND, _child_name(memory)) not in self._directory:
            await self._run(memory)
        return memory.status(self._outlet)

    async def disable(self, source: Source, name: str) -> TriggerStatus:
        """Follow the rows on, and tell nobody."""
        memory = self._existing(source, name)
        memory.telling.enabled = False
        log.info("trigger %s: disabled", _child_name(memory))
        memory.updated_at = utc_now()
        return memory.status(self._outlet)

    async def test(self, source: Source, name: str) -> TriggerStatus:
        """Send its webhook an example, marked as a test: a row that is fired, else any row, else one of nulls."""
        memory = self._existing(source, name)
        definition = memory.definition
        row, timestamp = await self._example(memory)
        identity, body = memory.payload.write(EventType.TEST, row, timestamp, utc_now())
        marked = b'{"test":true,' + body.removeprefix(b"{")
        order = (source.name, definition.name, next(self._tests))
        self._outlet.send(WebhookEvent(definition.url, marked, identity, order, memory, ended))
        return memory.status(self._outlet)

    # When the schema file changes

    async def pause(self, source: Source) -> None:
        """Stop the actors of the source's triggers. What has crossed until now goes to the webhooks; the source's actor
        has stopped, so that nothing more does."""
        for memory in list(self._triggers.get(source, {}).values()):
            await self._stop_actor(memory)
            try:
                while True:
                    if not hand_on(memory, self._outlet):
                        break
                    await asyncio.sleep(0)
            except Exception:  # what makes its actor fail, too
                log.exception("trigger %s: %d crossings are lost", _child_name(memory), len(memory.watch.crossings))

    def move(self, source: Source, successor: Source | None) -> list[TriggerMemory]:
        """The source is no more: its triggers go on with its successor, where there is one that they fit. Returns those
        that have to be started (`resume`) or ended."""
        self._past.add(source)
        mine = self._triggers.pop(source, {})
        for name, memory in mine.items():
            try:
                if successor is None:
                    raise TriggerError(Code.UNAVAILABLE, "its source is not in the schema file any more")
                memory.move_to(define_again(memory.definition, successor, self._config.policy))
            except TriggerError as error:
                log.warning("trigger %s ends: %s", _child_name(memory), error)
                memory.watch.ended = True
                self._total -= 1
            else:
                self._triggers.setdefault(memory.definition.source, {})[name] = memory
        return list(mine.values())

    async def resume(self, memories: Iterable[TriggerMemory]) -> None:
        """Start the actors of triggers that have moved, and forget those that have ended."""
        for memory in memories:
            await self._stop_actor(memory)  # that of one that was created since `pause`
            if memory.watch.ended:
                await self._end(memory)
            else:
                await self._run(memory)

    # Within

    def _require_current(self, source: Source) -> None:
        """A request that was prepared before the schema file changed comes too late."""
        if source in self._past:
            message = f"source {source.name} has changed meanwhile; ask again"
            raise TriggerError(Code.UNAVAILABLE, message)

    def _existing(self, source: Source, name: str) -> TriggerMemory:
        self._require_current(source)
        mine = self._triggers.get(source, {})
        if (memory := mine.get(name)) is not None:
            return memory
        there_are = f"its triggers are {some_of(list(mine))}" if mine else "it has none"
        raise TriggerError(Code.TRIGGER_NOT_FOUND, f'{source.name} has no trigger "{name}"; {there_are}')

    def _drop(self, memory: TriggerMemory) -> None:
        definition = memory.definition
        mine = self._triggers.get(definition.source, {})
        if mine.get(definition.name) is memory:
            del mine[definition.name]
            self._total -= 1

    async def _end(self, memory: TriggerMemory) -> None:
        memory.watch.ended = True
        memory.settled.set()
        await self._stop_actor(memory)
        running = self._directory.get(("source", memory.definition.source.name))
        if running is not None:  # else its successor sees that the watch has ended
            tell(running, StopWatch(memory.watch))
        self._outlet.forget(memory)
        log.info("trigger %s: ended", _child_name(memory))

    async def _stop_actor(self, memory: TriggerMemory) -> None:
        with suppress(pykka.ActorDeadError):  # then the service is being stopped, and with it everything
            await self._supervisor.ask(StopChild(KIND, _child_name(memory)), block=False)

    async def _run(self, memory: TriggerMemory) -> None:
        def make(_supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return TriggerActor.start(memory, self._outlet, self._directory)

        try:
            await self._supervisor.ask(StartChild(KIND, _child_name(memory), make, _RESTART), block=False)
        except pykka.ActorDeadError:
            raise TriggerError(Code.UNAVAILABLE, "the service is being stopped") from None

    async def _example(self, memory: TriggerMemory) -> tuple[Row, int]:
        definition = memory.definition
        source = definition.shape
        nulls: Row = tuple("" if column.name in source.primary_key else None for column in source.columns)
        running = self._directory.get(("source", source.name))
        if running is None:
            return nulls, 0
        try:
            key = next(iter(memory.watch.fired), None)
            async with asyncio.timeout(self._config.within):
                row, timestamp = await _reply(running.ask(ShowRow(key, definition.derivation), block=False))
        except (TimeoutError, pykka.ActorDeadError):
            return nulls, 0
        return row or nulls, timestamp or 0


def _child_name(memory: TriggerMemory) -> str:
    return f"{memory.definition.source.name}/{memory.definition.name}"


async def _reply(future: pykka.Future[Any]) -> Any:
    return await future
