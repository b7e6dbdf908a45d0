"""Changes are applied to rows and compared with what was there, by code that is generated for a number of columns.

Comparing is most of what a change costs before anybody is told of it. A loop over the columns would take twice as
long, and a call for each change a fifth more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from tycostream.model import Changes, Key, PartialRow, Row

Delta = tuple[Key, Row | None, Row | None, int]
"""What happened to one key: key, old row, new row (None: absent), and the changed columns as a bitmask.

The mask is 0 where a row was inserted or deleted, since then every column counts.
"""

Applied = tuple[int, list[Delta]]
"""A timestamp, and what changes of it have done to the rows."""

Complete = Callable[[PartialRow, dict[Key, Row]], Row]
Apply = Callable[[dict[Key, Row], Iterable[Changes], int, list[Applied], Complete], None]

_CODE = """
def apply(rows, run, after, applied, complete):
    get = rows.get
    for timestamp, changes, _committed_at in run:
        if timestamp <= after:
            continue
        after = timestamp
        deltas = []
        add = deltas.append
        applied.append((timestamp, deltas))
        for key, new in changes:
            old = get(key)
            if new is None:
                if old is not None:
                    add((key, old, None, 0))
                    del rows[key]
                continue
            if new.__class__ is not tuple:
                new = complete(new, rows)
            if old is None:
                add((key, None, new, 0))
            else:
                {before} = old
                {after} = new
                mask = 0
                {tests}
                if not mask:
                    continue
                add((key, old, new, mask))
            rows[key] = new
"""


@lru_cache(maxsize=256)
def apply_of(width: int) -> Apply:
    """A function that applies changes later than `after`, in their order, to rows of so many columns, and appends what
    they did to `applied`, before it does it. `complete` makes a whole row of one that the database has sent in part.
    Raises ValueError for rows of another width."""
    columns = range(width)
    code = _CODE.format(
        before="".join(f"a{column}, " for column in columns),
        after="".join(f"b{column}, " for column in columns),
        tests="\n                ".join(f"if a{column} != b{column}: mask |= {1 << column}" for column in columns),
    )
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102  # nothing but numbers of ours
    found: Apply = namespace.pop("apply")
    return found
