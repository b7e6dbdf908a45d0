"""The measurements by name. Each takes a scale: below 1 makes it shorter, and below 0.1 only shows that it works."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.fanout import fanout
from benchmarks.filters import filters
from benchmarks.firehose import firehose
from benchmarks.latency import latency
from benchmarks.materialize import ingest
from benchmarks.memory import memory
from benchmarks.results import Result
from benchmarks.sharing import sharing
from benchmarks.slow import slow
from benchmarks.snapshot import snapshot
from benchmarks.storm import storm
from benchmarks.triggers import triggers
from benchmarks.workers import workers

MEASUREMENTS: dict[str, Callable[[float], Awaitable[list[Result]]]] = {
    "firehose": firehose,
    "snapshot": snapshot,
    "fanout": fanout,
    "sharing": sharing,
    "filters": filters,
    "triggers": triggers,
    "latency": latency,
    "memory": memory,
    "storm": storm,
    "slow": slow,
    "materialize": ingest,
    "workers": workers,
}
