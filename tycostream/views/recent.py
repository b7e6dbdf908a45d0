"""A source's recent changes, from which subscribers that come back are told what they missed.

It is kept from the first subscription that shows cursors until the source rests, within limits; sources whose clients
have no cursors do without. The rows are the cache's own, and the earlier versions that the changes replaced.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tycostream.model import Key, Past, Row, Source, Unseen
from tycostream.views.applying import Applied, Delta, ViewChange
from tycostream.views.cursor import Cursor, Moment

_DELTA_BYTES = 120
_ROW_BYTES = 40
_VALUE_BYTES = 57
"""About what CPython 3.12 takes for a delta, and for a row and each of its values beyond the text's characters."""


@dataclass(frozen=True, slots=True)
class RecentLimits:
    """How much is kept, by changes, by about the bytes of the rows that they replaced, and by age in seconds."""

    rows: int = 100_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 300.0


class Batch(NamedTuple):
    """Changes of one timestamp, all or a piece of them; `since` is the source's timestamp before it. Others may have
    lain between, of which these are the sum. `size` in bytes, `at` by the monotonic clock."""

    since: int
    timestamp: int
    deltas: list[Delta]
    size: int
    at: float


class RecentChanges:
    """See the module. `now` is always the timestamp that the source's rows show.

    Changes are noted as they are applied, and settled once everybody has been told. Cursors are only good with the log
    in which their messages were stamped: `history`. Whatever breaks the order of timestamps begins another one.
    """

    def __init__(
        self, source: Source, limits: RecentLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.history = ""
        self.kept = False
        self._source = source
        self._limits = limits or RecentLimits()
        self._clock = clock
        self._relation: str | None = None
        self._batches: deque[Batch] = deque()
        self._noted: list[Batch] = []
        self._since: dict[int, int] = {}
        self._moments: dict[tuple[int, bool], Moment] = {}
        self._floor = 0
        """Every later change is here."""
        self._settled = 0
        """Up to here somebody may have a cursor that says so."""
        self._broken = False
        """The order of timestamps was broken since they were last settled."""
        self._rows = 0
        self._bytes = 0

    def start(self, relation: str | None, now: int) -> None:
        """Keep changes from now on, unless they are kept already. Nothing may be noted that is not settled.

        Timestamps of a relation whose identity the database tells mean the same to everybody, so that cursors outlive
        this log; without it they are good for this log alone.
        """
        if not self.kept:
            self.kept = True
            self._relation = relation
            self.history = relation if relation is not None else secrets.token_urlsafe(6)
            self._begin(now)

    def recall(self, deltas: list[Delta], timestamp: int) -> None:
        """All changes of a timestamp from before anybody was told of anything here, in their order."""
        self.note(deltas, timestamp, timestamp - 1)  # nothing lay between: it is the change of this timestamp alone
        self.settle(timestamp)

    def unseen(self, key: Key, new: Row | None) -> Delta:
        """A change of which the key alone is known, and what became of it later."""
        return key, Unseen(self._source.row_of(key)), new, 0

    def stop(self) -> None:
        """Forget everything, and keep nothing."""
        self.kept = False
        self._clear()

    def moved(self, relation: str | None, now: int) -> None:
        """The rows are those of this relation from now on: another one has another history."""
        if self.kept and relation != self._relation:
            self.stop()
            self.start(relation, now)

    def note_all(self, applied: Applied, since: int | None) -> None:
        """As `note`, of all timestamps; `since` is the one before them, None where there was none."""
        for deltas, timestamp, before in applied.by_timestamp(since):
            self.note(deltas, timestamp, before)

    def note(self, deltas: list[Delta], timestamp: int, since: int) -> None:
        """Changes that have been applied; see `Batch`."""
        if not deltas:
            return
        if timestamp <= self._settled or (self._noted and timestamp < self._noted[-1].timestamp):
            self._break()
        if self._broken:
            return
        self._since.setdefault(timestamp, since)
        self._noted.append(Batch(since, timestamp, deltas, self._size(deltas), self._clock()))

    def stamp(self, changes: list[ViewChange], now: int) -> list[ViewChange]:
        """The noted changes of a view, with their place: the last of each timestamp completes it, where the rows show
        it wholly."""
        stamped: list[ViewChange] = []
        following: int | None = None
        for operation, key, row, mask, timestamp in reversed(changes):
            completes = timestamp != following and timestamp <= now
            following = timestamp
            stamped.append((operation, key, row, mask, self._moment(timestamp, completes)))
        stamped.reverse()
        return stamped

    def settle(self, now: int) -> None:
        """Everybody has been told of what was noted."""
        if now < self._settled:
            self._break()
        if self._broken:
            self._begin(now)
            return
        for batch in self._noted:
            self._batches.append(batch)
            self._rows += len(batch.deltas)
            self._bytes += batch.size
        self._settled = now
        if self._noted:
            self._noted = []
            self._since.clear()
            self._moments.clear()
        self._trim()

    def take_back(self, now: int | None) -> None:
        """What was noted has not happened."""
        if now is None:
            self.stop()
        elif self._broken or (self._batches and self._batches[-1].timestamp > now):
            # Some were told of a piece of a transaction that the rows are not said to show
            self._break()
            self._begin(now)
        else:
            self._noted.clear()
            self._since.clear()
            self._moments.clear()

    def after(self, cursor: Cursor, now: int) -> list[Batch] | None:
        """All that came after what the cursor's holder has, the oldest first. None where that is not known."""
        known = self.kept and not self._broken and cursor.history == self.history
        if not known or cursor.after is None or not self._floor <= cursor.after <= cursor.upto <= now:
            return None
        found: list[Batch] = []
        for batch in reversed(self._batches):
            if batch.timestamp <= cursor.after:
                break
            if batch.since < cursor.after:
                return None  # it is the sum of changes of which the holder has some
            found.append(batch)
        found.reverse()
        return found

    @property
    def since(self) -> int:
        """All later changes are remembered."""
        return self._floor

    def past(self) -> list[Past]:
        """All that is remembered, the oldest first."""
        return [Past(batch.since, batch.timestamp, batch.deltas) for batch in self._batches]

    def adopt(self, past: list[Past]) -> None:
        """Remember what another log of the same history does. This one has just been started, from where that one
        begins; what comes next is `settle`."""
        for one in past:
            size = self._size(one.deltas)
            self._batches.append(Batch(one.since, one.timestamp, one.deltas, size, self._clock()))
            self._rows += len(one.deltas)
            self._bytes += size

    def details(self) -> dict[str, Any]:
        """For the debug page."""
        return {"rows": self._rows, "bytes": self._bytes, "after": str(self._floor)} if self.kept else {}

    def _moment(self, timestamp: int, completes: bool) -> Moment:
        moment = self._moments.get((timestamp, completes))
        if moment is None:
            before = None if self._broken else self._since.get(timestamp)
            after = timestamp if completes and before is not None else before
            moment = Moment(timestamp, self._source.name, self.history, before, after)
            self._moments[timestamp, completes] = moment
        return moment

    def _break(self) -> None:
        """Timestamps that cursors know have another meaning from now on."""
        self._broken = True
        self._clear()
        self.history = f"{self._relation or ''}~{secrets.token_urlsafe(6)}"

    def _begin(self, now: int) -> None:
        self._broken = False
        self._clear()
        self._floor = self._settled = now

    def _clear(self) -> None:
        self._batches.clear()
        self._noted = []
        self._since.clear()
        self._moments.clear()
        self._rows = self._bytes = 0

    def _trim(self) -> None:
        batches, limits = self._batches, self._limits
        oldest = self._clock() - limits.seconds
        while batches and (self._rows > limits.rows or self._bytes > limits.bytes or batches[0].at < oldest):
            batch = batches.popleft()
            self._rows -= len(batch.deltas)
            self._bytes -= batch.size
            self._floor = batch.timestamp

    def _size(self, deltas: list[Delta]) -> int:
        row_bytes = _ROW_BYTES + _VALUE_BYTES * len(self._source.columns)
        total = _DELTA_BYTES * len(deltas)
        for _key, old, _new, _mask in deltas:
            if old is not None:
                total += row_bytes + len("".join(filter(None, old) if None in old else old))  # type: ignore[arg-type]
        return total
