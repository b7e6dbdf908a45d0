"""What a subscription with cursors begins with: the rows, or what has changed since its client was last told.

Both are read piece by piece, as the client takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from operator import ne

from tycostream.filters import Filter
from tycostream.model import Key, Operation, Row, Unseen
from tycostream.views.applying import ViewChange
from tycostream.views.cursor import Cursor, Moment, SnapshotMark
from tycostream.views.recent import Batch
from tycostream.views.snapshot import Beginning

_DELTAS_A_STEP = 8
"""Logged changes that count as one row read."""


class _Net:
    """What became of one key: its row then and now. `perhaps` is a version that the client may know, of a time of
    which it has seen some changes, or of which only the key is known; `unsure` says that there is such a time."""

    __slots__ = ("new", "old", "perhaps", "unsure")

    def __init__(self, old: Row | None) -> None:
        self.old = old
        self.new: Row | None = None
        self.perhaps: Row | None = None
        self.unsure = False


class Replay:
    """The difference between what the holder of a cursor has and the rows as they are at `timestamp`: one change a key.

    What changed at times of which it may have seen some changes, or of which no old rows are known, is told whatever it
    has seen: a row that is in view as an INSERT, one that was, or may have been, and is not as a DELETE.
    """

    def __init__(
        self,
        batches: list[Batch],
        cursor: Cursor,
        timestamp: int,
        condition: Filter,
        interest: int,
        extend: Callable[[Row], Row] | None = None,
    ) -> None:
        """`batches` are those after the cursor. `extend` adds calculated fields that follow from a row alone."""
        self._upto = cursor.upto
        self._timestamp = timestamp
        self._matches = condition.matches
        self._interest = interest
        self._extend = extend
        self._steps = self._read(batches)
        self._done = False

    @property
    def done(self) -> bool:
        """Whether every change has been read."""
        return self._done

    def read(self, count: int) -> list[ViewChange]:
        """The next changes, some `count` at most: perhaps none, though more follow."""
        steps = list(islice(self._steps, count))
        self._done = len(steps) < count
        return [step for step in steps if step is not None]

    def _read(self, batches: list[Batch]) -> Iterator[ViewChange | None]:
        nets: dict[Key, _Net] = {}
        seen = 0
        for batch in batches:
            partial = batch.timestamp <= self._upto
            for key, old, new, _mask in batch.deltas:
                net = nets.get(key)
                if net is None:
                    net = nets[key] = _Net(old)
                net.new = new
                if partial or isinstance(old, Unseen):
                    net.unsure = True
                    net.perhaps = self._in_view(new) or self._in_view(old) or net.perhaps
                seen += 1
                if not seen % _DELTAS_A_STEP:
                    yield None
        for key, net in nets.items():
            yield self._told(key, net)

    def _in_view(self, row: Row | None) -> Row | None:
        if row is None or isinstance(row, Unseen):
            return row  # it may have been in view
        if self._extend is not None:
            row = self._extend(row)
        return row if self._matches(row) else None

    def _told(self, key: Key, net: _Net) -> ViewChange | None:
        new, timestamp = self._in_view(net.new), self._timestamp
        old = net.perhaps if net.unsure else self._in_view(net.old)
        if new is None:
            return None if old is None else (Operation.DELETE, key, old, 0, timestamp)
        if net.unsure or old is None:
            return Operation.INSERT, key, new, 0, timestamp
        changed = sum(1 << index for index, differs in enumerate(map(ne, old, new)) if differs)
        return (Operation.UPDATE, key, new, changed, timestamp) if changed & self._interest else None


class Marked:
    """A beginning whose messages carry their place, so that a client that is cut within it can resume.

    `before` is up to where the client has everything already; None makes it a snapshot, whose first message is marked
    RESET and the others ROW. With `mark_empty` a snapshot without rows is a RESET alone, and with `mark_end` a last
    message marked END follows: both without a row.
    """

    def __init__(
        self,
        beginning: Beginning,
        source: str,
        history: str,
        timestamp: int,
        before: int | None,
        *,
        mark_empty: bool,
        mark_end: bool,
    ) -> None:
        self._beginning = beginning
        self._place = (timestamp, source, history, before)
        self._moments: dict[tuple[SnapshotMark | None, bool], Moment] = {}
        self._mark = SnapshotMark.RESET if before is None else None
        self._mark_empty = mark_empty
        self._mark_end = mark_end
        self._held: list[ViewChange] = []
        self._done = False

    @property
    def done(self) -> bool:
        """Whether everything has been read."""
        return self._done

    def read(self, count: int) -> list[ViewChange]:
        """The next messages. One is always held back, for nobody knows whether it is the last."""
        if self._done:
            return []
        found = [*self._held, *self._beginning.read(count)]
        if not self._beginning.done:
            self._held = found[-1:]
            return [self._stamped(change) for change in found[:-1]]
        self._done = True
        told = [self._stamped(change) for change in found[:-1]]
        told += [self._stamped(change, last=True) for change in found[-1:]]
        if self._mark is SnapshotMark.RESET and self._mark_empty:
            told.append(self._alone(SnapshotMark.RESET))
        if self._mark_end:
            told.append(self._alone(SnapshotMark.END))
        return told

    def _stamped(self, change: ViewChange, *, last: bool = False) -> ViewChange:
        operation, key, row, mask, _timestamp = change
        moment = self._moment(self._mark, last)
        if self._mark is not None:
            self._mark = SnapshotMark.ROW
        return operation, key, row, mask, moment

    def _alone(self, mark: SnapshotMark) -> ViewChange:
        return Operation.UPDATE, (), (), 0, self._moment(mark, True)

    def _moment(self, mark: SnapshotMark | None, last: bool) -> Moment:
        moment = self._moments.get((mark, last))
        if moment is None:
            timestamp, source, history, before = self._place
            after = timestamp if last else before
            moment = self._moments[mark, last] = Moment(timestamp, source, history, before, after, mark)
        return moment
