"""Where a source's rows and changes leave it for other processes: each batch is written once, for all who follow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from actors.runtime import tell
from actors.source_memory import SourceMemory
from actors.source_messages import Follower
from tycostream.databases.driver import DatabaseError
from tycostream.model import Change, Operation, Past, Position, Row, Source
from tycostream.relay.batches import Piece, encode_past, encode_pieces, encode_rows
from tycostream.relay.channel import Kind
from tycostream.views import Applied
from tycostream.views.cursor import Cursor

BATCH_ROWS = 32
"""So many changes are sent at once, fewer when FLUSH_SECONDS have passed since the last batch."""

FLUSH_SECONDS = 0.002

FRAME_ROWS = 2000
"""Rows in a frame of what a follower begins with."""

STALE = "its rows are those of an earlier moment"

_streams = count(1)
_failures = count(1)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there are no more changes for now; see DatabaseError. Failures of a process are numbered."""

    number: int
    text: str
    hint: str | None = None
    permanent: bool = False
    private: bool = False


# What it tells a relay


@dataclass(frozen=True, slots=True)
class Joined:
    """The follower is told every batch of the stream, from number `next` on; before them the frames. `resumed`: these
    are changes since its position; otherwise rows as of the timestamp, in the history of the relation, and all changes
    `since` then that led to them."""

    follower: Follower
    stream: int
    next: int
    timestamp: int
    relation: str
    since: int
    resumed: bool
    frames: Iterator[tuple[Kind, bytes]]


@dataclass(frozen=True, slots=True)
class Relayed:
    """A batch of a stream, for whoever follows it."""

    stream: int
    batch: bytes


