"""How sources stand, as clients are told: state, since when, why, and how far behind.

The standings of all sources are the rows of one more source, `source_status`: following it is a subscription like any
other, with the same sharing of what is rendered and the same treatment of slow clients.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from tycostream.model import Column, ColumnType, Relation, Row, Source

SOURCE_STATUS = "source_status"
"""The field of the GraphQL schema, and the source behind it."""

STATUS = Source(
    SOURCE_STATUS,
    Relation(SOURCE_STATUS),
    (
        Column("source", ColumnType.STRING),
        Column("state", ColumnType.STRING),
        Column("since", ColumnType.STRING),
        Column("reason", ColumnType.STRING),
        Column("lag_ms", ColumnType.FLOAT),
    ),
    ("source",),
)
"""The source whose rows are `Standing.row`s."""


class SourceState(enum.Enum):
    """How a source stands to its database."""

    IDLE = "IDLE"  # nobody has asked for it
    CONNECTING = "CONNECTING"  # the first snapshot is on its way
    LIVE = "LIVE"
    STALE = "STALE"  # the rows of an earlier moment are served, the database is out of reach
    FAILED = "FAILED"  # somebody has to change the database or the schema file; tried again now and then


class Lag:
    """How far a source's rows are behind its database. Its source alone writes it, anybody may read it at any time.

    Where the database's timestamps are a clock, it says up to when everything is known, also while nothing changes: the
    lag is the time since then. Elsewhere it is how long the last change took to come. Moments are seconds since 1970,
    the database's `committed_at` by its own clock.
    """

    __slots__ = ("_known_until", "_last")

    def __init__(self) -> None:
        self._known_until: float | None = None
        self._last: float | None = None

    def changed(self, committed_at: float | None) -> None:
        """A change has come that the database committed at this moment, where it says so."""
        if committed_at is not None:
            self._last = max(0.0, time.time() - committed_at)

    def known(self, until: float | None) -> None:
        """All that the database has closed until this moment is known; None where its timestamps are no clock."""
        if until is not None:
            self._known_until = until

    def lost(self) -> None:
        """The database is not followed: how long the last change took says nothing of now."""
        self._last = None

    def forget(self) -> None:
        """There are no rows any more."""
        self._last = self._known_until = None

    @property
    def moments(self) -> tuple[float | None, float | None]:
        """All that is known of it, for a Lag in another process: see `take_over`."""
        return self._known_until, self._last

    def take_over(self, moments: tuple[float | None, float | None]) -> None:
        """Know what another one knows."""
        self._known_until, self._last = moments

    @property
    def ms(self) -> float | None:
        """The lag of this moment in milliseconds; None where nothing is known of it."""
        if self._known_until is not None:
            return round(max(0.0, time.time() - self._known_until) * 1000, 1)
        return None if self._last is None else round(self._last * 1000, 1)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one source stands. `since` in seconds since 1970; `reason` is fit for clients."""

    source: str
    state: SourceState
    since: float
    reason: str | None
    lag_ms: float | None

    @property
    def row(self) -> Row:
        """As a row of STATUS."""
        lag = None if self.lag_ms is None else repr(self.lag_ms)
        return self.source, self.state.value, written(self.since), self.reason, lag


def written(moment: float) -> str:
    """Seconds since 1970 in ISO 8601, in UTC with milliseconds: 2024-01-02T03:04:05.678Z."""
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
