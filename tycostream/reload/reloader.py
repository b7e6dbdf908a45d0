"""Reads the schema file again when it is asked to, or sees that the file has changed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from tycostream.model import Catalog
from tycostream.reload.changes import Fingerprint, Settled, fingerprint
from tycostream.reload.comparison import Changeover
from tycostream.settings import SettingsError, load_schema

log = logging.getLogger("tycostream.reload")

POLL_SECONDS = 1.0
"""Between two looks at a file. A change is acted upon when it has been at rest for so long."""


class Target(Protocol):
    """What serves the schema: `tycostream.app.Service`."""

    async def apply(self, catalog: Catalog) -> Changeover:
        """Serve this catalog from now on."""

    def keep(self, error: str) -> None:
        """Go on serving what is served; the file can't be used, for this reason."""


class Reloader:
    """See the module. A file that can't be used leaves what is served as it is, and is told of once."""

    def __init__(self, path: Path, target: Target) -> None:
        self._path = path
        self._target = target
        self._asked = asyncio.Event()
        self._error: str | None = None
        # Nothing is known at first: the file may have changed since the service read it
        self._file: Settled[Fingerprint | tuple[()] | None] = Settled(())

    def ask(self) -> None:
        """Read the file soon, whether it has changed or not."""
        self._asked.set()

    async def run(self, poll: float | None) -> None:
        """Read the file whenever that is asked for; and, with `poll`, whenever it has changed: it is looked at every so
        many seconds. Runs until it is cancelled."""
        while True:
            if await self._asked_within(poll):
                await self.reload(asked=True)
            elif self._file.look(fingerprint(self._path)):
                await self.reload()

    async def _asked_within(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def reload(self, *, asked: bool = False) -> None:
        """Read the file and serve what it says. Whatever is wrong with it is logged, again where it was `asked` for."""
        try:
            catalog = await asyncio.to_thread(load_schema, self._path)  # a large file takes its time
            change = await self._target.apply(catalog)
        except SettingsError as error:
            self._keep(str(error), asked=asked)
        except Exception as error:
            log.exception("the schema file could not be applied")
            self._keep(f"unexpected {type(error).__name__}: {error}", asked=False)
        else:
            if asked or self._error is not None or not change.empty:
                log.info("schema file read: %s", change)
            self._error = None

    def _keep(self, error: str, *, asked: bool) -> None:
        self._target.keep(error)
        if asked or error != self._error:
            log.error("the schema file can't be used; what it said before goes on being served. %s", _listed(error))
        self._error = error


def _listed(error: str) -> str:
    problems = error.splitlines()
    return "\n".join(
        [f"{len(problems)} problem{'s' * (len(problems) > 1)}:", *(f"  {problem}" for problem in problems)]
    )