@dataclass(frozen=True, slots=True)
class Noted:
    """See `model.Waiting`."""

    follower: Follower
    reason: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The follower is told nothing more; it may ask again."""

    follower: Follower
    failure: Failure


class Tap:
    """See the module. It belongs to one actor of a source, and ends with it."""

    def __init__(self, memory: SourceMemory) -> None:
        self._memory = memory
        self._source = memory.cache.source
        self._stream = next(_streams)
        self._next = 0
        self.followers: dict[Follower, None] = {}
        self._waiting: dict[Follower, None] = {}
        """Those for whom there are no rows yet, or who have everything and wait until it goes on."""
        self.committed_at: float | None = None
        """When the database committed what is noted."""
        self.closed_at: float | None = None
        """For which moment the timestamp stands."""
        self._noted: list[tuple[int, float | None, list[Change]]] = []
        self._pieces: list[Piece] = []
        self._rows = 0
        self._told = 0
        self._sent_at = 0.0
        self._history = ""
        self._note: str | None = None
        self._failure: Failure | None = None

    def __len__(self) -> int:
        return len(self.followers) + len(self._waiting)

    # Who follows

    def follow(self, follower: Follower, *, live: bool) -> None:
        """Tell it everything from now on, or once there is something to tell. What was noted has been flushed.

        Whoever has rows that are not kept up to date any more is told why, once for every reason.
        """
        failure = self._failure
        if self._note is not None:
            tell(follower.relay, Noted(follower, self._note))
        if self._memory.cache.timestamp is None or (not live and self._has_everything(follower)):
            if failure is not None and failure.number > follower.heard:
                tell(follower.relay, Ended(follower, failure))
            else:
                self._waiting[follower] = None
            return
        self._admit(follower)
        if not live:
            self._end(follower, failure or Failure(next(_failures), STALE))

    def unfollow(self, follower: Follower) -> None:
        """Tell it nothing more."""
        self.followers.pop(follower, None)
        self._waiting.pop(follower, None)

    def live(self) -> None:
        """The rows are kept up to date from now on, and nothing is noted that was not flushed."""
        self._failure = None
        waiting, self._waiting = self._waiting, {}
        for follower in waiting:
            self._admit(follower)

    def returning(self) -> Iterator[Position]:
        """Up to where clients of other processes have everything, which wait there for rows."""
        for follower in self._waiting:
            if follower.position is not None and not follower.position.known:
                yield follower.position

    def note(self, reason: str | None) -> None:
        """See `model.Waiting`."""
        self._note = reason
        for follower in (*self.followers, *self._waiting):
            tell(follower.relay, Noted(follower, reason))

    def failed(self, error: Exception) -> None:
        """The rows are not kept up to date any more; there may be none at all. Everybody is told, and may ask again."""
        text = str(error) if isinstance(error, DatabaseError) else f"unexpected {type(error).__name__}: {error}"
        hint, permanent, private = None, False, not isinstance(error, DatabaseError)
        if isinstance(error, DatabaseError):
            hint, permanent, private = error.hint, error.permanent, error.private
        self._note = None
        self._failure = Failure(next(_failures), text, hint, permanent, private)
        self._end_all(self._failure)

    def end(self, reason: str) -> None:
        """Nothing more comes of this tap."""
        self._end_all(Failure(next(_failures), reason))

    def _end_all(self, failure: Failure) -> None:
        self._noted.clear()
        self._pieces.clear()
        self._rows = 0
        for follower in (*self.followers, *self._waiting):
            self._end(follower, failure)

    def _end(self, follower: Follower, failure: Failure) -> None:
        self.unfollow(follower)
        tell(follower.relay, Ended(follower, failure))

    # What a follower begins with

    def _has_everything(self, follower: Follower) -> bool:
        return self._missed(follower) == []

    def _missed(self, follower: Follower) -> list[Past] | None:
        """What has changed since the follower's position; None where nobody knows."""
        now, position, recent = self._memory.cache.timestamp, follower.position, self._memory.recent
        if now is None or position is None or not position.known or position.relation is None or not recent.kept:
            return None
        if position.timestamp == now and position.relation == recent.history:
            return []
        place = Cursor(self._source.name, position.relation, position.timestamp, position.timestamp)
        missed = recent.after(place, now)
        return None if missed is None else [Past(one.since, one.timestamp, one.deltas) for one in missed]

    def _admit(self, follower: Follower) -> None:
        memory = self._memory
        now = memory.cache.timestamp
        assert now is not None
        memory.recent.start(memory.relation, now)
        self.send()
        if not self.followers:
            self._history, self._told = memory.recent.history, now
        missed = self._missed(follower)
        if missed is None:
            frames = _snapshot(self._source, memory.cache.frozen(), memory.recent.past())
        else:
            frames = _changes(self._source, missed, now)
        history = memory.recent.history
        since = memory.recent.since
        told = Joined(follower, self._stream, self._next, now, history, since, missed is not None, frames)
        if tell(follower.relay, told):
            self.followers[follower] = None

    # What they are told

    def add(self, applied: Applied) -> None:
        """Changes that have been applied; more of the last timestamp may follow."""
        if not self.followers:
            return
        changes: list[Change] = []
        now = None
        for operation, key, row, _mask, timestamp in applied.changes:
            if timestamp != now:
                changes, now = [], timestamp
                self._noted.append((timestamp, self.committed_at, changes))
            changes.append((key, None if operation is Operation.DELETE else row))

    def flush(self, now: int) -> float | None:
        """What was noted has happened, and everything is told up to `now`: sends it, or returns after how many seconds
        `send` is to be called."""
        if self._memory.recent.history != self._history:
            self._end_all(Failure(next(_failures), "its timestamps have another meaning now"))
            return None
        pieces = self._pieces
        for timestamp, at, changes in self._noted:
            if pieces and pieces[-1].timestamp == timestamp and pieces[-1].whole:
                pieces[-1] = Piece(timestamp, pieces[-1].changes, False, pieces[-1].at)
            pieces.append(Piece(timestamp, changes, timestamp <= now, at))
            self._rows += len(changes)
        self._noted.clear()
        if now > self._told:
            if not pieces or pieces[-1].timestamp < now:
                pieces.append(Piece(now, [], True, self.closed_at))
            elif not pieces[-1].whole:
                pieces.append(Piece(now, [], True, pieces[-1].at))
            self._told = now
        if not pieces:
            return None
        wait = self._sent_at + FLUSH_SECONDS - time.monotonic()
        if self._rows >= BATCH_ROWS or wait <= 0:
            self.send()
            return None
        return wait

    def send(self) -> None:
        """Send what has been flushed."""
        if not self._pieces:
            return
        batch = encode_pieces(self._source, self._next, self._pieces)
        self._next += 1
        self._pieces.clear()
        self._rows = 0
        self._sent_at = time.monotonic()
        told = Relayed(self._stream, batch)
        for follower in list(self.followers):
            if not tell(follower.relay, told):
                self.unfollow(follower)

    def details(self) -> dict[str, Any]:
        """For the debug page."""
        return {"following": len(self.followers), "waiting": len(self._waiting), "batches": self._next} if self else {}


def _snapshot(source: Source, rows: tuple[Row, ...], past: list[Past]) -> Iterator[tuple[Kind, bytes]]:
    for start in range(0, len(rows), FRAME_ROWS):
        yield Kind.ROWS, encode_rows(rows[start : start + FRAME_ROWS])
    for some in _parted(past):
        yield Kind.PAST, encode_past(source, some)


def _changes(source: Source, missed: list[Past], now: int) -> Iterator[tuple[Kind, bytes]]:
    """The changes as they would have been told; the last of them lead to `now`."""
    last = {one.timestamp: one for one in missed}
    for some in _parted(missed):
        pieces = [
            Piece(one.timestamp, [(key, new) for key, _old, new, _mask in one.deltas], last[one.timestamp] is one)
            for one in some
        ]
        yield Kind.MISSED, encode_pieces(source, 0, pieces)
    if not missed or missed[-1].timestamp < now:
        yield Kind.MISSED, encode_pieces(source, 0, [Piece(now, [])])


def _parted(past: list[Past]) -> Iterator[list[Past]]:
    """In parts of about FRAME_ROWS changes."""
    some: list[Past] = []
    rows = 0
    for one in past:
        some.append(one)
        rows += len(one.deltas)
        if rows >= FRAME_ROWS:
            yield some
            some, rows = [], 0
    if some:
        yield some
