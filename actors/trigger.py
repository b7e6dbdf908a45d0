"""The Trigger actor: one per trigger. It sees to it that its source watches its rows, and hands on what crosses.

Everything that must outlive it is in its memory. A crossing leaves the watch in the same step in which it is handed
to the courier and counted: what a failed actor had not handed on is there for its successor, and nothing else is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pykka import ActorRef

from actors.runtime import LoopActor, handles, tell
from actors.source_messages import CrossingsWait, StartWatch
from actors.trigger_memory import TriggerMemory, utc_now
from tycostream.triggers import EventType, Outcome, WebhookEvent
from tycostream.triggers.status import Outlet
from tycostream.triggers.watches import Crossing, Happening

log = logging.getLogger("tycostream.trigger")

CROSSINGS_AT_A_TIME = 100
"""Crossings that are handed on before others have their turn."""

RETRY_SECONDS = (0.02, 2.0)
"""The first and the longest wait for a source that is not running."""

_EVENT_TYPES = {Happening.FIRE: EventType.FIRE, Happening.CLEAR: EventType.CLEAR}


@dataclass(frozen=True, slots=True)
class Watched:
    """To the trigger: its source knows of its watch. `looked`: it has looked at its rows, too."""

    looked: bool


class TriggerActor(LoopActor):
    """See the module. The source that runs now is the directory's."""

    kind = "trigger"

    def __init__(
        self, memory: TriggerMemory, outlet: Outlet, directory: Mapping[tuple[str, str], ActorRef[Any]]
    ) -> None:
        super().__init__()
        self._memory = memory
        self._outlet = outlet
        self._directory = directory
        self._starting: asyncio.Task[None] | None = None

    # Life

    def on_start(self) -> None:
        self._memory.watch.receiver = self.actor_ref
        self._starting = self.spawn(self._start_watch())
        tell(self.actor_ref, CrossingsWait())  # those that a predecessor did not hand on

    def on_stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()

    def on_failure(self, *_error: object) -> None:
        self.on_stop()

    async def _start_watch(self) -> None:
        """Ask the source until it has heard. What it has heard is in its memory, which goes to each of its successors;
        a message that it had not handled when it failed is lost."""
        definition = self._memory.definition
        question = StartWatch(self._memory.watch, self._memory.fire_existing)
        wait, longest = RETRY_SECONDS
        while True:
            source = self._directory.get(("source", definition.source.name))
            if source is not None:
                try:
                    looked: bool = await source.ask(question, block=False)
                except Exception as error:  # whatever ended the source: its supervisor knows
                    log.debug("source %s did not start a watch: %r", definition.source.name, error)
                else:
                    tell(self.actor_ref, Watched(looked))
                    return
            await asyncio.sleep(wait)
            wait = min(longest, wait * 2)

    @handles(Watched)
    def _on_watched(self, _message: Watched) -> None:
        self._memory.settled.set()

    # Crossings

    @handles(CrossingsWait)
    def _hand_on(self, _message: CrossingsWait) -> None:
        if hand_on(self._memory, self._outlet):
            tell(self.actor_ref, CrossingsWait())

    def details(self) -> dict[str, Any]:
        return described(self._memory, self._outlet)


def hand_on(memory: TriggerMemory, outlet: Outlet) -> bool:
    """Hand some of the crossings that wait to the courier. Returns whether more wait."""
    crossings = memory.watch.crossings
    now = asyncio.get_running_loop().time()
    for _ in range(min(CROSSINGS_AT_A_TIME, len(crossings))):
        _hand(memory, outlet, crossings[0], now)
        crossings.popleft()
    return bool(crossings)


def _hand(memory: TriggerMemory, outlet: Outlet, crossing: Crossing, now: float) -> None:
    moment = utc_now()
    event = _event(memory, crossing, moment)
    # Nothing below fails
    told = memory.telling.decide(crossing, now)
    memory.count(crossing, moment, told=told)
    if told:
        outlet.send(event)


def _event(memory: TriggerMemory, crossing: Crossing, moment: datetime) -> WebhookEvent:
    definition = memory.definition
    event_type = _EVENT_TYPES[crossing.happening]
    identity, body = memory.payload.write(event_type, crossing.row, crossing.timestamp, moment)
    order = (definition.source.name, definition.name, crossing.key)
    return WebhookEvent(definition.url, body, identity, order, memory, ended)


def ended(_event: WebhookEvent, _outcome: Outcome) -> None:
    """The courier counts, by owner, what became of events; nobody else waits for it."""


def described(memory: TriggerMemory, outlet: Outlet) -> dict[str, Any]:
    """A trigger as the debug page shows it. A webhook's path may hold a secret: that is for GraphQL to show."""
    status = memory.status(outlet)
    definition, sent = status.definition, status.sent
    return {
        "source": definition.source.name,
        "trigger": definition.name,
        "fire": definition.fire,
        "clear": definition.clear,
        "enabled": status.enabled,
        "watching": status.watching,
        "endpoint_disabled": status.endpoint_disabled,
        "created_at": status.created_at.isoformat(),
        "last_fired_at": None if status.last_fired_at is None else status.last_fired_at.isoformat(),
        "rows_fired": status.fired_count,
        "fired": status.fired,
        "cleared": status.cleared,
        "suppressed": status.suppressed,
        "cooling": memory.telling.remembered,
        "waiting": status.waiting,
        "delivered": sent.delivered,
        "failed": sent.failed,
        "dropped": sent.dropped,
        "retried": sent.retried,
        "last_status": sent.last_status,
        "last_error": sent.last_error,
    }
