"""A client that reads 1 kB a second of 20,000 updates a second: bounded memory, the right end, and others go on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from benchmarks.harness import serving as fed
from benchmarks.slow import HELD, WATCH, feed, outbox, query, slow_reader
from tests.end_to_end.test_bad_input import QUERY, service_and_witness
from tests.support.client import connected
from tests.support.postgres import Database

UPDATES = 2 * HELD
HOLD_ROWS = 10_000


async def test_its_changes_are_merged_and_it_ends_in_the_right_rows() -> None:
    async with (
        fed(HELD) as service,
        connected(service.port) as other,
        slow_reader(service.port, query("CONFLATE")) as one,
    ):
        watched = await other.subscribe(WATCH.replace("fields", "fields timestamp"))
        await other.until(lambda: len(watched.rows) == 100)
        trickling = asyncio.create_task(one.trickle(1024))
        prices = await feed(service, 2, UPDATES)
        await other.until(lambda: all(row["price"] == prices[key] for (key,), row in watched.rows.items()))
        assert len(watched.messages) == 100 * 3, "the other one sees every step"
        told = await outbox(service)
        assert HELD // 2 < told["outbox_rows"] <= HOLD_ROWS + HELD
        assert told["bytes_waiting"] < 20_000_000
        assert told["bytes_pending"] < 4_000_000
        trickling.cancel()
        with suppress(asyncio.CancelledError):
            await trickling
        assert one.updates < 1000
        await one.catch_up(prices)
        assert one.updates < HELD + UPDATES, "steps were merged"


async def test_with_drop_oldest_it_is_told_how_many_changes_it_missed() -> None:
    async with fed(HELD) as service, slow_reader(service.port, query("DROP_OLDEST")) as one:
        await feed(service, 2, UPDATES)
        assert 0 < (await outbox(service))["outbox_rows"] <= 1000
        async with asyncio.timeout(60):
            while one.updates + one.dropped < HELD + UPDATES:
                await one.read(1 << 20)
        assert one.updates + one.dropped == HELD + UPDATES, "nothing is missing without a word"
        assert one.dropped > 0


async def test_with_disconnect_it_is_closed_with_1013() -> None:
    async with fed(HELD) as service, slow_reader(service.port, query("DISCONNECT")) as one:
        await feed(service, 2, UPDATES)
        async with asyncio.timeout(60):
            while one.closed is None:
                await one.read(1 << 20)
        assert one.closed == (1013, f"too slow: more than {HOLD_ROWS} changes wait that are not to be merged")


async def test_the_environment_says_what_becomes_of_slow_clients(postgres: Database, tmp_path: Path) -> None:
    environ = {"SLOW_CONSUMER": "Drop_Oldest", "OUTBOX_DROP_ROWS": "7"}
    async with service_and_witness(postgres, tmp_path, **environ) as (service, _), connected(service.port) as client:
        trades = await client.subscribe(QUERY)
        await client.until(lambda: trades.rows)
        assert [
            one["details"]["subscriptions"][0]["on_slow"] for one in await service.actors("connection")
        ] == ["DROP_OLDEST"] * 2  # fmt: skip
