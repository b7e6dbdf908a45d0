"""`python -m benchmarks [--quick] [--json FILE] [NAME ...]`: run measurements and print one table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import Result
from benchmarks.measurements import MEASUREMENTS

COLUMNS = ("rows/s", "messages/s", "CPU µs/message", "p50 ms", "p99 ms", "MiB", "of limit", "")


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    return parser


def main() -> None:
    """Run what was asked for."""
    parser = make_parser()
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no measurement named {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    results: list[Result] = []
    for name in arguments.names or MEASUREMENTS:
        print(f"measuring {name}...", flush=True)
        results += asyncio.run(_run(name, 0.1 if arguments.quick else 1.0))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{machine}\n\n{table(results)}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine, "results": [asdict(one) for one in results]}, indent=1)
        )


async def _run(name: str, scale: float) -> list[Result]:
    return await MEASUREMENTS[name](scale)


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join((one.name, *_cells(one))) + " |" for one in results]
    return "\n".join(lines)


def _cells(one: Result) -> list[str]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        shown(one.rows_per_second, ",.0f"),
        shown(one.messages_per_second, ",.0f"),
        shown(one.cpu_per_message, ".2f"),
        shown(one.p50, ".2f"),
        shown(one.p99, ".2f"),
        shown(one.resident, ".0f"),
        shown(one.ratio, ".0%"),
        one.note,
    ]


if __name__ == "__main__":
    main()
