"""Rows in order, a piece at a time, so that the loop goes on however many there are.

Sorting in a thread would not help: a sort of tuples never lets go of the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from tycostream.model import Row
from tycostream.turns import Turns

_Keyed = tuple[Any, ...]
SortKey = Callable[[Row], _Keyed]
"""What a row is sorted by, different for every row; the last member is the row itself."""

RUN_ROWS = 2_000
"""Rows that are sorted at once."""

_PIECE_ROWS = 100


async def sort_rows(rows: Sequence[Row], key: SortKey, offset: int, end: int | None, turns: Turns) -> list[Row]:
    """The rows in the order of their keys, from place `offset` to before `end`."""
    end = len(rows) if end is None else min(end, len(rows))
    if end <= offset:
        return []
    sort = _sort_few if end <= RUN_ROWS else _sort_many
    return (await sort(rows, key, end, turns))[offset:]


async def _sort_few(rows: Sequence[Row], key: SortKey, end: int, turns: Turns) -> list[Row]:
    """The first `end` rows; no more than those are kept at any time."""
    first: list[_Keyed] = []
    for start in range(0, len(rows), RUN_ROWS):
        run = await _keyed(rows[start : start + RUN_ROWS], key, turns)
        if len(first) == end:
            worst = first[-1]
            run = [keyed for keyed in run if keyed < worst]
        first += run
        first.sort()
        del first[end:]
        await turns.between()
    return [keyed[-1] for keyed in first]


async def _sort_many(rows: Sequence[Row], key: SortKey, end: int, turns: Turns) -> list[Row]:
    """The first `end` rows, by runs that are merged.

    Keys are made a second time for the merge: kept, they would take several times the memory of the list, and the
    garbage collector would hold the loop for long to look through them.
    """
    runs: list[list[Row]] = []
    for start in range(0, len(rows), RUN_ROWS):
        run = await _keyed(rows[start : start + RUN_ROWS], key, turns)
        run.sort()
        runs.append([keyed[-1] for keyed in run])
        await turns.between()
    merged = islice(merge(*runs, key=key), end)
    found: list[Row] = []
    while piece := list(islice(merged, _PIECE_ROWS)):
        found += piece
        await turns.between()
    return found


async def _keyed(rows: Sequence[Row], key: SortKey, turns: Turns) -> list[_Keyed]:
    keyed: list[_Keyed] = []
    for start in range(0, len(rows), _PIECE_ROWS):
        keyed += map(key, rows[start : start + _PIECE_ROWS])
        await turns.between()
    return keyed
