"""When all garbage is collected."""

from __future__ import annotations

import asyncio
import gc
import time

COLLECT_SECONDS = 60.0

MUCH = 50_000
"""Objects, of some 10 MiB."""


async def collect_now_and_then() -> None:
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
        wait = max(COLLECT_SECONDS, (100 if found > MUCH else 1000) * (time.perf_counter() - began))
