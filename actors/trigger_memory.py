"""What outlives a crash of a trigger's actor: what was wished, which rows are fired, and what has become of that."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tycostream.graphql.encoding import encoder
from tycostream.model import Key
from tycostream.triggers import Payload
from tycostream.triggers.definition import OnCreate, TriggerDefinition
from tycostream.triggers.status import Outlet, TriggerStatus
from tycostream.triggers.telling import Telling
from tycostream.triggers.watches import Crossing, Happening, Watch


def utc_now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


@dataclass(eq=False, slots=True)
class TriggerCounts:
    """Crossings that were handed on, told or not, and of these those that were not told."""

    fired: int = 0
    cleared: int = 0
    suppressed: int = 0


@dataclass(eq=False, slots=True)
class TriggerMemory:
    """One trigger. Whose events are whose, the courier tells by this object, which is the trigger for as long as it is
    there, also where another source takes the place of its own (`move_to`).

    `settled` is set once its source has looked at the rows that were there, or has said that there are none for now.
    `totals` are of all triggers of the source, those that have ended included.
    """

    definition: TriggerDefinition
    totals: TriggerCounts = field(default_factory=TriggerCounts)
    watch: Watch = field(init=False)
    telling: Telling = field(init=False)
    payload: Payload = field(init=False)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    fire_existing: bool = field(init=False)
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(init=False)
    last_fired_at: datetime | None = None
    fired: int = 0
    cleared: int = 0
    suppressed: int = 0

    def __post_init__(self) -> None:
        self.telling = Telling(self.definition.cooldown)
        self.updated_at = self.created_at
        self.fire_existing = self.definition.on_create is OnCreate.FIRE_EXISTING
        self._watch_for(self.definition)

    def _watch_for(self, definition: TriggerDefinition) -> None:
        self.definition = definition
        self.watch = Watch(definition.rule, definition.derivation)
        self.payload = Payload(definition.shape, definition.name, encoder, definition.fields)

    def move_to(self, definition: TriggerDefinition) -> None:
        """Go on with this definition, which is the same but for its source.

        Rows that are fired stay so, or clear, once the rows have been looked at; with another key, where old keys say
        nothing, rows that match count as fired, as when a trigger is created.
        """
        before, old = self.watch, self.definition.source
        self._watch_for(definition)
        if old.primary_key != definition.source.primary_key:
            self.fire_existing = self.fire_existing and not before.looked
        elif before.looked:
            self.watch.carried = frozenset(before.fired)
            self.fire_existing = True
        else:
            self.watch.carried = before.carried

    def count(self, crossing: Crossing, moment: datetime, *, told: bool) -> None:
        """A crossing has been handed on, or kept."""
        fires = crossing.happening is Happening.FIRE
        for counted in (self, self.totals):
            counted.fired += fires
            counted.cleared += not fires
            counted.suppressed += not told
        if fires:
            self.last_fired_at = moment

    def status(self, outlet: Outlet, fired_keys: Collection[Key] | None = None) -> TriggerStatus:
        """How it stands. `fired_keys` are those of this moment where it is about to forget them."""
        keys = self.watch.fired if fired_keys is None else fired_keys
        sent = outlet.statistics(self)
        return TriggerStatus(
            definition=self.definition,
            enabled=self.telling.enabled,
            watching=self.watch.looked,
            endpoint_disabled=outlet.is_disabled(self.definition.url),
            created_at=self.created_at,
            updated_at=self.updated_at,
            last_fired_at=self.last_fired_at,
            fired=self.fired,
            cleared=self.cleared,
            suppressed=self.suppressed,
            sent=sent,
            waiting=sent.waiting + sent.in_flight + len(self.watch.crossings),
            fired_count=len(keys),
            fired_keys=keys,
        )
