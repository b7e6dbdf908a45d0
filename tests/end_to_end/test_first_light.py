"""From a real table to a real client and back."""

from __future__ import annotations

from pathlib import Path

from tests.support.client import connected
from tests.support.postgres import Database
from tests.support.service import serving

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""
QUERY = "subscription { trades { operation data { id symbol price } fields timestamp event_id } }"


async def test_rows_first_then_every_change(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8)")
    postgres.execute("INSERT INTO trades VALUES (1, 'AAPL', 1.5), (2, NULL, 'NaN')")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, connected(service.port) as client:
        trades = await client.subscribe(QUERY)
        await client.until(lambda: len(trades.rows) == 2)
        assert trades.rows[1,] == {"id": 1, "symbol": "AAPL", "price": 1.5}
        assert trades.rows[2,] == {"id": 2, "symbol": None, "price": None}
        postgres.execute("UPDATE trades SET price = 2 WHERE id = 1")
        postgres.execute("DELETE FROM trades WHERE id = 2")
        await client.until(lambda: len(trades.messages) == 4)
        update, delete = trades.messages[2:]
        assert update | {"timestamp": "", "event_id": ""} == {
            "operation": "UPDATE", "data": {"id": 1, "symbol": None, "price": 2}, "fields": ["price"],
            "timestamp": "", "event_id": "",
        }  # fmt: skip
        assert delete["data"] == {"id": 2, "symbol": None, "price": None}
        assert delete["fields"] == ["id", "symbol", "price"]
