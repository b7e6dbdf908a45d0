"""How updates are shown: as JSON lines, as lines for people, or as a table that is drawn again in place."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TextIO

from tycostream.terminal.cells import shown
from tycostream.terminal.table import Table, TableColumn

DRAW_SECONDS = 0.05
"""The least time between two drawings of the table."""


class View(Protocol):
    """What is shown of a subscription."""

    def start(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        """A subscription begins; its rows come from the first again."""

    def update(self, update: Mapping[str, Any]) -> None:
        """One update."""

    def lost(self, message: str) -> None:
        """The connection is gone: the rows are not known any more."""

    def finish(self) -> None:
        """The end."""


class JsonLines:
    """A JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def start(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        """See `View`."""

    def update(self, update: Mapping[str, Any]) -> None:
        """See `View`."""
        print(json.dumps(update, ensure_ascii=False), file=self._out, flush=True)

    def lost(self, message: str) -> None:
        """See `View`."""
        print(message, file=sys.stderr, flush=True)

    def finish(self) -> None:
        """See `View`."""


class PlainLines(JsonLines):
    """A line an update: the operation, the key, and what changed."""

    def start(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        """See `View`."""
        self._names = [column.name for column in columns]
        self._key = tuple(key)

    def update(self, update: Mapping[str, Any]) -> None:
        """See `View`."""
        operation, data = update["operation"], update["data"]
        told = () if operation == "DELETE" else update["fields"]
        names = [*self._key, *(name for name in self._names if name in told and name not in self._key)]
        values = "  ".join(f"{name}={shown(data[name])}" for name in names)
        print(f"{operation:<6}  {values}", file=self._out, flush=True)


class LiveTable:
    """A table in a terminal. `size` gives its columns and lines; escape sequences are those of ECMA-48."""

    def __init__(self, out: TextIO, size: Callable[[], tuple[int, int]], *, color: bool) -> None:
        self._out = out
        self._size = size
        self._color = color
        self._table = Table((), ())
        self._drawn = 0
        self._drawn_for: tuple[int, int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        """See `View`."""
        self._table = Table(columns, key)
        self._draw()

    def update(self, update: Mapping[str, Any]) -> None:
        """See `View`."""
        self._table.apply(update)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DRAW_SECONDS, self._draw)

    def lost(self, message: str) -> None:
        """See `View`."""
        self._table.clear()
        self._erase()
        self._out.flush()
        print(message, file=sys.stderr, flush=True)
        self._draw()

    def finish(self) -> None:
        """See `View`."""
        if self._timer is not None:
            self._draw()

    def _draw(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        size = self._size()
        if self._drawn_for not in (None, size):
            self._out.write("\x1b[2J\x1b[H")  # lines that were broken by the new width can't be found again
            self._drawn = 0
        self._drawn_for = size
        columns, lines = size
        # The last column stays free: with a full line, terminals differ in where the cursor is. So does the last line.
        rendered = self._table.render(max(columns - 1, 1), max(lines - 1, 3), color=self._color)
        self._out.write(self._home() + "".join(f"{line}\x1b[K\n" for line in rendered) + "\x1b[J")
        self._out.flush()
        self._drawn = len(rendered)

    def _home(self) -> str:
        return f"\x1b[{self._drawn}A\r" if self._drawn else ""

    def _erase(self) -> None:
        self._out.write(self._home() + "\x1b[J")
        self._drawn = 0


def choose_view(*, as_json: bool) -> View:
    """The view for standard output: a table where it is a terminal that can draw one."""
    if as_json:
        return JsonLines(sys.stdout)
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return PlainLines(sys.stdout)

    def size() -> tuple[int, int]:
        found = os.get_terminal_size(sys.stdout.fileno())
        return found.columns or 80, found.lines or 24

    return LiveTable(sys.stdout, size, color="NO_COLOR" not in os.environ)
