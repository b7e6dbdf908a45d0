"""A source's driver while it runs: started, listened to, and stopped by the source's actor alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from actors.intake import Intake
from actors.source_messages import DriverFailed, EventsWait
from tycostream.databases.driver import DatabaseError, Driver
from tycostream.model import Position

Tell = Callable[[DriverFailed], object]
Remind = Callable[[EventsWait], Callable[[], object]]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class DriverRun:
    """The run of a driver that goes on now, if one does. Runs have numbers: so what is still on its way from an earlier
    one is known for that. `tell` and `remind` are how the source hears of it, `intake` where its events wait."""

    def __init__(self, tell: Tell, remind: Remind, spawn: Spawn) -> None:
        self._tell = tell
        self._remind = remind
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self.number = 0
        self.intake: Intake | None = None

    @property
    def goes_on(self) -> bool:
        """Whether a driver runs."""
        return self._task is not None

    def start(self, driver: Driver, resume: Callable[[], Position | None]) -> None:
        """Run this driver, once this turn is over: only then is it asked from where."""
        self.number += 1
        number = self.number
        intake = self.intake = Intake(self._remind(EventsWait(number)))
        self._task = self._spawn(self._drive(number, driver, intake, resume))

    def stop(self) -> None:
        """Stop it. What it has reported and was not taken is forgotten."""
        self.number += 1
        if self.intake is not None:
            self.intake.close()
            self.intake = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _drive(self, number: int, driver: Driver, intake: Intake, resume: Callable[[], Position | None]) -> None:
        try:
            await driver.run(intake.emit, intake.ready, resume())
        except Exception as error:
            failure: Exception = error
        else:
            failure = DatabaseError("the driver stopped without a reason")
        self._tell(DriverFailed(number, failure))


async def finish(work: Coroutine[Any, Any, None], intake: Intake) -> None:
    """Handle the rest of an event that takes several turns of the loop; then the source may go on."""
    await work
    intake.rest()
