"""Rows in order, whatever their number, while the loop goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.filters.test_against_postgres import PROVEN
from tycostream import turns
from tycostream.graphql import sorting
from tycostream.model import Row
from tycostream.turns import Turns


def by_number(row: Row) -> tuple[Any, ...]:
    return int(row[0] or 0), row


async def sort(rows: list[Row], key: sorting.SortKey, offset: int, end: int | None) -> list[Row]:
    async with Turns() as piece:
        return await sorting.sort_rows(rows, key, offset, end, piece)


def rows_of(numbers: list[int]) -> list[Row]:
    return [(str(number),) for number in numbers]


@settings(PROVEN)
@given(
    numbers=st.lists(st.integers(), unique=True),
    offset=st.integers(0, 30),
    end=st.none() | st.integers(0, 60),
    run=st.integers(1, 12),
    piece=st.integers(1, 5),
)
def test_a_slice_of_the_sorted_rows(
    numbers: list[int], offset: int, end: int | None, run: int, piece: int, io_loop: IOLoop
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "RUN_ROWS", run)
        patch.setattr(sorting, "_PIECE_ROWS", piece)
        found = io_loop.run_sync(lambda: sort(rows_of(numbers), by_number, offset, end))
    assert found == rows_of(sorted(numbers)[offset:end])


@pytest.mark.parametrize("end", [50, 9_000, None])
async def test_the_loop_has_its_turn_between_small_pieces(monkeypatch: pytest.MonkeyPatch, end: int | None) -> None:
    """With no time to a turn, no more keys are made in one than there are rows in two pieces (of a run's end and merge)."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)
    made = 0
    counts: list[int] = []

    def key(row: Row) -> tuple[Any, ...]:
        nonlocal made
        made += 1
        return by_number(row)

    async def watch() -> None:
        nonlocal made
        while True:
            await asyncio.sleep(0)
            counts.append(made)
            made = 0

    watcher = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    found = await sort(rows_of(list(range(10_000, 0, -1))), key, 0, end)
    watcher.cancel()
    counts.append(made)
    assert found == rows_of(list(range(1, 10_001)))[:end]
    assert max(counts) <= 200
    assert len(counts) >= 100
