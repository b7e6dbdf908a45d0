"""A courier that only remembers what it was handed."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

from tycostream.triggers import Statistics, WebhookEvent


class RecordingOutlet:
    """Nothing is delivered. `forgotten` and `enabled` are what it was asked for."""

    def __init__(self) -> None:
        self.events: list[WebhookEvent] = []
        self.forgotten: list[Hashable] = []
        self.disabled: set[str] = set()

    def send(self, event: WebhookEvent) -> None:
        self.events.append(event)

    def forget(self, owner: Hashable) -> None:
        self.forgotten.append(owner)

    def enable(self, url: str) -> bool:
        known = url in self.disabled
        self.disabled.discard(url)
        return known

    def is_disabled(self, url: str) -> bool:
        return url in self.disabled

    def statistics(self, owner: Hashable) -> Statistics:
        return Statistics(waiting=sum(event.owner is owner for event in self.events))

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(event.body) for event in self.events]

    @property
    def told(self) -> list[tuple[str, Any]]:
        """Each event's type, and the key of its row."""
        return [(body["event_type"], body["data"].get("id")) for body in self.bodies]
