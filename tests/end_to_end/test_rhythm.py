"""Clients that choose their rhythm, with a real database behind the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_delivery import SCHEMA, TABLE, query
from tests.support.client import BOTH, connected
from tests.support.databases import AnyDatabase
from tests.support.service import serving


@pytest.mark.parametrize("protocol", BOTH)
async def test_batches_and_coalesced_changes_lead_to_the_databases_rows(
    database: AnyDatabase, tmp_path: Path, protocol: str
) -> None:
    database.execute(TABLE + "; INSERT INTO trades SELECT g, 'A', 0, 'x' FROM generate_series(1, 1200) g")
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port, protocol=protocol) as client,
    ):
        lists: list[tuple[list[dict[str, Any]], dict[str, Any]]] = []
        await client.start(
            "batch",
            {"query": "subscription { trades_batch(max_wait_ms: 20) { operation data { id price } timestamp } }"},
        )
        client.on_message(
            "batch",
            lambda message: lists.append(
                (message["payload"]["data"]["trades_batch"], message["payload"].get("extensions", {}))
            ),
        )
        coalesced = await client.subscribe(query(where="(coalesce_ms: 50)"))
        await client.until(lambda: len(coalesced.rows) == 1200 and sum(len(one) for one, _ in lists) == 1200)
        assert [(len(one), told) for one, told in lists] == [
            (500, {"incomplete": True}), (500, {"incomplete": True}), (200, {})
        ]  # fmt: skip
        for price in range(1, 30):
            await database.run("UPDATE trades SET price = %s WHERE id <= 3", (price,))

        def prices() -> dict[int, float]:
            return {update["data"]["id"]: update["data"]["price"] for one, _ in lists for update in one}

        await client.until(lambda: {key: prices()[key] for key in (1, 2, 3)} == dict.fromkeys((1, 2, 3), 29))
        await client.until(lambda: [coalesced.rows[key,]["price"] for key in (1, 2, 3)] == [29] * 3)
        assert sum(len(one) for one, _ in lists) == 1200 + 3 * 29, "a batch has every change"
        assert all(len({update["timestamp"] for update in one}) * 3 == len(one) for one, _ in lists[3:])
