"""`python -m benchmarks [NAME ...]` measures and prints one table; `compare` and `against` are commands beside it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import against, compare, documentation
from benchmarks.measurements import MEASUREMENTS
from benchmarks.one import run
from benchmarks.results import Result, as_json, load, machine, table

QUICK = 0.1


def make_parser() -> argparse.ArgumentParser:
    """The command line without a command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog="Commands: compare OLD.json NEW.json; against URL [URL]. Each has a --help.",
    )
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also draw the figures, as SVG")
    parser.add_argument("--write-docs", action="store_true", help="also write them to docs/performance.md")
    parser.add_argument(
        "--read",
        type=Path,
        metavar="FILE",
        action="append",
        help="take results from what --json wrote, measure nothing",
    )
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="write a flame graph (SVG) of one measurement's loop"
    )
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What is asked for; `command` runs it. Ends the process where that is not known."""
    if arguments and arguments[0] in {"compare", "against"}:
        command = {"compare": compare, "against": against}[arguments[0]]
        return command.parse(arguments[1:])
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    parsed.command = measure
    unknown = set(parsed.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement named {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    if parsed.profile and len(parsed.names) != 1:
        parser.error("--profile is of one measurement: name it")
    return parsed


def measure(parsed: argparse.Namespace) -> int:
    """Returns the exit code: 0 also where a goal is missed, which the table says; 1 where a measurement fails."""
    names, when = parsed.names or list(MEASUREMENTS), time.strftime("%Y-%m-%d")
    failed: list[str] = []
    if parsed.read:
        results, described = _read(parsed.read)
        described.setdefault("when", when)
    else:
        results = asyncio.run(_measure(names, QUICK if parsed.quick else 1.0, parsed.profile, failed))
        described = {"machine": machine(), "when": when}
    print(f"\n{documentation.summary(results, described['machine'], described['when'])}\n\n{table(results)}")
    if parsed.json:
        parsed.json.write_text(as_json(results, **described))
    if parsed.plots:
        parsed.plots.mkdir(parents=True, exist_ok=True)
        for name, drawn in documentation.charts(results).items():
            (parsed.plots / f"{name}.svg").write_text(drawn)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
        return 1
    if parsed.write_docs:
        for file in documentation.write(results, described["machine"], described["when"]):
            print(f"wrote {file}")
    return 0


def _read(files: list[Path]) -> tuple[list[Result], dict[str, str]]:
    """What a later file has of the same name takes the place of what an earlier one has."""
    found: dict[str, Result] = {}
    described: dict[str, str] = {}
    for file in files:
        results, described = load(file)
        found |= {one.name: one for one in results}
    return list(found.values()), described


async def _measure(names: list[str], scale: float, profile: Path | None, failed: list[str]) -> list[Result]:
    results: list[Result] = []
    for name in names:
        print(f"measuring {name}...", flush=True)
        try:
            results += await run(name, scale, profile)
        except RuntimeError:
            failed.append(name)
    return results


if __name__ == "__main__":
    asked = parse(sys.argv[1:])
    sys.exit(asked.command(asked))
