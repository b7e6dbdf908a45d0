"""Queries of a source's rows: how they are answered, and those that wait for its first rows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from actors.source_messages import ReadRows, SourceUnavailableError
from tycostream.filters import Filter
from tycostream.model import Row
from tycostream.turns import Turns
from tycostream.views import RowCache

SELECT_ROWS = 500
"""Rows that a query's filter is asked of before it is asked for how long."""

Question = asyncio.Future[list[Row]]


@dataclass(slots=True)
class Questions:
    """Those that wait."""

    waiting: dict[Question, ReadRows] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.waiting)

    def take(self) -> dict[Question, ReadRows]:
        """All of them, which are answered by somebody else from now on."""
        taken, self.waiting = self.waiting, {}
        return taken

    def give_up(self, question: Question, reason: str) -> None:
        """One has waited for too long, if it still waits."""
        if self.waiting.pop(question, None) is not None:
            question.set_exception(SourceUnavailableError(reason))

    def fail(self, reason: str) -> None:
        """There is nothing to wait for."""
        for question in self.take():
            question.set_exception(SourceUnavailableError(reason))


def candidates(cache: RowCache, asked: ReadRows) -> tuple[Row, ...]:
    """The rows of this moment among which the wanted ones are."""
    found = None if asked.lookup is None else asked.lookup.candidates(cache.rows)
    return cache.frozen() if found is None else found


async def select(rows: tuple[Row, ...], condition: Filter) -> list[Row]:
    """The rows that a filter admits; the loop has its turn now and then."""
    matches = condition.matches
    found: list[Row] = []
    async with Turns() as turns:
        for start in range(0, len(rows), SELECT_ROWS):
            found.extend(row for row in rows[start : start + SELECT_ROWS] if matches(row))
            await turns.between()
    return found


async def answer(question: Question, rows: tuple[Row, ...], condition: Filter) -> None:
    """The same, for one that has waited."""
    question.set_result(await select(rows, condition))
