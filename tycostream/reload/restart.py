"""Starts the process again when its code has changed, for those who work on the code.

Nothing is kept: the process replaces itself, with the command line that it was started with. Code that does not even
start is told of, and the old code goes on running.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from tycostream.reload.changes import Fingerprint, Settled, code_fingerprints

log = logging.getLogger("tycostream.reload")

_TRIAL = "import sys, tycostream.serving; from tycostream.cli import main; sys.exit(main(['check', '--offline']))"
"""Imports everything, and reads settings and schema file."""


class CodeWatch:
    """Looks at the files of these packages every `poll` seconds."""

    def __init__(self, packages: Iterable[ModuleType], poll: float) -> None:
        self._poll = poll
        self._folders = [Path(folder) for package in packages for folder in package.__path__]

    async def changed(self) -> None:
        """Wait until the code has changed, and the new code can be started."""
        files = Settled(await self._look())
        while True:
            await asyncio.sleep(self._poll)
            if files.look(await self._look()):
                error = await _trial()
                if error is None:
                    return
                log.error("the code has changed, but does not start; the old code goes on running.\n%s", error)

    async def _look(self) -> dict[Path, Fingerprint]:
        return await asyncio.to_thread(code_fingerprints, self._folders)


async def _trial() -> str | None:
    """What another process says against the code, the settings and the schema file that are there now."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _TRIAL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return None if process.returncode == 0 else output.decode(errors="replace").strip()


def start_again() -> NoReturn:
    """Replace this process by a new one with the same command line. The loop has ended before."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # the command that started this
