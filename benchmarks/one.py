"""One measurement in a fresh process (`python -m benchmarks.one`), so that none finds what another has left."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from benchmarks.measurements import MEASUREMENTS
from benchmarks.results import Result, as_json, load
from tycostream.profiling import profiled


async def run(name: str, scale: float, profile: Path | None) -> list[Result]:
    """Run it in a process of its own. Raises RuntimeError where it fails; why is on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results.json"
        options = ["--scale", str(scale), *(("--profile", str(profile)) if profile else ())]
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.one", name, str(out), *options)
        try:
            if await process.wait():
                raise RuntimeError(f"measuring {name} failed")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return load(out)[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """In the new process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one")
    parser.add_argument("name", choices=MEASUREMENTS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--profile", type=Path)
    parsed = parser.parse_args(arguments)

    async def measure() -> list[Result]:
        return await MEASUREMENTS[parsed.name](parsed.scale)

    with profiled(parsed.profile) if parsed.profile else nullcontext():
        results = asyncio.run(measure())
    parsed.out.write_text(as_json(results))


if __name__ == "__main__":
    main()
