"""What one connection has still to send while its client is slower than its sources.

Changes wait in the order they came, as references to rows that the cache holds too. Once more wait than `hold_rows`,
they are merged by key: a client that lags gives up seeing every step, and the grouping by transaction, but still ends
in the right state. When even merged changes are more than `max_rows`, the connection can't be kept. Subscriptions that
do not want that have their changes kept apart (`newest.py`): DROP_OLDEST the newest `drop_rows` of them, and DISCONNECT
at most `hold_rows`, beyond which the connection can't be kept either.

A new subscription's snapshot is read as the socket drains; changes that arrive meanwhile wait behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from tycostream.model import Key, Operation, Row
from tycostream.views.applying import ViewChange
from tycostream.views.batches import Batches, GatheringReader
from tycostream.views.cursor import merged as merged_timestamps
from tycostream.views.delivery import Subscription, render_all
from tycostream.views.newest import Newest
from tycostream.views.pace import SlowPolicy
from tycostream.views.snapshot import Beginning, SnapshotReader

CHUNK_ROWS = 500
"""Rows of a snapshot or of merged changes that are rendered at a time."""

CHUNK_BYTES = 256 * 1024
"""About how much is handed to the socket at a time."""


CHANGE_BYTES, VALUE_BYTES = 250, 57
"""What a change with its row takes in CPython, and a value of the row beyond its characters: a string's header, and
its place in the tuple."""


class OutboxOverflowError(Exception):
    """The client is so far behind that what waits for it can't be kept; the text says so, to the client too."""


@dataclass(slots=True)
class _Waiting:
    subscription: Subscription
    changes: list[ViewChange]
    sent: int = 0


@dataclass(slots=True)
class _Sending:
    subscription: Subscription
    rest: Iterator[ViewChange]
    left: int


class Merged:
    """Changes of one subscription, at most one a key."""

    def __init__(self) -> None:
        self.changes: dict[Key, ViewChange] = {}
        self.timestamp = 0
        self._first: int | None = None

    def add(self, changes: list[ViewChange]) -> None:
        """Merge later changes in."""
        merged = self.changes
        for change in changes:
            key = change[1]
            earlier = merged.get(key)
            result = change if earlier is None else merge(earlier, change)
            if result is None:
                del merged[key]
            else:
                merged[key] = result
        if changes:
            self.timestamp = changes[-1][4]
            if self._first is None:
                self._first = changes[0][4]

    def settled(self) -> Iterator[ViewChange]:
        """The merged changes, all with the newest timestamp: together they lead to the state at that time."""
        newest = self.timestamp
        within, last = merged_timestamps(newest if self._first is None else self._first, newest)
        left = len(self.changes)
        for operation, key, row, mask, _timestamp in self.changes.values():
            left -= 1
            yield operation, key, row, mask, within if left else last


def merge(earlier: ViewChange, later: ViewChange) -> ViewChange | None:
    """One change that does what two of the same key do in a row; None where they cancel out."""
    was, key, _row, was_mask, _ = earlier
    now, _key, row, mask, timestamp = later
    if was is Operation.INSERT:
        return None if now is Operation.DELETE else (Operation.INSERT, key, row, 0, timestamp)
    if was is Operation.UPDATE and now is Operation.UPDATE:
        return (Operation.UPDATE, key, row, was_mask | mask, timestamp)
    if was is Operation.DELETE and now is Operation.INSERT:
        return (Operation.UPDATE, key, row, all_columns(row), timestamp)
    return later


def all_columns(row: Row) -> int:
    """The bitmask of every column of a row."""
    return (1 << len(row)) - 1


def estimate(row: Row, before: int) -> int:
    """A moving average of what a waiting change takes, with one more of them, whose row this is."""
    size = CHANGE_BYTES + sum([VALUE_BYTES + len(value) for value in row if value is not None])
    return (before * 7 + size) // 8 if before else size


