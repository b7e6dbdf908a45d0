"""When all garbage is collected."""

from __future__ import annotations

import asyncio
import gc
import time

COLLECT_SECONDS = 60.0


async def collect_now_and_then() -> None:
    """Collect all garbage every minute, or more rarely: in a thousandth of the time at most.

    A socket that is closed leaves a ring of objects, and so does a schema. With the thresholds of `tune_collector`
    those that have lived for a while would wait for millions of others: clients that come and go made a service grow by
    9 MiB a minute.
    """
    wait = COLLECT_SECONDS
    while True:
        await asyncio.sleep(wait)
        began = time.perf_counter()
        gc.collect()
        wait = max(COLLECT_SECONDS, 1000 * (time.perf_counter() - began))
