"""What outlives a crash of a trigger's actor: what was wished, which rows are fired, and what has become of that."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tycostream.graphql.encoding import encoder
from tycostream.model import Key
from tycostream.triggers import Payload
from tycostream.triggers.definition import TriggerDefinition
from tycostream.triggers.status import Outlet, TriggerStatus
from tycostream.triggers.telling import Telling
from tycostream.triggers.watches import Crossing, Happening, Watch


def utc_now() -> datetime:
    """This moment, with its time zone."""
    return datetime.now(UTC)


@dataclass(eq=False, slots=True)
class TriggerMemory:
    """One trigger. Whose events are whose, the courier tells by this object.

    `settled` is set once its source has looked at the rows that were there, or has said that there are none for now.
    """

    definition: TriggerDefinition
    watch: Watch = field(init=False)
    telling: Telling = field(init=False)
    payload: Payload = field(init=False)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(init=False)
    last_fired_at: datetime | None = None
    fired: int = 0
    cleared: int = 0
    suppressed: int = 0

    def __post_init__(self) -> None:
        definition = self.definition
        self.watch = Watch(definition.rule, definition.derivation)
        self.telling = Telling(definition.cooldown)
        self.payload = Payload(definition.shape, definition.name, encoder, definition.fields)
        self.updated_at = self.created_at

    def count(self, crossing: Crossing, moment: datetime, *, told: bool) -> None:
        """A crossing has been handed on, or kept."""
        if crossing.happening is Happening.FIRE:
            self.fired += 1
            self.last_fired_at = moment
        else:
            self.cleared += 1
        self.suppressed += not told

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