class Outbox:
    """See the module. `rows` counts the changes that wait, rows of snapshots not included (the cache holds those),
    `recent_rows` those that are kept apart, and `dropped` those for which there was no room."""

    def __init__(self, *, hold_rows: int, max_rows: int, drop_rows: int = 1000) -> None:
        self._hold_rows = hold_rows
        self._max_rows = max_rows
        self._drop_rows = drop_rows
        self.rows = 0
        self.recent_rows = 0
        self.dropped = 0
        self._row_bytes = 0
        self._queue: deque[_Waiting] = deque()
        self._merged: dict[Subscription, Merged] = {}
        self._sending: _Sending | None = None
        self._snapshots: dict[Subscription, Beginning] = {}
        self._held: dict[Subscription, list[ViewChange] | Merged] = {}
        self._recent: dict[Subscription, Newest] = {}

    @property
    def empty(self) -> bool:
        """Whether a new change may be sent at once."""
        return not (self._queue or self._merged or self._snapshots or self._recent)

    @property
    def merging(self) -> bool:
        """Whether the client is so slow that its changes are merged."""
        return bool(self._merged)

    @property
    def size(self) -> int:
        """About how many bytes of memory what waits takes: as much as if nobody else held the same rows."""
        return (self.rows + self.recent_rows) * self._row_bytes

    def start(self, subscription: Subscription, snapshot: Beginning) -> None:
        """Send a snapshot; the subscription's changes wait behind it."""
        batches = _batches(subscription)
        self._snapshots[subscription] = GatheringReader(snapshot, batches.rows) if batches else snapshot
        self._held[subscription] = []

    def put(self, subscription: Subscription, changes: list[ViewChange]) -> None:
        """Changes that can't be sent at once. Raises OutboxOverflowError."""
        self._row_bytes = estimate(changes[-1][2], self._row_bytes)
        if subscription.slow is not SlowPolicy.CONFLATE:
            self._put_apart(subscription, changes)
            return
        place = self._held.get(subscription, self._merged.get(subscription))
        if isinstance(place, Merged):
            before = len(place.changes)
            place.add(changes)
            self.rows += len(place.changes) - before
        else:
            self.rows += len(changes)
            if place is None:
                self._queue.append(_Waiting(subscription, changes))
            else:
                place.extend(changes)
        if self.rows > self._hold_rows:
            self._merge_all()

    def _put_apart(self, subscription: Subscription, changes: list[ViewChange]) -> None:
        strict = subscription.slow is SlowPolicy.DISCONNECT
        recent = self._recent.get(subscription)
        if recent is None:
            recent = self._recent[subscription] = Newest(self._hold_rows if strict else self._drop_rows)
        before, dropped = recent.rows, recent.dropped
        recent.add(changes)
        self.recent_rows += recent.rows - before
        if strict and recent.dropped:
            raise OutboxOverflowError(f"more than {self._hold_rows} changes wait that are not to be merged")
        self.dropped += recent.dropped - dropped

    def drop(self, subscription: Subscription) -> None:
        """The subscription has ended: nothing more for it."""
        self._snapshots.pop(subscription, None)
        self._held.pop(subscription, None)
        self._merged.pop(subscription, None)
        if (recent := self._recent.pop(subscription, None)) is not None:
            self.recent_rows -= recent.rows
        if self._sending is not None and self._sending.subscription is subscription:
            self._sending = None
        if any(waiting.subscription is subscription for waiting in self._queue):
            self._queue = deque(waiting for waiting in self._queue if waiting.subscription is not subscription)
        self._count()

    def take(self) -> bytes:
        """The next messages to send, some CHUNK_BYTES of them. May be empty though more follows: where a piece of a
        snapshot holds no row that the filter admits."""
        parts: list[bytes] = []
        size = 0
        while self._queue and size < CHUNK_BYTES:
            parts.append(self._take_queued())
            size += len(parts[-1])
        if not self._queue:
            parts.append(self._take_merged())
        parts.append(self._take_recent())
        parts.append(self._take_snapshot())
        return b"".join(filter(None, parts))  # without a copy, where there is one of them

    def _take_queued(self) -> bytes:
        waiting = self._queue[0]
        start = waiting.sent
        batches = _batches(waiting.subscription)
        end, more = batches.cut(waiting.changes, start) if batches else (start + CHUNK_ROWS, False)
        changes = waiting.changes[start:end]
        waiting.sent = start + len(changes)
        if waiting.sent >= len(waiting.changes):
            self._queue.popleft()
        self.rows -= len(changes)
        return _wrap(waiting.subscription, changes, more=more)

    def _take_merged(self) -> bytes:
        if self._sending is None and not self._next_merged():
            return b""
        sending = self._sending
        assert sending is not None
        batches = _batches(sending.subscription)
        changes = list(islice(sending.rest, batches.rows if batches else CHUNK_ROWS))
        sending.left -= len(changes)
        self.rows -= len(changes)
        if sending.left <= 0:
            self._sending = None
            if not self._merged[sending.subscription].changes:
                del self._merged[sending.subscription]
        return _wrap(sending.subscription, changes, more=sending.left > 0)

    def _next_merged(self) -> bool:
        while self._merged:
            subscription, merged = next(iter(self._merged.items()))
            del self._merged[subscription]
            if merged.changes:
                # What comes while this is being sent is merged behind it
                self._merged[subscription] = Merged()
                self._sending = _Sending(subscription, merged.settled(), len(merged.changes))
                return True
        return False

    def _take_recent(self) -> bytes:
        subscription = next((one for one in self._recent if one not in self._snapshots), None)
        if subscription is None:
            return b""
        recent = self._recent.pop(subscription)
        batches = _batches(subscription)
        changes, dropped = recent.take(batches.rows, whole=True) if batches else recent.take(CHUNK_ROWS)
        self.recent_rows -= len(changes)
        if recent.rows:
            self._recent[subscription] = recent  # at the end: the others have their turn
        return _wrap(subscription, changes, more=recent.begun, dropped=dropped)

    def _take_snapshot(self) -> bytes:
        if not self._snapshots:
            return b""
        subscription, snapshot = next(iter(self._snapshots.items()))
        frames = _read(subscription, snapshot)
        del self._snapshots[subscription]
        if not snapshot.done:
            self._snapshots[subscription] = snapshot  # at the end: the others have their turn
            return frames
        held = self._held.pop(subscription)
        if isinstance(held, Merged):
            self._merged[subscription] = held
        elif held:
            self._queue.append(_Waiting(subscription, held))
        return frames

    def _merge_all(self) -> None:
        for waiting in self._queue:
            self._merged.setdefault(waiting.subscription, Merged()).add(waiting.changes[waiting.sent :])
        self._queue.clear()
        for subscription, held in self._held.items():
            if not isinstance(held, Merged):
                self._held[subscription] = merged = Merged()
                merged.add(held)
        self._count()
        if self.rows > self._max_rows:
            raise OutboxOverflowError(f"{self.rows} merged changes wait, more than the {self._max_rows} that are kept")

    def _count(self) -> None:
        self.rows = (
            sum(len(waiting.changes) - waiting.sent for waiting in self._queue)
            + sum(len(merged.changes) for merged in self._merged.values())
            + sum(len(held.changes if isinstance(held, Merged) else held) for held in self._held.values())
            + (self._sending.left if self._sending is not None else 0)
        )


