"""What a SUBSCRIBE sends becomes a snapshot and then changes, one timestamp at a time.

Facts, from Materialize's documentation of SUBSCRIBE (doc/user/content/sql/subscribe.md) and its source
(src/adapter/src/active_compute_sink.rs, src/compute/src/sink/subscribe.rs):

- Rows come by rising `mz_timestamp`. A progress row at T says that no more rows before T follow; rows at T may.
- The first row is a progress row at the time that the snapshot shows. All of the snapshot's rows carry that time, and
  it is complete at the first row with a later one.
- Without a snapshot the first row is a progress row at the time to start after; rows come for later times only.
- In ENVELOPE UPSERT a row's `mz_state` is `upsert` with the new values, `delete` with the key alone, or `key_violation`
  where the key does not tell the relation's rows apart; at most one row a key and timestamp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter

from tycostream.databases.fitting import key_error
from tycostream.databases.materialize.errors import unreadable
from tycostream.databases.materialize.result import Run
from tycostream.model import (
    Change,
    Changes,
    Event,
    Key,
    Progress,
    Resumed,
    Row,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
)


class Timeline:
    """Reads one SUBSCRIBE. `relation` goes into the snapshot's beginning; `resumed`: there is no snapshot.
    `until`: the changes up to this time belong to the snapshot, and it is not complete before.

    Changes are handed on once their timestamp is closed: by a progress row behind it, or by a row at a later time.
    """

    def __init__(
        self, source: Source, *, relation: str | None = None, resumed: bool = False, until: int | None = None
    ) -> None:
        self._source = source
        self._key_values = [itemgetter(position) for position in source.key_positions]
        self._relation = relation
        self._open: int | None = None
        self._open_text: str | None = None
        self._resumed = resumed
        self._until = until
        self._since: int | None = None
        self._rows_read = resumed
        self._complete = False
        self._frontier: int | None = None
        self._reported = 0
        self._pending: list[Change] = []

    @property
    def complete(self) -> bool:
        """Whether the snapshot is whole, with the changes that belong to it."""
        return self._complete

    def read(self, runs: Iterable[Run]) -> Iterator[Event]:
        """The events that these rows bring about; at their end, how far everything is reported. Raises a DatabaseError
        for a key that repeats or is NULL, and for what can't be read."""
        try:
            for timestamp, progressed, state, rows in runs:
                if timestamp != self._open_text:
                    yield from self._advance(timestamp)
                if progressed:
                    self._frontier = self._open
                else:
                    yield from self._add(state, rows)
        except UnicodeDecodeError:
            raise
        except (KeyError, ValueError, IndexError, TypeError):
            raise unreadable("a row has no time, no sign of progress, or too few values") from None
        if self._complete and self._frontier is not None and self._frontier - 1 > self._reported:
            self._reported = self._frontier - 1
            yield Progress(self._reported, self._reported / 1000)

    def end(self) -> Iterator[Event]:
        """The SUBSCRIBE has ended by itself: nothing will ever change any more, and every timestamp is closed."""
        yield from self._close()
        if not self._complete and self._open is not None:
            yield from self._finish(self._open)

    def _advance(self, text: str | None) -> Iterator[Event]:
        """The stream stands at a later time: what came before is whole."""
        timestamp = int(text or "")
        if self._open is None:
            self._reported = timestamp
            self._complete = self._resumed
            self._since = None if self._until is None else timestamp
            yield Resumed() if self._resumed else SnapshotStarted(timestamp, self._relation)
        elif timestamp < self._open:
            raise unreadable(f"time went back, from {self._open} to {timestamp}")
        elif timestamp > self._open:
            yield from self._close()
            if not self._complete and timestamp > (self._until or 0):
                yield from self._finish(timestamp - 1)
        self._open, self._open_text = timestamp, text

    def _close(self) -> Iterator[Event]:
        if not self._rows_read:
            self._rows_read = True
        elif self._pending and self._open is not None:
            pending, self._pending = self._pending, []
            self._reported = self._open
            # A timestamp counts milliseconds since 1970
            yield Changes(self._open, pending, self._open / 1000)

    def _finish(self, reported: int) -> Iterator[Event]:
        self._complete = True
        if self._since is not None and reported > self._reported:
            self._reported = reported
            yield Progress(reported, reported / 1000)
        yield SnapshotComplete(self._since)

    def _add(self, state: str | None, rows: list[Row]) -> Iterator[Event]:
        self._check(state, rows)
        if not self._rows_read:
            if state == "upsert":
                yield SnapshotRows(rows)
            return
        keys: Iterable[Key] = map(self._source.key_of, rows)
        if state == "upsert":
            self._pending.extend(zip(keys, rows, strict=True))
        else:
            self._pending.extend((key, None) for key in keys)

    def _check(self, state: str | None, rows: list[Row]) -> None:
        if state == "key_violation":
            raise key_error(self._source, "several rows have the same key", self._key_of(rows[0]))
        if state not in ("upsert", "delete"):
            raise unreadable(f"mz_state is {state!r}")
        for value in self._key_values:
            if None in map(value, rows):
                key = next(self._key_of(row) for row in rows if value(row) is None)
                raise key_error(self._source, "a row has no key", key)

    def _key_of(self, row: Row) -> list[str | None]:
        return [value(row) for value in self._key_values]
