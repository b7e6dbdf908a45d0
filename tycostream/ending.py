"""What ends the process: a signal, code that has changed, or a failure that nothing inside can mend.

SIGTERM and SIGINT stop the service; SIGUSR1 stops it and tells clients that it is being restarted. A second SIGTERM or
SIGINT ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

EXIT_SUPERVISOR_FAILED = 70
"""EX_SOFTWARE of sysexits.h: an internal error."""

EXIT_SIGNALLED = 128
"""Plus the signal's number, as shells say it: the process was told to end at once."""


@dataclass(frozen=True, slots=True)
class End:
    """Why the process is to end: it was asked to, perhaps to be restarted, or an error that is not to be mended."""

    restart: bool = False
    error: BaseException | None = None


class Ending:
    """Waits for the end. Made on the loop, whose signals it takes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reason: asyncio.Future[End] = self._loop.create_future()
        self._at_once: asyncio.Future[int] = self._loop.create_future()
        self._stopping = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            self._loop.add_signal_handler(number, self._signalled, number)

    def failed(self, error: BaseException | None) -> None:
        """What watches over everything has ended by itself, with this error if any."""
        if not self._reason.done():
            self._reason.set_result(End(error=error or RuntimeError("it stopped")))

    def hung_up(self) -> None:
        """The terminal is gone."""
        self._signalled(signal.SIGHUP)

    def changed(self) -> None:
        """The code has changed: the process is to start again."""
        if not self._reason.done():
            self._reason.set_result(End(restart=True))

    async def wait(self) -> End:
        """Until the process is to end."""
        return await asyncio.shield(self._reason)

    async def hurried(self, stopping: Awaitable[None]) -> int | None:
        """Wait for an orderly end; None once that is over. The number of the signal that asks for it to be at once."""
        self._stopping = True
        work = asyncio.ensure_future(stopping)
        either: list[asyncio.Future[Any]] = [work, self._at_once]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._at_once.done() and not work.done():
            work.cancel()
            await asyncio.wait([work], timeout=0.1)
            return self._at_once.result()
        work.result()
        return None

    def _signalled(self, number: signal.Signals) -> None:
        if not self._reason.done():
            self._reason.set_result(End(restart=number is signal.SIGUSR1))
        elif number is signal.SIGUSR1:
            pass
        elif not self._stopping:  # it has not come to that yet: the start takes its time
            exit_at_once(EXIT_SIGNALLED + number)
        elif not self._at_once.done():
            self._at_once.set_result(int(number))


def exit_at_once(code: int) -> None:
    """End the process without anything that may wait: threads, open files, other tasks."""
    os._exit(code)
