"""What a database driver reports to the source that it feeds, in the order it happened.

A first connection, a reconnection and the repeated query of a view all speak the same words:
`SnapshotStarted`, any number of `SnapshotRows`, `SnapshotComplete`; then `Changes`. A second snapshot
replaces the first, and the source sends its clients only the difference. A driver that can go on where the source
stands says `Resumed` instead.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NamedTuple

from tycostream.model.source import Key, Row


class _Unchanged(enum.Enum):
    UNCHANGED = "unchanged"


UNCHANGED: Final = _Unchanged.UNCHANGED
"""Stands in a PartialRow for a value that the database did not send because it did not change."""


class Operation(enum.Enum):
    """What happened to a row of a view, as subscribers are told."""

    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class PartialRow:
    """A new row of which some values are UNCHANGED: those are taken from the row that has key `base`.

    PostgreSQL leaves large out-of-line values out of an UPDATE that does not touch them.
    """

    values: tuple[str | _Unchanged | None, ...]
    base: Key


Change = tuple[Key, Row | PartialRow | None]
"""A key and its new row; None where the row is gone.

A change of the key itself is two: the new key's row first (a PartialRow's base is still there), then the old
key with None.
"""


@dataclass(frozen=True, slots=True)
class SnapshotStarted:
    """A new snapshot begins. `timestamp` is the database time that it shows; changes up to and including it are in the
    snapshot, and should they also arrive as `Changes` only their keys count: see `SnapshotComplete`. `relation` names
    the very relation that is read, where the database tells: another one of the same name has another history."""

    timestamp: int
    relation: str | None = None


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """Some of the snapshot's rows."""

    rows: list[Row]


class Unseen(tuple[str | None, ...]):
    """Stands for the old row of a change that came before the first snapshot: whether there was one, and what it held
    besides its key, is not known."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Past:
    """Changes of one timestamp, all or a part of them, that led to the rows of a snapshot: key, row before (or that it
    is Unseen) and after (None: absent), and the changed columns as a bitmask. `since` is the timestamp before them."""

    since: int
    timestamp: int
    deltas: list[tuple[Key, Row | None, Row | None, int]]


@dataclass(frozen=True, slots=True)
class SnapshotComplete:
    """Every row of the snapshot has been reported. `since`: and so has every change after this time, whether before the
    snapshot's own time or later, so that those who were there before can be told what they missed. Those changes are
    reported as they came; or, by another process that remembers them, they are the `past`, the oldest first."""

    since: int | None = None
    past: list[Past] | None = None


class Changes(NamedTuple):
    """The changes of one database transaction (one timestamp) to one source, complete. Timestamps rise.

    May arrive while a snapshot is being read: the source holds those later than the snapshot's timestamp back
    and applies them when it completes. `committed_at` is when the database committed them (seconds since 1970,
    its clock), where it says so; the source's lag is measured against it.
    """

    timestamp: int
    changes: list[Change]
    committed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything up to and including this timestamp has been reported. `closed_at` is the moment that it stands for
    (seconds since 1970, the database's clock), where timestamps are a clock."""

    timestamp: int
    closed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """There is no snapshot: what follows are the changes after the position at which the driver was asked to resume."""


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where a source has everything: a timestamp, in the history of a relation (see `SnapshotStarted`).

    With `known` false it has nothing, but somebody comes back who has been told everything up to there: a driver that
    can reports all changes after that time besides a snapshot (see `SnapshotComplete.since`).
    """

    timestamp: int
    relation: str | None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Waiting:
    """The driver can't go on yet, or goes on in a lesser way: a sentence for the source's state, or None when that
    is over."""

    reason: str | None


@dataclass(frozen=True, slots=True)
class ReadBy:
    """A process of its own reads from the database for this run of the driver."""

    pid: int


Event = SnapshotStarted | SnapshotRows | SnapshotComplete | Resumed | Changes | Progress | Waiting | ReadBy
