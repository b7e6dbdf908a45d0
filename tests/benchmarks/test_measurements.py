"""The measurements run, and lose no message; their figures are no test's business."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import table
from benchmarks.measurements import MEASUREMENTS


@pytest.mark.parametrize("name", MEASUREMENTS)
async def test_a_measurement_runs(name: str) -> None:
    results = await MEASUREMENTS[name](0.01)
    assert results
    assert len(table(results).splitlines()) == len(results) + 2


def test_a_name_that_is_not_known_is_told() -> None:
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert f"no measurement named nothing; there are {', '.join(MEASUREMENTS)}" in run.stderr
