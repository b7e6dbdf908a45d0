"""What delivery is handed, and what it says of it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from dataclasses import dataclass


class Result(enum.Enum):
    """How an event ended."""

    DELIVERED = "delivered"
    """The endpoint answered 2xx."""
    FAILED = "failed"
    """It was refused for good, or tried often or long enough."""
    DROPPED = "dropped"
    """Too many events waited, or the service stopped: it may never have been tried."""
    DISABLED = "disabled"
    """The webhook has answered 410 Gone, to this event or an earlier one."""
    FORGOTTEN = "forgotten"
    """Its owner was deleted before it was delivered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an event.

    `reason` is for people and never holds a URL. `status` is the last answer's. `location` is where a redirect, which
    is not followed, pointed: without its query, which may hold secrets.
    """

    result: Result
    reason: str
    attempts: int
    status: int | None = None
    location: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class WebhookEvent:
    """Something to be posted.

    `url` was checked by `TargetPolicy.check_url`; `body` is JSON. Events with an equal `order_key` that go to the same
    endpoint are delivered strictly in the order they were sent. `owner` is whom they are counted for and forgotten
    with. `outcome` is called on the loop exactly once, never from within `Courier.send`.
    """

    url: str
    body: bytes
    event_id: str
    order_key: Hashable
    owner: Hashable
    outcome: Callable[[WebhookEvent, Outcome], None]


@dataclass(frozen=True, slots=True)
class Statistics:
    """What has become of an owner's or an endpoint's events.

    `waiting` and `in_flight` are of this moment, the others count since the start. `last_status` and `last_error` are
    those of the latest attempt; `last_error` is None after a success. `dropped` counts whatever was neither delivered
    nor failed: too many waited, the webhook was disabled, the owner forgotten. `disabled` is how many webhooks have
    answered 410 (their URLs may be secrets).
    """

    waiting: int = 0
    in_flight: int = 0
    delivered: int = 0
    failed: int = 0
    retried: int = 0
    dropped: int = 0
    last_status: int | None = None
    last_error: str | None = None
    disabled: int = 0
