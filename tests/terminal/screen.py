"""A terminal for tests: what it shows of the few sequences that are used, and a process in it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios

WAIT_SECONDS = 20.0


class Screen:
    """What a terminal of this size shows, of the few sequences that are used; anything else is an error."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines, self.broken_lines = columns, lines, 0
        self.rows, self.row, self.column = [[" "] * columns for _ in range(lines)], 0, 0

    def feed(self, text: str) -> None:
        for found in re.finditer(r"\x1b\[(\d*)([A-Za-z])|\x1b|.", text, re.DOTALL):
            if found[2]:
                self._command(int(found[1] or 0), found[2])
            elif found[0] == "\r":
                self.column = 0
            elif found[0] == "\n":
                self.row += 1
                if self.row == self.lines:
                    self.row -= 1
                    self.rows = [*self.rows[1:], [" "] * self.columns]
            else:
                assert found[0].isprintable(), repr(found[0])
                if self.column >= self.columns:
                    self.broken_lines += 1
                    return  # what it would show now depends on the terminal
                self.rows[self.row][self.column] = found[0]
                self.column += 1

    def _command(self, number: int, kind: str) -> None:
        if kind == "A":
            self.row = max(self.row - number, 0)
        elif kind == "K":
            self.rows[self.row][self.column :] = [" "] * (self.columns - self.column)
        elif kind == "J":
            if number == 2:
                self.rows = [[" "] * self.columns for _ in range(self.lines)]
            else:
                self._command(0, "K")
                self.rows[self.row + 1 :] = [[" "] * self.columns for _ in range(self.lines - self.row - 1)]
        elif kind == "H":
            self.row = self.column = 0
        else:
            assert kind == "m", f"an unknown sequence: {kind}"

    @property
    def text(self) -> list[str]:
        shown = ["".join(row).rstrip() for row in self.rows]
        while shown and not shown[-1]:
            shown.pop()
        return shown


class Terminal:
    """A pseudo-terminal with a process in it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.own, self.theirs = pty.openpty()
        self.screen = Screen(columns, lines)
        self.resize(columns, lines)
        self._told = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.own, self._read)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.columns, self.screen.lines = columns, lines
        self.screen.rows = [[" "] * columns for _ in range(lines)]

    def _read(self) -> None:
        self.screen.feed(os.read(self.own, 65536).decode())
        self._told.set()

    async def until(self, *expected: str) -> None:
        """Until the screen shows these lines."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self.screen.text != list(expected):
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise AssertionError("the screen shows:\n" + "\n".join(self.screen.text)) from None

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.own)
        os.close(self.own)
        os.close(self.theirs)
