"""What waits for one endpoint, in lanes: a lane's events are delivered one after the other, the lanes don't wait for
each other. Nothing here knows of time or network."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable

from tycostream.triggers.events import Statistics, WebhookEvent
from tycostream.triggers.session import EndpointSession

TROUBLE = 3
"""Attempts without any answer, one after the other, that make an endpoint count as failing."""


class Standing(enum.Enum):
    """A lane: its first event may be tried, is being tried, or waits to be tried again."""

    READY = enum.auto()
    BUSY = enum.auto()
    DELAYED = enum.auto()


class Pending:
    """An event that has no outcome yet. `number` rises in the order of arrival, `born` is the loop's time."""

    __slots__ = ("accounts", "attempts", "born", "endpoint", "event", "forgotten", "in_flight", "lane", "number")

    def __init__(self, event: WebhookEvent, number: int, born: float, endpoint: Endpoint, lane: Lane) -> None:
        self.event = event
        self.number = number
        self.born = born
        self.endpoint = endpoint
        self.lane = lane
        self.accounts: tuple[Account, ...] = ()
        self.attempts = 0
        self.in_flight = False
        self.forgotten = False


class Lane:
    """Events with the same order key, the oldest first. `due` is when a delayed one goes on, by the loop's time."""

    __slots__ = ("due", "endpoint", "events", "key", "standing")

    def __init__(self, key: Hashable, endpoint: Endpoint) -> None:
        self.key = key
        self.endpoint = endpoint
        self.events: list[Pending] = []  # a deque takes 760 bytes at least, and lanes are short
        self.standing = Standing.READY
        self.due = 0.0


class Account:
    """Counts of an owner's, an endpoint's or all events, and which of them have no outcome yet, the oldest first."""

    def __init__(self) -> None:
        self.pending: OrderedDict[int, Pending] = OrderedDict()
        self.in_flight = 0
        self.delivered = 0
        self.failed = 0
        self.retried = 0
        self.dropped = 0
        self.last_status: int | None = None
        self.last_error: str | None = None

    @property
    def waiting(self) -> int:
        """Events that are not being tried at this moment."""
        return len(self.pending) - self.in_flight

    def oldest_waiting(self) -> Pending | None:
        """The oldest event that is not being tried; those that are being tried are few."""
        return next((pending for pending in self.pending.values() if not pending.in_flight), None)

    def statistics(self, disabled: int) -> Statistics:
        """The counts of this moment."""
        return Statistics(
            waiting=self.waiting,
            in_flight=self.in_flight,
            delivered=self.delivered,
            failed=self.failed,
            retried=self.retried,
            dropped=self.dropped,
            last_status=self.last_status,
            last_error=self.last_error,
            disabled=disabled,
        )


class Endpoint:
    """Scheme, host and port, with the client and the lanes for it.

    `disabled` are the URLs that answered 410. It is `failing` once it has not answered several times in a row.
    """

    def __init__(self, name: str, session: EndpointSession) -> None:
        self.name = name
        self.session = session
        self.account = Account()
        self.lanes: dict[Hashable, Lane] = {}
        self.ready: OrderedDict[Lane, None] = OrderedDict()
        self.disabled: set[str] = set()
        self.unanswered = 0

    @property
    def failing(self) -> bool:
        return self.unanswered >= TROUBLE

    @property
    def idle(self) -> bool:
        """Nothing would be lost with it but counts and cookies."""
        return not self.account.pending and not self.disabled

    def add(self, event: WebhookEvent, number: int, born: float) -> Pending:
        """Append the event to its lane, which is ready if it was empty."""
        lane = self.lanes.get(event.order_key)
        if lane is None:
            lane = self.lanes[event.order_key] = Lane(event.order_key, self)
            self.ready[lane] = None
        pending = Pending(event, number, born, self, lane)
        lane.events.append(pending)
        return pending

    def take(self) -> Pending:
        """The first event of the lane whose turn it is; the lane is busy from now on."""
        lane, _ = self.ready.popitem(last=False)
        lane.standing = Standing.BUSY
        return lane.events[0]

    def make_ready(self, lane: Lane) -> None:
        """The lane's first event may be tried, after those of the lanes that are ready already."""
        lane.standing = Standing.READY
        self.ready[lane] = None

    def remove(self, pending: Pending) -> None:
        """The event leaves its lane. If it was the first, the next one may be tried."""
        lane = pending.lane
        first = lane.events[0] is pending
        if first:
            del lane.events[0]
        else:
            lane.events.remove(pending)
        if not lane.events:
            lane.standing = Standing.BUSY  # it is gone: neither ready nor waiting for its time
            self.ready.pop(lane, None)
            del self.lanes[lane.key]
        elif first and lane.standing is not Standing.READY:
            self.make_ready(lane)

    def waiting_for(self, url: str) -> list[Pending]:
        """The events that wait for this URL."""
        return [one for one in self.account.pending.values() if not one.in_flight and one.event.url == url]
