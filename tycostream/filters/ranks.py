"""What rows are sorted by: for a column and a direction, a function from the database's text to values of one order.

The values are those that filters compare (values.py), so that rows sort as PostgreSQL sorts them; JSON sorts by its
text. Text that can't be read as its column's type (the relation was changed behind the schema file) is greater than all
that can, and sorts by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tycostream.filters.values import domain_of
from tycostream.model import Column

Rank = tuple[int, Any]
"""A class, and a value that compares with the others of its class."""

_FIRST, _LESSER, _GREATER, _LAST = range(4)


class _Descending:
    """A value in the opposite order."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.value == other.value)

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.value < self.value)

    __hash__ = None  # type: ignore[assignment]  # for sorting alone


def ranker(column: Column, *, descending: bool = False, nulls_first: bool = False) -> Callable[[str | None], Rank]:
    """Ranks the column's texts: what comes first has the lower rank. It never raises."""
    domain = domain_of(column)
    read = domain.rank or domain.read
    null: Rank = (_FIRST if nulls_first else _LAST, None)

    def rising(text: str | None) -> Rank:
        if text is None:
            return null
        try:
            return _LESSER, read(text)
        except (ValueError, ArithmeticError):
            return _GREATER, text

    def falling(text: str | None) -> Rank:
        if text is None:
            return null
        try:
            return _GREATER, _Descending(read(text))
        except (ValueError, ArithmeticError):
            return _LESSER, _Descending(text)

    return falling if descending else rising
