"""Long work on the loop, in pieces: the loop has its turn every few milliseconds, however many such works there are."""

from __future__ import annotations

import asyncio
from time import perf_counter
from types import TracebackType
from typing import ClassVar, Self
from weakref import WeakKeyDictionary

TURN_SECONDS = 0.004


class Turns:
    """`async with Turns() as turns:` do a piece that takes much less than a turn, `await turns.between()`, and so on.

    Works of one loop take turns: between two of its rounds, in which sockets are served, one of them goes on. Such a
    work waits for nothing else.
    """

    _of_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._turn = self._of_loop.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        self._has_it = False
        self._until = 0.0

    async def __aenter__(self) -> Self:
        await self._take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_it:  # not where the work was cancelled while another had its turn
            self._pass_on()

    async def between(self) -> None:
        """Let the loop and the others go on, if this work has gone on for a turn."""
        if perf_counter() >= self._until:
            await asyncio.sleep(0)  # while it is nobody else's turn: sockets have theirs
            self._pass_on()
            await self._take()

    async def _take(self) -> None:
        await self._turn.acquire()
        self._has_it = True
        self._until = perf_counter() + TURN_SECONDS

    def _pass_on(self) -> None:
        self._has_it = False
        self._turn.release()
