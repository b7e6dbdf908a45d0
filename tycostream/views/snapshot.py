"""The rows that a new subscription starts with, read piece by piece as its client takes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tycostream.filters import Filter
from tycostream.model import Operation, Row, Source
from tycostream.views.applying import ViewChange
from tycostream.views.delivery import Selection
from tycostream.views.derived import FrozenStates
from tycostream.views.pieces import Piece, Pieces


class Beginning(Protocol):
    """What a subscription is first told, before any change."""

    @property
    def done(self) -> bool:
        """Whether everything has been read."""

    def read(self, count: int) -> list[ViewChange]:
        """A piece of about `count` rows: perhaps nothing, though more follows."""


class SnapshotReader:
    """Reads the rows of one moment that a filter admits, with the `states` of that moment where there are such. The
    rows themselves are shared with the cache, and what is rendered with those who have the same `pieces`."""

    def __init__(
        self,
        source: Source,
        rows: tuple[Row, ...],
        timestamp: int,
        condition: Filter,
        states: FrozenStates | None = None,
        pieces: Pieces | None = None,
    ) -> None:
        self._rows = rows
        self._position = 0
        self._timestamp = timestamp
        self._matches = condition.matches
        self._key_of = source.key_of
        self._states = states
        self._pieces = pieces

    @property
    def done(self) -> bool:
        """Whether every row has been read."""
        return self._position >= len(self._rows)

    def read(self, count: int) -> list[ViewChange]:
        """The admitted ones of the next `count` rows, as INSERTs: perhaps none, though more follow."""
        start = self._position
        self._position = start + count
        matches = self._matches
        key_of = self._key_of
        timestamp = self._timestamp
        rows: Iterable[Row] = self._rows[start : self._position]
        if self._states is not None:
            rows = map(self._states.extend, rows)
        return [(Operation.INSERT, key_of(row), row, 0, timestamp) for row in rows if matches(row)]

    def read_rendered(self, count: int, selection: Selection) -> Piece:
        """The same in a selection, which is that of the `pieces`."""
        start = self._position
        piece = None if self._pieces is None else self._pieces.get(start)
        if piece is not None:
            self._position = start + count
            return piece
        piece = Piece(selection.render(self.read(count)))
        if self._pieces is not None:
            self._pieces.keep(start, piece)
        return piece
