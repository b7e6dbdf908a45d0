"""How a trigger stands, for whoever asks."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tycostream.model import Key
from tycostream.triggers.definition import TriggerDefinition
from tycostream.triggers.events import Statistics, WebhookEvent


class Outlet(Protocol):
    """Where a trigger's events go: the courier (delivery.py)."""

    def send(self, event: WebhookEvent) -> None:
        """Deliver the event; never raises."""

    def forget(self, owner: Hashable) -> None:
        """Drop what waits for this owner."""

    def enable(self, url: str) -> bool:
        """Call again a webhook that answered 410."""

    def is_disabled(self, url: str) -> bool:
        """Whether the webhook answered 410 and was not enabled since."""

    def statistics(self, owner: Hashable) -> Statistics:
        """What has become of this owner's events."""


@dataclass(frozen=True, slots=True)
class TriggerStatus:
    """The counts and moments of a trigger.

    `fired` and `cleared` count crossings, told or not; `suppressed` those that were not told, because the trigger was
    disabled or a row's cooldown had not passed. `sent` says what became of the others. `waiting` are those that have no
    outcome yet, with the crossings that the trigger's actor has not come to. `watching`: its rows are there,
    and are watched. `fired_keys` are the rows that are fired now, in the order in which they came to be.
    """

    definition: TriggerDefinition
    enabled: bool
    watching: bool
    endpoint_disabled: bool
    created_at: datetime
    updated_at: datetime
    last_fired_at: datetime | None
    fired: int
    cleared: int
    suppressed: int
    sent: Statistics
    waiting: int
    fired_count: int
    fired_keys: Collection[Key]
