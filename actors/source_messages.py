"""What a source hears and what it tells: its states and messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorRef

from tycostream.filters import Filter, KeyLookup
from tycostream.graphql.errors import UNAVAILABLE
from tycostream.model import Key, Position, Row, Source
from tycostream.status import STATUS, Lag, SourceState
from tycostream.triggers.watches import Watch
from tycostream.views import Addressed, Beginning, Derivation, Subscription

State = SourceState


def place_of(source: Source) -> tuple[str, str]:
    """Kind and name under which the supervisor's directory has the actor of a source."""
    return "status" if source is STATUS else "source", source.name


def interrupted(name: str) -> str:
    """What clients are told of a source whose actor does not run at this moment."""
    return f"source {name} was interrupted by an error; try again, or see in source_status whether it is coming back"


@dataclass(eq=False, slots=True)
class Follower:
    """One who follows from another process, through a relay. `number` is its own, `position` up to where it has
    everything, or its clients that come back (see `Position.known`), `heard` the last failure that it knows of."""

    relay: ActorRef[Any]
    number: int
    position: Position | None
    heard: int


# What it hears


@dataclass(frozen=True, slots=True)
class Attach:
    """Start a subscription. Answered to its connection with Attached, now or when there is a snapshot, or with
    Refused."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Detach:
    """End a subscription."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Ask for the rows that a filter admits; answered when there is a snapshot, for which it waits `within` seconds.

    Where there is none, the answer is a SourceUnavailableError. A `lookup` of the one row that the filter admits spares
    asking every row.
    """

    filter: Filter
    within: float = 10.0
    lookup: KeyLookup | None = None


@dataclass(frozen=True, slots=True)
class StartWatch:
    """Watch the rows for a trigger, or go on doing so for its new actor: `watch.receiver` is told CrossingsWait when
    there are crossings to take. Rows that match already count as fired; `fire_existing` says whether that is told.

    Answered with True once the rows that are there have been looked at, with False where there are none and will be
    none soon: they are looked at when they come.
    """

    watch: Watch
    fire_existing: bool = False


@dataclass(frozen=True, slots=True)
class StopWatch:
    """Watch no more."""

    watch: Watch


@dataclass(frozen=True, slots=True)
class ShowRow:
    """Ask for an example: the row of this key if there is one, else any row; the reply is None where there are none.
    With it comes the timestamp of the rows. With a `derivation` it has its calculated fields."""

    key: Key | None = None
    derivation: Derivation | None = None


@dataclass(frozen=True, slots=True)
class ListViews:
    """Ask for the views and how they are found: `views`, and how many there are `more` than are told."""

    most: int = 500


@dataclass(frozen=True, slots=True)
class ExplainFilter:
    """Ask how the view of a filter is found, and what it has cost; or how it would be, where nobody follows it."""

    filter: Filter
    derivation: Derivation | None = None


@dataclass(frozen=True, slots=True)
class StartRelay:
    """Tell a follower in another process everything that happens to the rows; see `tap.Tap`."""

    follower: Follower


@dataclass(frozen=True, slots=True)
class StopRelay:
    """Tell it nothing more."""

    follower: Follower


@dataclass(frozen=True, slots=True)
class BatchDue:
    """To itself: what waits for other processes is to be sent."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A question has waited for long enough."""

    question: asyncio.Future[list[Row]]


@dataclass(frozen=True, slots=True)
class EventsWait:
    """The driver's run number `run` has reported events, which wait in its intake."""

    run: int


@dataclass(frozen=True, slots=True)
class DriverFailed:
    """The driver's run has ended."""

    run: int
    error: Exception


@dataclass(frozen=True, slots=True)
class StartDriver:
    """Follow the database: on demand, or once more after a failure."""


@dataclass(frozen=True, slots=True)
class LingerOver:
    """The time for which an unused source keeps following its relation has passed."""


# What it tells others


@dataclass(frozen=True, slots=True)
class Attached:
    """To the connection: the subscription's first rows; changes follow."""

    subscription: Subscription
    snapshot: Beginning


@dataclass(frozen=True, slots=True)
class Delivered:
    """To the connection: changes, in order, for each of its subscriptions that they concern."""

    deliveries: list[Addressed]


@dataclass(frozen=True, slots=True)
class CrossingsWait:
    """To a trigger: its watch has crossings for it to take."""


@dataclass(frozen=True, slots=True)
class Refused:
    """To the connection: the subscription can't be served, or no longer; with the code that its client is told."""

    subscription: Subscription
    message: str
    code: str = UNAVAILABLE


@dataclass(frozen=True, slots=True)
class SourceStateChanged:
    """To the supervisor. `reason` is for operators, `told` for clients. `lag` is the source's own, and goes on."""

    name: str
    state: State
    reason: str | None
    since: float
    told: str | None = None
    lag: Lag = field(default_factory=Lag)


class SourceUnavailableError(Exception):
    """The source can't answer; the text says why."""


@dataclass(frozen=True, slots=True)
class WindowsDue:
    """To itself: what subscriptions with a rhythm have waited for may be told."""
