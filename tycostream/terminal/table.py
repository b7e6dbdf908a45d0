"""The rows of a subscription as a table of a given size. Pure: updates go in, lines come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tycostream.terminal.cells import fitted, shown, width

MARK = "> "
GAP = "  "
LEAST = 6
"""Columns of the screen that a column of the table keeps where its content is wider."""

BOLD, REVERSE, RESET = "\x1b[1m", "\x1b[7m", "\x1b[0m"

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of the table; numbers stand at the right."""

    name: str
    numeric: bool = False


@dataclass(frozen=True, slots=True)
class _Newest:
    operation: str
    key: Key
    changed: frozenset[str]


class Table:
    """Rows by key, in the order in which they came, and which change is the newest."""

    def __init__(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.key = tuple(key)
        self.rows: dict[Key, dict[str, Any]] = {}
        self._numbers: dict[Key, int] = {}
        self._recent: dict[Key, None] = {}
        self._next_number = 0
        self._newest: _Newest | None = None

    def apply(self, update: Mapping[str, Any]) -> None:
        """One update of the subscription: `operation`, `data`, `fields`."""
        data: Mapping[str, Any] = update["data"]
        key = tuple(data[name] for name in self.key)
        operation, fields = update["operation"], frozenset(update["fields"])
        self._newest = _Newest(operation, key, fields)
        self._recent.pop(key, None)
        if operation == "DELETE":
            self.rows.pop(key, None)
            self._numbers.pop(key, None)
            return
        self._recent[key] = None
        if operation == "UPDATE" and key in self.rows:
            self.rows[key].update((name, value) for name, value in data.items() if name in fields)
            return
        self.rows[key] = dict(data)
        if key not in self._numbers:
            self._next_number += 1
            self._numbers[key] = self._next_number

    def clear(self) -> None:
        """Forget all rows: they will come again."""
        self.rows.clear()
        self._numbers.clear()
        self._recent.clear()
        self._newest = None

    def render(self, columns: int, lines: int, *, color: bool = False) -> list[str]:
        """At most `lines` lines (at least 3) of at most `columns` columns: head, rows, and what is not shown.

        Where not all rows fit, those that changed last are shown, in the order of all.
        """
        keys = self._visible(max(lines - 2, 1))
        texts = {key: [shown(self.rows[key].get(column.name)) for column in self.columns] for key in keys}
        natural = [
            max([width(column.name), *(width(cells[at]) for cells in texts.values())])
            for at, column in enumerate(self.columns)
        ]
        widths = _fit(natural, columns - len(MARK))
        head = GAP.join(
            fitted(column.name, space, right=column.numeric)
            for column, space in zip(self.columns, widths, strict=False)
        )
        rendered = [" " * len(MARK) + (f"{BOLD}{head}{RESET}" if color else head)]
        rendered += [self._row(key, texts[key], widths, color=color) for key in keys]
        rendered.append(fitted(self._summary(len(keys), len(widths)), columns).rstrip())
        return rendered

    def _visible(self, count: int) -> list[Key]:
        if len(self.rows) <= count:
            return list(self.rows)
        return sorted(islice(reversed(self._recent), count), key=self._numbers.__getitem__)

    def _row(self, key: Key, texts: Sequence[str], widths: Sequence[int], *, color: bool) -> str:
        newest = self._newest if self._newest is not None and self._newest.key == key else None
        cells = []
        for column, text, space in zip(self.columns, texts, widths, strict=False):
            cell = fitted(text, space, right=column.numeric)
            marked = color and newest is not None and column.name in newest.changed
            cells.append(f"{REVERSE}{cell}{RESET}" if marked else cell)
        return (MARK if newest is not None else " " * len(MARK)) + GAP.join(cells)

    def _summary(self, visible_rows: int, visible_columns: int) -> str:
        parts = [f"{len(self.rows)} row{'s' * (len(self.rows) != 1)}"]
        if hidden := len(self.rows) - visible_rows:
            parts.append(f"{hidden} not shown")
        if hidden := len(self.columns) - visible_columns:
            parts.append(f"{hidden} column{'s' * (hidden != 1)} not shown")
        if self._newest is not None:
            key = " ".join(f"{name}={shown(value)}" for name, value in zip(self.key, self._newest.key, strict=True))
            parts.append(f"newest: {self._newest.operation} {key}")
        return ", ".join(parts)


def _fit(natural: Sequence[int], columns: int) -> list[int]:
    """Widths for as many of the leading columns as fit; the widest give way first, down to `LEAST`."""
    for count in range(len(natural), 0, -1):
        available = columns - len(GAP) * (count - 1)
        least = [min(space, LEAST) for space in natural[:count]]
        if sum(least) <= available:
            return _share(natural[:count], available)
    return [max(columns, 1)]


def _share(natural: Sequence[int], available: int) -> list[int]:
    """The natural widths with the widest cut to one limit, the largest with which they fit."""
    if sum(natural) <= available:
        return list(natural)
    low, high = LEAST, max(natural)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(space, middle) for space in natural) <= available:
            low = middle
        else:
            high = middle - 1
    return [min(space, low) for space in natural]
