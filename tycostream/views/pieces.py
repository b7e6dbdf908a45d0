"""Pieces of a snapshot, rendered once for all who read the same rows at about the same time.

Clients come together: when a page is opened by everybody, or after a restart. Those that see the same rows, with the
same filter and selection, read and render each piece once, as long as they are not far apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from weakref import WeakValueDictionary, ref

from tycostream.filters import Filter
from tycostream.model import Row
from tycostream.views.delivery import Envelope, Selection
from tycostream.views.derived import FrozenStates

MOST_PIECES = 32
"""How many a source keeps, of whichever snapshots."""

MOST_BYTES = 512 * 1024
"""What is larger is not kept. It is held twice: as results, and wrapped for the operation id that was last."""


class Piece:
    """Results of one selection, and how they were last wrapped."""

    __slots__ = ("_frames", "_prefix", "_results")

    def __init__(self, results: Sequence[bytes]) -> None:
        self._results = results
        self._prefix: bytes | None = None
        self._frames = b""

    @property
    def size(self) -> int:
        """In bytes, without what wraps them."""
        return sum(map(len, self._results))

    def wrapped(self, envelope: Envelope) -> bytes:
        """The results as messages; nothing where there are none."""
        prefix = envelope.prefix
        if self._results and prefix != self._prefix:
            self._prefix, self._frames = prefix, envelope.wrap(self._results)
        return self._frames


class Pieces:
    """The pieces of one snapshot that are kept, by the row at which they begin. Nothing is before it is `shared`."""

    __slots__ = ("__weakref__", "_pieces", "_rows", "_states", "_store", "_timestamp", "shared")

    def __init__(self, store: PieceStore, rows: tuple[Row, ...], timestamp: int, states: FrozenStates | None) -> None:
        self._store = store
        self._rows, self._timestamp, self._states = rows, timestamp, states
        self._pieces: dict[int, Piece] = {}
        self.shared = False

    def show(self, rows: tuple[Row, ...], timestamp: int, states: FrozenStates | None) -> bool:
        """Whether they are those of these very rows, at the same time."""
        return rows is self._rows and states is self._states and timestamp == self._timestamp

    def get(self, start: int) -> Piece | None:
        """The one that begins there."""
        return self._pieces.get(start)

    def keep(self, start: int, piece: Piece) -> None:
        """Others may want it."""
        if self.shared and piece.size <= MOST_BYTES:
            self._pieces[start] = piece
            self._store.kept(self, start)

    def drop(self, start: int) -> None:
        """Nobody shall have it any more."""
        self._pieces.pop(start, None)


class PieceStore:
    """What a source keeps. The pieces of a snapshot go with its last reader."""

    def __init__(self) -> None:
        self._newest: WeakValueDictionary[tuple[Filter, Selection], Pieces] = WeakValueDictionary()
        self._kept: deque[tuple[ref[Pieces], int]] = deque()

    def of(
        self,
        condition: Filter,
        selection: Selection,
        rows: tuple[Row, ...],
        timestamp: int,
        states: FrozenStates | None,
    ) -> Pieces:
        """Those of the snapshot that a new subscription of this filter and selection begins with."""
        pieces = self._newest.get((condition, selection))
        if pieces is not None and pieces.show(rows, timestamp, states):
            pieces.shared = True
            return pieces
        pieces = self._newest[condition, selection] = Pieces(self, rows, timestamp, states)
        return pieces

    def kept(self, pieces: Pieces, start: int) -> None:
        """One more is kept; where they are too many, the oldest is not any more."""
        self._kept.append((ref(pieces), start))
        if len(self._kept) > MOST_PIECES:
            oldest, first = self._kept.popleft()
            if (left := oldest()) is not None:
                left.drop(first)
