"""`python -m benchmarks compare OLD.json NEW.json`: what has become worse, by the limits measured beside.

Two runs on different machines, or on one that is busier, can be compared by the share of the limit that each
measurement reached. What has no limit but is a size in bytes is compared as it is. Times and rates without a limit
follow the machine and are not compared. Latencies drift most: they are given three times the tolerance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Result, load

TOLERANCE = 0.15
LATENCY_FACTOR = 3


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement in both runs. `change` is the share by which it is better (above 0) or worse."""

    name: str
    figure: str
    old: float
    new: float
    change: float
    tolerance: float

    @property
    def worse(self) -> bool:
        """By more than is tolerated."""
        return self.change < -self.tolerance


def compare(old: Sequence[Result], new: Sequence[Result], tolerance: float) -> list[Compared]:
    """What both runs have and can be compared."""
    before = {one.name: one for one in old}
    found = []
    for after in new:
        was = before.get(after.name)
        if was is None:
            continue
        if was.ratio is not None and after.ratio is not None and was.ratio > 0:
            allowed = tolerance * (LATENCY_FACTOR if after.p99 is not None else 1)
            change = after.ratio / was.ratio - 1
            found.append(Compared(after.name, "of limit", was.ratio, after.ratio, change, allowed))
        elif was.bytes_each and after.bytes_each:
            change = was.bytes_each / after.bytes_each - 1
            found.append(Compared(after.name, "bytes", was.bytes_each, after.bytes_each, change, tolerance))
    return found


def missing(old: Sequence[Result], new: Sequence[Result]) -> list[str]:
    """Measurements that the new run does not have: a regression that nobody would see."""
    names = {one.name for one in new}
    return [one.name for one in old if one.name not in names and one.ratio is not None]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare", description=__doc__)
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, metavar="SHARE", help="default: 0.15")
    parser.set_defaults(command=run)
    return parser.parse_args(arguments)


def run(parsed: argparse.Namespace) -> int:
    """Exit code: 0 where nothing is worse, 1 where something is."""
    (old, was), (new, now) = load(parsed.old), load(parsed.new)
    found, gone = compare(old, new, parsed.tolerance), missing(old, new)
    if not found:
        print("The two runs have nothing in common that can be compared.")
        return 1
    print(f"old: {was['machine']}\nnew: {now['machine']}\n")
    print("| | | old | new | change | |\n| --- | --- | --- | --- | --- | --- |")
    for one in found:
        form = ".0%" if one.figure == "of limit" else ",.0f"
        cells = one.name, one.figure, format(one.old, form), format(one.new, form), f"{one.change:+.0%}"
        print(f"| {' | '.join(cells)} | {'WORSE' if one.worse else ''} |")
    for name in gone:
        print(f"| {name} | | | not measured | | |")
    worse = sum(one.worse for one in found)
    print(f"\n{worse} of {len(found)} are worse by more than is tolerated.")
    return 1 if worse else 0
