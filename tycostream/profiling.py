"""Where the loop spends its time: a profiler that samples, and writes a flame graph as SVG.

The kernel interrupts the process each time it has used so much CPU (setitimer's ITIMER_PROF, getitimer(2)); what the
main thread, in which the loop runs, does then is counted. Python hears of a signal between two of its instructions: a
long call into C counts for whoever made it. A loop that waits uses no CPU and is not sampled.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import CodeType, FrameType
from typing import Any
from xml.sax.saxutils import escape

log = logging.getLogger("tycostream.profiling")

SAMPLE_SECONDS = 0.004
"""CPU time between two samples."""

WIDTH, ROW, MARGIN = 1200, 17, 40
LEAST_WIDTH = 0.4
"""Boxes narrower than this are left out; what they hold still counts in those below."""

LETTER = 6.6
COLOURS = {
    "tycostream": "#f4a259",
    "actors": "#e76f51",
    "generated": "#e9c46a",
    "asyncio": "#8ab6d6",
    "tornado": "#7cc0a8",
}
OTHERS = "#c9ced6"

Stack = tuple[CodeType, ...]


@contextmanager
def profiled(file: Path) -> Iterator[Profiler]:
    """Sample the main thread while the body runs; write the flame graph at the end, and whenever SIGUSR2 comes.

    For the main thread alone. Raises OSError at once where the file can't be written.
    """
    file.write_text("")  # now, and not after a day, one should hear that this is not possible
    profiler = Profiler()

    def asked(_number: int, _frame: FrameType | None) -> None:
        try:
            profiler.write(file)
        except OSError as error:  # whatever the signal has interrupted is not to end of it
            log.warning("the profile could not be written: %s", error)

    before = signal.signal(signal.SIGUSR2, asked)
    profiler.start()
    try:
        yield profiler
    finally:
        profiler.stop()
        signal.signal(signal.SIGUSR2, before)
        profiler.write(file)


class Profiler:
    """Samples from `start` to `stop`."""

    def __init__(self) -> None:
        self._stacks: Counter[Stack] = Counter()
        self._before: Any = None

    def start(self) -> None:
        """Begin to sample. Raises ValueError in another than the main thread."""
        self._before = signal.signal(signal.SIGPROF, self._sample)
        signal.siginterrupt(signal.SIGPROF, False)  # system calls go on
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def stop(self) -> None:
        """Sample no more. The timer would outlive even the program, should another one take the process over."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)  # one may be on its way
        signal.signal(signal.SIGPROF, self._before)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._stacks[tuple(reversed(stack))] += 1

    def collapsed(self) -> dict[str, int]:
        """Samples by stack: the names of functions from the outermost on, with `;` between them."""
        found: Counter[str] = Counter()
        for stack, count in list(self._stacks.items()):  # a sample may be taken meanwhile
            found[";".join(map(name_of, stack))] += count
        return dict(found)

    def write(self, file: Path) -> None:
        """The flame graph so far. Whoever reads the file meanwhile finds a whole one."""
        part = file.with_name(f"{file.name}.part")
        part.write_text(flame_graph(self.collapsed()), encoding="utf-8")
        part.replace(file)


def name_of(code: CodeType) -> str:
    """`module.qualified_name`; of code that was generated at run time, `generated.` and its name."""
    path = PurePath(code.co_filename)
    if code.co_filename.startswith("<frozen "):
        return f"{code.co_filename[8:-1]}.{code.co_qualname}"
    if path.suffix != ".py":
        return f"generated.{code.co_qualname}"
    parts = list(path.with_suffix("").parts)
    for root in ("site-packages", f"python{_VERSION}"):
        if root in parts:
            parts = parts[len(parts) - parts[::-1].index(root) :]
            break
    else:
        known = [at for at, part in enumerate(parts) if part in _OWN]
        parts = parts[known[-1] :] if known else parts[-1:]
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return f"{'.'.join(parts)}.{code.co_qualname}"


_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_OWN = ("tycostream", "actors", "benchmarks")


@dataclass(slots=True)
class _Box:
    """A function in the graph, and those that it called."""

    samples: int = 0
    above: dict[str, _Box] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + max((box.depth() for box in self.above.values()), default=0)


def flame_graph(collapsed: Mapping[str, int]) -> str:
    """SVG: the wider a box, the more samples were in it; callers stand below those whom they called. A box tells its
    share when the pointer rests on it."""
    root = _Box()
    for stack, samples in collapsed.items():
        root.samples += samples
        box = root
        for name in stack.split(";"):
            box = box.above.setdefault(name, _Box())
            box.samples += samples
    height = MARGIN + root.depth() * ROW + 10
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    told = f"The loop: {root.samples} samples, {root.samples * SAMPLE_SECONDS:.1f} s of CPU"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="ui-monospace, monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="20" font-size="14">{told}</text>',
    ]
    if root.samples:
        _draw(root, "all", 0.0, height - 10 - ROW, WIDTH / root.samples, root.samples, parts)
    return "\n".join([*parts, "</svg>\n"])


def _draw(box: _Box, name: str, x: float, y: float, scale: float, total: int, parts: list[str]) -> None:
    width = box.samples * scale
    if width < LEAST_WIDTH:
        return
    colour = COLOURS.get(name.partition(".")[0], OTHERS)
    fits = int((width - 6) / LETTER)
    short = name if len(name) <= fits else f"{name[: fits - 1]}…" if fits > 3 else ""
    parts.append(
        f'<g><title>{escape(name)}: {box.samples / total:.1%}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" '
        f'height="{ROW - 1}" rx="1" fill="{colour}" stroke="#ffffff" stroke-width="0.5"/>'
        f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(short)}</text></g>'
    )
    for called in sorted(box.above):
        _draw(box.above[called], called, x, y - ROW, scale, total, parts)
        x += box.above[called].samples * scale