def _read(subscription: Subscription, snapshot: Beginning) -> bytes:
    """The next messages of a snapshot."""
    if isinstance(snapshot, SnapshotReader) and subscription.news is subscription.explanation is None:
        return snapshot.read_rendered(CHUNK_ROWS, subscription.selection).wrapped(subscription.envelope)
    changes = snapshot.read(CHUNK_ROWS)
    return _wrap(subscription, changes, more=not snapshot.done, last=snapshot.done)


def _batches(subscription: Subscription) -> Batches | None:
    selection = subscription.selection
    return selection if isinstance(selection, Batches) else None


def _wrap(
    subscription: Subscription,
    changes: list[ViewChange],
    *,
    more: bool = False,
    last: bool = False,
    dropped: int = 0,
) -> bytes:
    """Changes as messages; of a batch they are one. `more`: their last timestamp goes on. `last`: a snapshot ends,
    which the reader of batches is told even where no row is left. `dropped`: so many changes are missing before."""
    batches = _batches(subscription)
    if not changes and not (last and batches):
        return b""
    news = subscription.take_news()
    if batches is None:
        payloads = render_all(subscription.selection, changes, dropped=dropped, news=news)
    else:
        payloads = [batches.message(changes, more=more, dropped=dropped, news=news)]
    return subscription.envelope.wrap(payloads)


class NothingWaits:
    """The outbox of a connection for which nothing waits: most of them, most of the time. One for all."""

    rows = recent_rows = size = 0
    merging = False
    empty = True

    def drop(self, subscription: Subscription) -> None:
        """See `Outbox`."""

    def take(self) -> bytes:
        """See `Outbox`."""
        return b""


NOTHING_WAITS = NothingWaits()
