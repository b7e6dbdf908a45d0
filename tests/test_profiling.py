"""The profiler names what the main thread does, and draws it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from itertools import count, islice
from pathlib import Path
from types import CodeType
from xml.etree import ElementTree

import pytest

from tests.end_to_end.test_process import QUERY, TABLE, running
from tests.support.client import connected
from tests.support.postgres import Database
from tycostream import profiling
from tycostream.profiling import Profiler, flame_graph, profiled

SVG = "{http://www.w3.org/2000/svg}"


def titles(text: str) -> list[str]:
    """What each box of a graph tells."""
    return [one.text or "" for one in ElementTree.fromstring(text).iter(f"{SVG}title")]


def busy(seconds: float) -> int:
    """Uses so much CPU."""
    end, number = time.process_time() + seconds, 0
    while time.process_time() < end:
        number += 1
    return number


def test_what_is_busy_is_named_with_its_share(tmp_path: Path) -> None:
    file = tmp_path / "loop.svg"

    async def main() -> None:
        busy(0.3)
        await asyncio.sleep(0.3)

    before = [signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGUSR2)]
    with profiled(file) as profiler:
        asyncio.run(main())
        os.kill(os.getpid(), signal.SIGUSR2)
        busy(0.01)  # the signal is heard between two instructions
        assert titles(file.read_text()), "written when it was asked for"
    assert [signal.getsignal(number) for number in (signal.SIGPROF, signal.SIGUSR2)] == before
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    mine = sum(count for stack, count in profiler.collapsed().items() if "test_profiling.busy" in stack)
    total = sum(profiler.collapsed().values())
    assert mine > 0.8 * total, "waiting is not sampled"
    assert 20 <= total <= 120
    (shown,) = [title for title in titles(file.read_text()) if title.startswith("asyncio.events.Handle._run:")]
    assert float(shown.split(": ")[1].rstrip("%")) > 80


def test_a_graph_shows_callers_below_and_shares() -> None:
    root = ElementTree.fromstring(flame_graph({"a.main;a.<lambda>": 3, "a.main": 1}))
    boxes = {(group.findtext(f"{SVG}title") or ""): group.find(f"{SVG}rect") for group in root.iter(f"{SVG}g")}
    assert set(boxes) == {"all: 100.0%", "a.main: 100.0%", "a.<lambda>: 75.0%"}
    main, called = boxes["a.main: 100.0%"], boxes["a.<lambda>: 75.0%"]
    assert main is not None
    assert called is not None
    assert float(main.get("y", "")) > float(called.get("y", ""))
    assert float(called.get("width", "")) == pytest.approx(0.75 * float(main.get("width", "")), abs=0.1)


def test_samples_may_be_taken_while_the_graph_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    profiler = Profiler()
    profiler._sample(signal.SIGPROF, sys._getframe())

    def interrupted(code: CodeType) -> str:
        profiler._stacks[(code, code)] += 1
        return code.co_name

    monkeypatch.setattr(profiling, "name_of", interrupted)
    assert list(profiler.collapsed().values()) == [1]


def test_no_sample_is_an_empty_graph() -> None:
    assert titles(flame_graph({})) == []


def test_a_file_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), profiled(tmp_path / "missing" / "loop.svg"):
        pytest.fail("nothing is to run")
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def drawn(file: Path) -> bool:
    """Whether the graph has what each service does."""
    found = " ".join(titles(file.read_text() or "<svg/>"))
    wanted = "asyncio.base_events.BaseEventLoop._run_once", "actors.runtime.Dispatcher._run", "SourceActor."
    return all(name in found for name in wanted)


async def test_a_service_writes_its_loop_upon_a_signal_and_at_its_end(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    file = tmp_path / "loop.svg"
    async with running(tmp_path, postgres.environ, "--profile", str(file)) as service:
        await service.get("/ready")
        async with connected(service.port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: trades.rows)
            numbers = count(2)
            async with asyncio.timeout(60):
                while not drawn(file):  # until it has had enough to do
                    for number in islice(numbers, 200):
                        postgres.execute("INSERT INTO trades VALUES (%s, 'AAPL')", (number,))
                    await client.until(lambda last=number: len(trades.rows) == last)
                    service.process.send_signal(signal.SIGUSR2)
                    await service.get("/health")
        service.process.send_signal(signal.SIGTERM)
        code, output = await service.ended()
    assert code == 0, output
    assert drawn(file)
    assert not file.with_name("loop.svg.part").exists()


async def test_a_profile_that_cannot_be_written_is_a_mistake_like_others(postgres: Database, tmp_path: Path) -> None:
    async with running(tmp_path, postgres.environ, "--profile", "missing/loop.svg") as service:
        code, output = await service.ended()
    assert code == 2
    assert "--profile: missing/loop.svg can't be written: No such file or directory" in output
