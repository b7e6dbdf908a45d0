"""Changes are applied to rows and compared with what was there, by code that is generated for a number of columns.

Comparing is most of what a change costs before anybody is told of it. A loop over the columns would take twice as
long, and a call for each change a fifth more. What comes out is what everybody is told who follows all rows, so that
nothing has to be made of it for them; what others need besides, the rows that were there before, stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tycostream.model import Changes, Key, Operation, PartialRow, Row

ViewChange = tuple[Operation, Key, Row, int, int]
"""operation, key, row (the last one for a DELETE), changed columns as a bitmask, timestamp.

The mask is 0 for an INSERT or a DELETE, since then every column counts.
"""

Delta = tuple[Key, Row | None, Row | None, int]
"""What happened to one key: key, old row, new row (None: absent), and the changed columns as in a ViewChange."""


@dataclass(eq=False, slots=True)
class Applied:
    """What transactions did to the rows: `changes` in their order, and `before`, for each of them, the row that was
    there, None where there was none. `timestamps` are those of all transactions, by rising time, also of those that
    changed nothing; without them nothing can be told `by_timestamp`."""

    changes: list[ViewChange] = field(default_factory=list)
    before: list[Row | None] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[ViewChange, Row | None]]:
        return zip(self.changes, self.before, strict=True)

    def by_timestamp(self, since: int | None) -> Iterator[tuple[list[Delta], int, int]]:
        """The changes of each timestamp that has some, the timestamp, and the one before it, which for the first is
        `since`; where there is none it is itself."""
        previous: dict[int, int] = {}
        for timestamp in self.timestamps:
            previous[timestamp] = timestamp if since is None else since
            since = timestamp
        deltas: list[Delta] = []
        now = 0
        for (operation, key, row, mask, timestamp), old in self:
            if timestamp != now:
                if deltas:
                    yield deltas, now, previous[now]
                deltas, now = [], timestamp
            deltas.append((key, old, None if operation is Operation.DELETE else row, mask))
        if deltas:
            yield deltas, now, previous[now]


Complete = Callable[[PartialRow, dict[Key, Row]], Row]
Apply = Callable[[dict[Key, Row], Iterable[Changes], int, Applied, Complete], None]

_CODE = """
def apply(rows, run, after, applied, complete):
    get = rows.get
    change, was, time = applied.changes.append, applied.before.append, applied.timestamps.append
    for timestamp, changes, _committed_at in run:
        if timestamp <= after:
            continue
        after = timestamp
        time(timestamp)
        for key, new in changes:
            old = get(key)
            if new is None:
                if old is not None:
                    change((DELETE, key, old, 0, timestamp))
                    was(old)
                    del rows[key]
                continue
            if new.__class__ is not tuple:
                new = complete(new, rows)
            if old is None:
                change((INSERT, key, new, 0, timestamp))
                was(None)
            else:
                {before} = old
                {after} = new
                mask = 0
                {tests}
                if not mask:
                    continue
                change((UPDATE, key, new, mask, timestamp))
                was(old)
            rows[key] = new
"""


@lru_cache(maxsize=256)
def apply_of(width: int) -> Apply:
    """A function that applies changes later than `after`, in their order, to rows of so many columns, and adds what
    they did to `applied`, before it does it. `complete` makes a whole row of one that the database has sent in part.
    Raises ValueError for rows of another width."""
    columns = range(width)
    code = _CODE.format(
        before="".join(f"a{column}, " for column in columns),
        after="".join(f"b{column}, " for column in columns),
        tests="\n                ".join(f"if a{column} != b{column}: mask |= {1 << column}" for column in columns),
    )
    namespace: dict[str, Any] = {operation.name: operation for operation in Operation}
    exec(code, namespace)  # noqa: S102  # nothing but numbers and names of ours
    found: Apply = namespace.pop("apply")
    return found
