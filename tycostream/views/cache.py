"""The rows of a source as of its last complete timestamp, and what a batch of changes did to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tycostream.model import UNCHANGED, Change, Changes, Key, PartialRow, Row, Source
from tycostream.views.applying import Applied, apply_of

Values = tuple[Any, ...]


class RowCache:
    """Rows by key. `timestamp` is the database time that they show; None while there has been no snapshot."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.rows: dict[Key, Row] = {}
        self.timestamp: int | None = None
        self._apply = apply_of(len(source.columns))
        self._frozen: tuple[Row, ...] | None = None

    def apply(self, run: Iterable[Changes], after: int, applied: Applied) -> None:
        """Apply changes in order, other than those up to `after`, and add to `applied` what they did. Transactions that
        change nothing leave their timestamp there.

        `applied` is filled as it goes, so that `undo` can take back a run that failed half-way.
        """
        self._frozen = None
        self._apply(self.rows, run, after, applied, complete)

    def load(self, rows: dict[Key, Row], timestamp: int) -> None:
        """Take these rows for what the cache holds from now on. The dictionary is the cache's."""
        self.rows = rows
        self.timestamp = timestamp
        self._frozen = None

    def undo(self, applied: Applied) -> None:
        """Take back what `apply` did, newest first."""
        self._frozen = None
        for change, old in zip(reversed(applied.changes), reversed(applied.before), strict=True):
            key = change[1]
            if old is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = old

    def frozen(self) -> tuple[Row, ...]:
        """The rows as they are now, in a tuple that later changes leave alone. Shared until the next change."""
        if self._frozen is None:
            self._frozen = tuple(self.rows.values())
        return self._frozen

    def clear(self) -> None:
        """Forget everything."""
        self.rows = {}
        self.timestamp = None
        self._frozen = None


def complete(change: Row | PartialRow, rows: dict[Key, Row]) -> Row:
    """The whole new row: values that the database did not send are taken from the row they were in before."""
    if not isinstance(change, PartialRow):
        return change
    base = rows.get(change.base)
    if base is None:
        raise ValueError(f"the database sent no value for an unchanged column of {change.base!r}, which is not known")
    return _fill(change.values, base)


class Reload:
    """A snapshot that is being read, to take the place of what the cache holds.

    Changes later than the snapshot that arrive meanwhile are folded by key, so that their number is bounded by the rows
    they touch; together with the snapshot they show the state at `timestamp`.

    `remember` so many changes in their order, those that the snapshot shows too: `history` has them, unless there were
    more.
    """

    def __init__(self, source: Source, timestamp: int, remember: int = 0) -> None:
        self.timestamp = timestamp
        self.snapshot_timestamp = timestamp
        self.rows: dict[Key, Row] = {}
        self.history: list[tuple[int, list[Change]]] | None = [] if remember else None
        self._room = remember
        self._key_of = source.key_of
        self._later: dict[Key, Row | PartialRow | None] = {}

    def add(self, rows: list[Row]) -> None:
        """Some of the snapshot's rows."""
        self.rows.update(zip(map(self._key_of, rows), rows, strict=True))

    def hold(self, timestamp: int, changes: list[Change]) -> None:
        """Changes that arrived while the snapshot is being read; of those that it already shows, the rows are
        ignored."""
        if self.history is not None:
            self.history.append((timestamp, changes))
            self._room -= len(changes)
            if self._room < 0:
                self.history = None
        if timestamp <= self.snapshot_timestamp:
            return
        self.timestamp = timestamp
        later = self._later
        for key, change in changes:
            if isinstance(change, PartialRow) and (base := later.get(change.base)) is not None:
                if isinstance(base, PartialRow):
                    later[key] = PartialRow(_fill(change.values, base.values), base.base)
                else:
                    later[key] = complete(change, {change.base: base})
            else:
                later[key] = change

    def progress(self, timestamp: int) -> None:
        """Everything up to this time has arrived."""
        self.timestamp = max(self.timestamp, timestamp)

    def finish(self) -> None:
        """The snapshot is whole: bring its rows to `timestamp`."""
        snapshot = self.rows
        later = [(key, None if change is None else complete(change, snapshot)) for key, change in self._later.items()]
        for key, row in later:
            if row is None:
                snapshot.pop(key, None)
            else:
                snapshot[key] = row
        self._later = {}

    def differences(self, current: dict[Key, Row]) -> Iterator[Change]:
        """After `finish`: the changes that lead from `current` to the new rows, computed as they are asked for.

        `current` may be changed meanwhile by nothing but these changes.
        """
        new = self.rows
        for key in [key for key in current if key not in new]:
            yield key, None
        for key, row in new.items():
            if current.get(key) != row:
                yield key, row


def _fill(values: Values, base: Values) -> Values:
    return tuple(old if value is UNCHANGED else value for value, old in zip(values, base, strict=True))
