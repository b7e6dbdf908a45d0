"""The loop's delay is measured while it is wanted, and by nobody afterwards."""

from __future__ import annotations

import asyncio
import time

from tests.metrics.test_exposition import read
from tycostream.metrics import LoopDelay
from tycostream.metrics.loop_delay import DELAY


async def test_what_keeps_the_loop_is_seen() -> None:
    delay = LoopDelay(every=0.01)

    async def value(name: str) -> float:
        return (await read({"service": list(delay.samples())})).value(name)

    delay.start()
    try:
        async with asyncio.timeout(20):
            while await value(f"{DELAY}_count") < 3:
                await asyncio.sleep(0.01)
        before = await value(f"{DELAY}_sum")
        time.sleep(0.3)  # noqa: ASYNC251  # as whatever holds the loop
        async with asyncio.timeout(20):
            while await value("tycostream_loop_delay_highest_seconds") < 0.25:
                await asyncio.sleep(0.01)
        assert await value(f"{DELAY}_sum") >= before + 0.25
    finally:
        delay.stop()
    count = await value(f"{DELAY}_count")
    await asyncio.sleep(0.03)
    assert await value(f"{DELAY}_count") == count
