"""When the schema file is read, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tycostream.model import Catalog
from tycostream.reload import Changeover, Reloader, compare
from tycostream.settings.schema_file import load_schema

ONE = "sources: {trades: {primary_key: id, columns: {id: Integer}}}\n"
TWO = "sources: {trades: {primary_key: id, columns: {id: BigInt}}}\n"
BROKEN = "sources: {trades: {primary_key: idd, columns: {id: Integr}}}\n"
POLL = 0.005


class Recorder:
    """Serves a catalog as far as this is of interest here."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.applied: list[str] = []
        self.errors: list[str] = []
        self.fail: Exception | None = None
        self.changed = asyncio.Condition()

    async def apply(self, catalog: Catalog) -> Changeover:
        if self.fail is not None:
            raise self.fail
        change = compare(self.catalog, catalog)
        self.catalog = change.catalog
        self.applied.append(str(change))
        await self._tell()
        return change

    def keep(self, error: str) -> None:
        self.errors.append(error)
        asyncio.ensure_future(self._tell())  # noqa: RUF006  # done within a turn of the loop

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: bool(condition()))


@asynccontextmanager
async def watching(path: Path, poll: float | None = POLL) -> AsyncIterator[tuple[Recorder, Reloader]]:
    path.write_text(ONE)  # noqa: ASYNC240  # a small file of a test
    target = Recorder(load_schema(path))
    reloader = Reloader(path, target)
    running = asyncio.ensure_future(reloader.run(poll))
    try:
        yield target, reloader
    finally:
        running.cancel()
        await asyncio.wait([running])


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tycostream.reload"]


async def test_a_change_is_applied_and_a_broken_file_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "schema.yaml"
    async with watching(path) as (target, _):
        await target.until(lambda: target.applied == ["nothing is different"])  # what it was when it was first seen
        assert told(caplog) == []
        path.write_text(TWO)
        await target.until(lambda: target.applied[1:] == ["changed trades"])
        path.write_text(BROKEN)
        await target.until(lambda: target.errors)
        for text in (BROKEN + "\n", BROKEN + "\n\n"):
            seen = len(target.errors)
            path.write_text(text)
            await target.until(lambda seen=seen: len(target.errors) > seen)
        path.write_text(TWO)
        await target.until(lambda: target.applied[2:] == ["nothing is different"])
    read, broken, mended = told(caplog)
    assert read == "schema file read: changed trades"
    assert mended == "schema file read: nothing is different"
    assert broken.startswith("the schema file can't be used; what it said before goes on being served. 2 problems:\n")
    assert "schema.yaml:1:" in broken
    assert "did you mean id?" in broken
    assert "did you mean Integer?" in broken
    assert len(set(target.errors)) == 1
    assert target.errors[0].splitlines() == [line.strip() for line in broken.splitlines()[1:]]


async def test_a_file_that_is_gone_is_told_and_one_that_comes_back_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "schema.yaml"
    async with watching(path) as (target, _):
        await target.until(lambda: target.applied)
        path.unlink()
        await target.until(lambda: target.errors)
        path.write_text(TWO)
        await target.until(lambda: "changed trades" in target.applied)
    assert len(told(caplog)) == 1
    assert "there is no such file" in told(caplog)[0]


async def test_it_is_read_when_that_is_asked_for_and_told_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "schema.yaml"
    async with watching(path, poll=None) as (target, reloader):
        reloader.ask()
        await target.until(lambda: target.applied == ["nothing is different"])
        path.write_text(BROKEN)
        for number in (1, 2):
            reloader.ask()
            await target.until(lambda number=number: len(target.errors) == number)
        path.write_text(TWO)
        reloader.ask()
        await target.until(lambda: "changed trades" in target.applied)
    assert [text.split(".")[0].split(";")[0] for text in told(caplog)] == [
        "schema file read: nothing is different",
        "the schema file can't be used",
        "the schema file can't be used",
        "schema file read: changed trades",
    ]


async def test_an_error_of_our_own_is_told_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "schema.yaml"
    async with watching(path, poll=None) as (target, reloader):
        target.fail = RuntimeError("oh")
        reloader.ask()
        await target.until(lambda: target.errors == ["unexpected RuntimeError: oh"])
        target.fail = None
        reloader.ask()
        await target.until(lambda: target.applied)
    assert "could not be applied" in caplog.text
    assert "RuntimeError: oh" in caplog.text
