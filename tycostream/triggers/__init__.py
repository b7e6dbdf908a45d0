"""Triggers: what they watch for (watches.py), and what their webhooks are told and how it gets there."""

from tycostream.triggers.client import Patience
from tycostream.triggers.delivery import Courier, CourierConfig
from tycostream.triggers.events import Outcome, Result, Statistics, WebhookEvent
from tycostream.triggers.payload import EventType, Payload, event_id
from tycostream.triggers.policy import TargetError, TargetPolicy
from tycostream.triggers.retry import Schedule

__all__ = [
    "Courier",
    "CourierConfig",
    "EventType",
    "Outcome",
    "Patience",
    "Payload",
    "Result",
    "Schedule",
    "Statistics",
    "TargetError",
    "TargetPolicy",
    "WebhookEvent",
    "event_id",
]
