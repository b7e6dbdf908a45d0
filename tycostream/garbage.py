"""When all garbage is collected."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tycostream.metrics import Sample, sample

COLLECT_SECONDS = 60.0

MUCH = 50_000
"""Objects, of some 10 MiB."""


@dataclass(eq=False, slots=True)
class Collections:
    """How often all garbage was collected here, and how long that has taken in seconds."""

    times: int = 0
    seconds: float = 0.0

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        yield sample("tycostream_garbage_collections_total", self.times)
        yield sample("tycostream_garbage_collection_seconds_total", self.seconds)


async def collect_now_and_then(collections: Collections) -> None:
    """Collect all garbage every minute, or more rarely: in a thousandth of the time at most, or in a hundredth where
    there was much.

    What ends here leaves as few rings of objects as can be, but a library's do, and so does a schema. With the
    thresholds of `tune_collector` those that have lived for a while would wait for millions of others.
    """
    wait = COLLECT_SECONDS
    while True:
        await asyncio.sleep(wait)
        began = time.perf_counter()
        found = gc.collect()
        took = time.perf_counter() - began
        collections.times += 1
        collections.seconds += took
        wait = max(COLLECT_SECONDS, (100 if found > MUCH else 1000) * took)
