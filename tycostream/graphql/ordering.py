"""Rows in the order of their keys, as the values compare in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

from tycostream.model import Column, ColumnType, Row, Source

_ROWS_AT_A_TIME = 5_000

Rank = tuple[int, object]
"""Values that can be compared: a class (NaN and text that doesn't fit its column come after all others), a value."""


async def key_order(source: Source, rows: Sequence[Row]) -> list[Row]:
    """The rows by rising key. Gives the loop a turn between pieces; the sort itself is one piece."""
    ranks = [(position, _rank(source.columns[position])) for position in source.key_positions]
    ranked: list[tuple[list[Rank], int, Row]] = []
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        if start:
            await asyncio.sleep(0)
        piece = enumerate(rows[start : start + _ROWS_AT_A_TIME], start)
        ranked += [([rank(row[position] or "") for position, rank in ranks], index, row) for index, row in piece]
    ranked.sort()
    return [row for _, _, row in ranked]


def _rank(column: Column) -> Callable[[str], Rank]:
    match column.type:
        case ColumnType.INTEGER | ColumnType.BIGINT:
            return _integer
        case ColumnType.FLOAT | ColumnType.NUMERIC:
            return _number
        case ColumnType.ENUM if column.enum is not None:
            order: dict[str, Rank] = {value: (0, index) for index, value in enumerate(column.enum.values)}
            return lambda text: order.get(text, (1, text))
        case _:
            # Databases write uuids in lower case and times as ISO 8601 in UTC: they sort as text.
            return lambda text: (0, text)


def _integer(text: str) -> Rank:
    try:
        return 0, int(text)
    except ValueError:
        return 1, text


def _number(text: str) -> Rank:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return 1, text
    return (1, text) if number.is_nan() else (0, number)
