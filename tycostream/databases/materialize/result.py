"""The rows of a SUBSCRIBE, from a cursor or from COPY, as runs: those that follow one another and have the same head.

Result columns: `mz_timestamp`, `mz_progressed`, `mz_state`, the key in the order of KEY, then the others in the
relation's order (`describe_subscribe` in src/sql/src/plan/statement/dml.rs). Lines of COPY have a tab between values
and a line feed at the end; NULL is a backslash and N, and in values a backslash stands before what would be taken for
either (src/pgcopy/src/copy.rs; PostgreSQL's manual of COPY, "Text Format").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from tycostream.databases.materialize.errors import unreadable
from tycostream.model import Row, Source

HEAD = ("mz_timestamp", "mz_progressed", "mz_state")

WireRow = tuple[str | None, ...]
"""A row of a cursor's result, every value as its text."""

_head = itemgetter(0, 1, 2)
_BOOLEANS = {"t": True, "f": False, "true": True, "false": False}
_NULL = "\\N"
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Run(NamedTuple):
    """Rows of one head. They have the columns of the source, in its order."""

    timestamp: str | None
    progressed: bool
    state: str | None
    rows: list[Row]


def columns_of(source: Source) -> tuple[str, ...]:
    """The columns of the query that is subscribed to: the key first, so that its result has them in this order too."""
    others = (column.name for column in source.columns if column.name not in source.primary_key)
    return (*source.primary_key, *others)


class Result:
    """Reads the result of one SUBSCRIBE. `columns` are the names of its columns. Raises a DatabaseError where they
    can't be those of a SUBSCRIBE to the source."""

    def __init__(self, source: Source, columns: Sequence[str]) -> None:
        if tuple(columns[:3]) != HEAD:
            raise unreadable(f"its first columns are {', '.join(columns[:3])}, not {', '.join(HEAD)}")
        missing = [column.name for column in source.columns if column.name not in columns[3:]]
        if missing:
            raise unreadable(f"it lacks the columns {', '.join(missing)}")
        positions = {name: index for index, name in enumerate(columns) if index > 2}
        wanted = [positions[column.name] for column in source.columns]
        self._width = len(columns) - 3
        self._in_order = wanted == list(range(3, len(columns)))
        self._pick = itemgetter(slice(3, None)) if self._in_order else _picker(wanted)
        self._pick_tail = _picker([position - 3 for position in wanted])
        self._progress = "\tt" + "\t\\N" * (len(columns) - 2) + "\n"
        """What comes after the time in a progress row. No other row has so many NULLs in a row: its state is none."""

    def fetched(self, rows: Sequence[WireRow]) -> Iterator[Run]:
        """The runs of rows that were fetched. Raises KeyError, IndexError for rows that can't be read."""
        for (timestamp, progressed, state), group in groupby(rows, _head):
            yield Run(timestamp, _BOOLEANS[progressed or ""], state, list(map(self._pick, group)))

    def copied(self, lines: bytes) -> Iterator[Run]:
        """The runs of whole lines of COPY. Raises ValueError, KeyError, UnicodeDecodeError for what can't be read."""
        *segments, rest = lines.decode().split(self._progress)
        for segment in segments:
            before, _, timestamp = segment.rpartition("\n")
            if before:
                yield from self._runs(before)
            yield Run(timestamp, True, None, [])
        if rest:
            yield from self._runs(rest[:-1])

    def _runs(self, text: str) -> Iterator[Run]:
        """Of lines without progress rows, and without the last line's end."""
        head = _head_of(text)
        if "\\" not in text:
            values = text[len(head) :].replace("\n" + head, "\t")
            if "\n" not in values:  # as usual: all are of one time and state
                yield self._run(head, self._cut(values.split("\t"), text.count("\n") + 1))
                return
        rows: list[Row] = []
        for line in text.split("\n"):
            if not line.startswith(head):
                yield self._run(head, rows)
                head, rows = _head_of(line), []
            tail = line[len(head) :]
            row = _unescaped(tail) if "\\" in tail else tuple(tail.split("\t"))
            if len(row) != self._width:
                raise ValueError("a row has too few values, or too many")
            rows.append(row)
        yield self._run(head, rows)

    def _cut(self, values: list[str], count: int) -> list[Row]:
        """The values of so many rows, one row after the other, as rows: a list for each line would cost twice as
        much. (A row that is too short beside one that is too long by as much is not noticed.)"""
        if len(values) != count * self._width:
            raise ValueError("a row has too few values, or too many")
        return list(zip(*[iter(values)] * self._width, strict=True))

    def _run(self, head: str, rows: list[Row]) -> Run:
        if not self._in_order:
            rows = list(map(self._pick_tail, rows))
        timestamp, progressed, state, _ = head.split("\t")
        return Run(timestamp, _BOOLEANS[progressed], state, rows)


def _head_of(line: str) -> str:
    """Its first three values and the tabs behind them. Raises ValueError."""
    end = -1
    for _ in HEAD:
        end = line.index("\t", end + 1)
    return line[: end + 1]


def _unescaped(line: str) -> Row:
    """The values of a line, or of its rest. What stands for a byte by its number (`\\303`) is left alone: neither
    Materialize nor PostgreSQL writes such."""
    return tuple(
        [
            None if value == _NULL else _ESCAPED.sub(_meant, value) if "\\" in value else value
            for value in line.split("\t")
        ]
    )


def _meant(escape: re.Match[str]) -> str:
    return _MEANT.get(escape[1], escape[1])


def _picker(positions: list[int]) -> Callable[[WireRow], Row]:
    """What takes these values from a row, in this order."""
    if len(positions) == 1:
        (position,) = positions
        return lambda row: (row[position],)
    return itemgetter(*positions)
