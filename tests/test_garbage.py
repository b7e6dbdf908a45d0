"""Garbage in rings does not wait for the collector's thresholds."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from tycostream import garbage


class Ring:
    def __init__(self) -> None:
        self.me = self


async def test_rings_that_have_lived_for_a_while_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "COLLECT_SECONDS", 0.01)
    ring = Ring()
    gc.collect()  # it is among the oldest objects now
    gone = weakref.ref(ring)
    del ring
    gc.disable()
    collections = garbage.Collections()
    collecting = asyncio.create_task(garbage.collect_now_and_then(collections))
    try:
        async with asyncio.timeout(20):
            while gone() is not None:
                await asyncio.sleep(0.01)
            while not collections.times:
                await asyncio.sleep(0)
    finally:
        gc.enable()
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
    assert 0 < collections.seconds < 20
