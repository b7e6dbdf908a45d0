"""Two runs side by side: what has become worse, by the limit that was measured beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import parse
from benchmarks.results import Result, as_json


def compared(folder: Path, old: list[Result], new: list[Result], *options: str) -> int:
    """The exit code."""
    files = folder / "old.json", folder / "new.json"
    for file, results in zip(files, (old, new), strict=True):
        file.write_text(as_json(results))
    parsed = parse(["compare", *map(str, files), *options])
    code: int = parsed.command(parsed)
    return code


def test_a_machine_that_is_slower_is_no_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = [Result("fan-out", cpu_per_message=5.0, ratio=0.9), Result("row", bytes_each=500), Result("alone", p99=1.0)]
    new = [Result("fan-out", cpu_per_message=50.0, ratio=0.85), Result("row", bytes_each=520), Result("alone", p99=9.0)]
    assert compared(tmp_path, old, new) == 0
    assert "| fan-out | of limit | 90% | 85% | -6% |  |" in capsys.readouterr().out


@pytest.mark.parametrize(("old", "new", "tolerance", "code"), [
    (Result("a", ratio=0.9), Result("a", ratio=0.7), "0.15", 1),
    (Result("a", ratio=0.9), Result("a", ratio=0.7), "0.3", 0),
    (Result("a", ratio=0.9, p99=1.0), Result("a", ratio=0.6, p99=2.0), "0.15", 0),  # a latency
    (Result("a", ratio=0.9, p99=1.0), Result("a", ratio=0.4, p99=2.0), "0.15", 1),
    (Result("a", bytes_each=500), Result("a", bytes_each=700), "0.15", 1),
    (Result("a", bytes_each=700), Result("a", bytes_each=500), "0.15", 0),
])  # fmt: skip
def test_what_is_worse_is_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: Result, new: Result, tolerance: str, code: int
) -> None:
    assert compared(tmp_path, [old], [new], "--tolerance", tolerance) == code
    assert ("WORSE" in capsys.readouterr().out) is bool(code)


def test_nothing_in_common_is_no_success(tmp_path: Path) -> None:
    assert compared(tmp_path, [Result("a", ratio=0.9)], [Result("b", ratio=0.9)]) == 1


def test_what_is_not_measured_any_more_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = [Result("a", ratio=0.9), Result("b", ratio=0.9)]
    assert compared(tmp_path, old, old[:1]) == 0
    assert "| b | | | not measured | | |" in capsys.readouterr().out
