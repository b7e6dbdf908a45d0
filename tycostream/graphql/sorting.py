"""Rows in order, a piece at a time: however many there are, the loop has its turn every few milliseconds.

Sorting in a thread would not help: a sort of tuples never lets go of the interpreter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice
from time import perf_counter
from typing import Any

from tycostream.model import Row

SortKey = Callable[[Row], tuple[Any, ...]]
"""What a row is sorted by, different for every row; the last member is the row itself."""

RUN_ROWS = 2_000
"""Rows that are sorted at once."""

_PIECE_ROWS = 100
_TURN_SECONDS = 0.004


class Turns:
    """For work that takes long: after a few milliseconds of it the loop has its turn."""

    def __init__(self) -> None:
        self._until = perf_counter() + _TURN_SECONDS

    async def between(self) -> None:
        """Call this between pieces of the work that take much less than a turn."""
        if perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = perf_counter() + _TURN_SECONDS


async def sort_rows(rows: Sequence[Row], key: SortKey, offset: int, end: int | None) -> list[Row]:
    """The rows in the order of their keys, from place `offset` to before `end`.

    Where few are wanted, no more than those few are kept. Otherwise runs are sorted, then merged.
    """
    end = len(rows) if end is None else min(end, len(rows))
    if end <= offset:
        return []
    turns = Turns()
    first: list[tuple[Any, ...]] = []
    runs = [first]
    for start in range(0, len(rows), RUN_ROWS):
        run: list[tuple[Any, ...]] = []
        for position in range(start, min(start + RUN_ROWS, len(rows)), _PIECE_ROWS):
            run += map(key, rows[position : min(position + _PIECE_ROWS, start + RUN_ROWS)])
            await turns.between()
        if end > RUN_ROWS:
            run.sort()
            runs.append(run)
        else:
            if len(first) == end:
                worst = first[-1]
                run = [entry for entry in run if entry < worst]
            first += run
            first.sort()
            del first[end:]
        await turns.between()
    merged = islice(merge(*runs), end)
    found: list[Row] = []
    while piece := list(islice(merged, _PIECE_ROWS)):
        found += [entry[-1] for entry in piece]
        await turns.between()
    return found[offset:]
