"""Programs of tests/javascript in a process of Node.js. Where it or the packages are not installed, their tests are skipped."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.needs import needs

WAIT_SECONDS = 30.0
FOLDER = Path(__file__).parent.parent / "javascript"
NODE = shutil.which("node")


def _missing() -> str | None:
    if NODE is None:
        return "Node.js is not installed"
    # scripts/test leaves a copy of the lock file beside what it installed
    installed = FOLDER / "node_modules" / ".installed.json"
    if not installed.exists():
        return "the packages of tests/javascript are not installed: scripts/test does it"
    if installed.read_bytes() != (FOLDER / "package-lock.json").read_bytes():
        return "the packages of tests/javascript are out of date: scripts/test installs them"
    return None


def _missing_runner() -> str | None:
    if NODE is None:
        return "Node.js is not installed"
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    found = tuple(int(part) for part in version.strip().removeprefix("v").split("."))
    return None if found >= (20, 4) else "Node.js is older than 20.4, whose test runner can move the clock"


MISSING = _missing()
needs_node = needs(MISSING)
needs_node_runner = needs(_missing_runner())
"""For tests that are written in JavaScript and need no packages: see `run_tests`."""


def run_tests(file: Path, **environ: str) -> None:
    """Run a file of tests with Node's own runner; fails with its report where one of them does."""
    assert NODE is not None
    command = [NODE, "--test", "--test-reporter=spec", str(file)]
    ended = subprocess.run(
        command, env=os.environ | environ, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


class Script:
    """A program that is told JSON lines, and tells JSON lines. `records` are those that it has told."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._told = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())
        self._complaints = asyncio.ensure_future(self._read_complaints())
        self.records: list[Any] = []

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.records.append(json.loads(line))
            async with self._told:
                self._told.notify_all()
        async with self._told:
            self._told.notify_all()

    async def _read_complaints(self) -> str:
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode()

    def send(self, **command: Any) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that it tells makes the condition true."""
        async with self._told:
            met = self._told.wait_for(lambda: bool(condition()) or self._reader.done())
            try:
                await asyncio.wait_for(met, WAIT_SECONDS)
            except TimeoutError:
                raise AssertionError(f"it told {self.records}") from None
        assert condition(), f"it ended: {self.records} {await self._complaints}"

    async def end(self) -> None:
        """Nothing more is told to it: wait until it ends, without a complaint."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), WAIT_SECONDS)
        await self._reader
        assert (self._process.returncode, await self._complaints) == (0, "")

    async def kill(self) -> None:
        """Make an end of it, whatever it does."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._reader, self._complaints)


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[Script]:
    """Any program that tells JSON lines, in tests/javascript."""
    process = await asyncio.create_subprocess_exec(*command, cwd=FOLDER, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    script = Script(process)
    try:
        yield script
    finally:
        await script.kill()


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Script]:
    """Node.js with these arguments."""
    assert MISSING is None, MISSING
    assert NODE is not None
    async with started(NODE, *arguments) as script:
        yield script
