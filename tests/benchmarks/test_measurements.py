"""The measurements run, and lose no message; their figures are no test's business."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import documentation
from benchmarks.measurements import MEASUREMENTS
from benchmarks.results import Result, as_json, load, table

ROOT = Path(__file__).parents[2]
TINY = 0.01


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks` with these."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", MEASUREMENTS)
async def test_a_measurement_runs(name: str, tmp_path: Path) -> None:
    results = await MEASUREMENTS[name](TINY)
    assert results
    assert all(one.shown() for one in results)
    assert len({one.name for one in results}) == len(results), "runs are compared by name"
    assert len(table(results).splitlines()) == len(results) + 2
    assert {point.figure for one in results for point in one.points} <= set(documentation.CHARTS)
    (tmp_path / "results.json").write_text(as_json(results))
    assert load(tmp_path / "results.json")[0] == results


async def test_a_run_writes_results_figures_and_a_profile(tmp_path: Path) -> None:
    out, plots, profile = tmp_path / "results.json", tmp_path / "plots", tmp_path / "loop.svg"
    options = "--json", str(out), "--plots", str(plots), "--profile", str(profile)
    finished = await asyncio.to_thread(run, "latency", "--quick", *options)
    assert finished.returncode == 0, finished.stderr
    assert "| latency, 20,000 rows/s to 1 client | ≤ p99 2.00 ms | plain sends: p50" in finished.stdout
    results = load(out)[0]
    assert len(results) == len(json.loads(out.read_text())["results"]) == 2
    assert "<svg" in (plots / "latency.svg").read_text()
    assert "actors.source.SourceActor." in profile.read_text()
    again = run("--read", str(out), "--json", str(tmp_path / "again.json"))
    assert again.returncode == 0, again.stderr
    assert load(tmp_path / "again.json") == load(out)


def test_a_name_that_is_not_known_is_told() -> None:
    finished = run("nothing")
    assert finished.returncode == 2
    assert f"no measurement named nothing; there are {', '.join(MEASUREMENTS)}" in finished.stderr


def test_a_measurement_that_fails_is_an_exit_code(tmp_path: Path) -> None:
    finished = run("sharing", "--quick", "--profile", str(tmp_path / "missing" / "loop.svg"))
    assert finished.returncode == 1
    assert "failed: sharing" in finished.stderr


def test_the_page_gets_table_and_figures_and_keeps_its_words(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("Before.\n\n<!-- measured -->\nold\n<!-- /measured -->\n\nAfter.\n")
    from benchmarks.results import Goal, Point

    result = Result(
        "one", cpu_per_message=2.5, goal=Goal("cpu_per_message", at_most=3), points=(Point("filters", "_eq", 10, 2.5),)
    )
    written = documentation.write([result], "a machine", "today", tmp_path)
    text = page.read_text()
    assert text.startswith("Before.\n\n<!-- measured -->\n\nMeasured today on a machine. 1 of 1 goals were reached.")
    assert "old" not in text
    assert text.endswith("<!-- /measured -->\n\nAfter.\n")
    assert "| one | ≤ 3.00 µs CPU |  | 2.50 µs CPU |  | pass |" in text
    assert [file.name for file in written] == ["performance.md", "performance-filters.svg"]
    assert "(images/performance-filters.svg)" in text
    assert "performance-clients.svg" not in text
    documentation.write([result], "a machine", "today", tmp_path)
    assert page.read_text() == text
    page.write_text("no markers")
    with pytest.raises(ValueError, match="has not both"):
        documentation.write([result], "a machine", "today", tmp_path)


def test_goals_and_what_was_missed() -> None:
    from benchmarks.results import Goal

    assert Result("a", ratio=0.85, goal=Goal("ratio", at_least=0.85)).passes
    assert not Result("a", ratio=0.84, goal=Goal("ratio", at_least=0.85)).passes
    assert not Result("a", p99=2.1, goal=Goal("p99", at_most=2)).passes
    assert Result("a", p99=2.1).passes is None
    missed = Result("a", p99=1.0, goal=Goal("p99", at_most=2), missed="the pace was not kept")
    assert not missed.passes
    assert "the pace was not kept" in table([missed])
    assert "**below**" in table([missed])
