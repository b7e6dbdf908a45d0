"""What clients get, and when: filters, selections, transactions, large snapshots, slow readers, sources that come and go."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from tests.end_to_end.test_bad_input import INIT, frame, shake_hands
from tests.support.client import BOTH, connected
from tests.support.databases import AnyDatabase
from tests.support.materialize.database import MaterializeDatabase
from tests.support.service import serving

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float, note: String}
"""
TABLE = "CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8, note text)"


def query(selection: str = "operation data { id symbol price } fields timestamp", where: str = "") -> str:
    return f"subscription {{ trades{where} {{ {selection} }} }}"


@pytest.mark.parametrize("protocol", BOTH)
async def test_rows_that_enter_and_leave_a_filter_are_inserted_and_deleted(
    database: AnyDatabase, tmp_path: Path, protocol: str
) -> None:
    database.execute(TABLE + "; INSERT INTO trades VALUES (1, 'A', 5, 'x'), (2, 'A', 50, 'x')")
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port, protocol=protocol) as client,
    ):
        dear = await client.subscribe(query(where="(where: {price: {_gt: 10}})"))
        await client.until(lambda: dear.rows)
        for change in (
            "price = 20 WHERE id = 1",
            "price = NULL WHERE id = 2",
            "note = 'y'",
            "symbol = 'B' WHERE id = 1",
        ):
            database.execute(f"UPDATE trades SET {change}")
        await client.until(lambda: len(dear.messages) == 4)
        heard = [(one["operation"], one["data"]["id"], one["fields"]) for one in dear.messages]
        every = ["id", "symbol", "price", "note"]
        # A note that changes is not selected: nothing is sent for it
        assert heard == [("INSERT", 2, every), ("INSERT", 1, every), ("DELETE", 2, every), ("UPDATE", 1, ["symbol"])]


@pytest.mark.parametrize("protocol", BOTH)
async def test_without_data_every_change_is_told(database: AnyDatabase, tmp_path: Path, protocol: str) -> None:
    database.execute(TABLE + "; INSERT INTO trades VALUES (1, 'A', 5, 'x')")
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port, protocol=protocol) as client,
    ):
        heard: list[list[str]] = []
        await client.start("bare", {"query": query("operation fields")})
        client.on_message("bare", lambda message: heard.append(message["payload"]["data"]["trades"]["fields"]))
        await client.until(lambda: heard)
        database.execute("UPDATE trades SET note = 'y'")
        await client.until(lambda: heard[1:] == [["note"]])


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_large_snapshot_leaves_room_for_other_clients(
    database: AnyDatabase, tmp_path: Path, protocol: str
) -> None:
    database.execute(TABLE + "; INSERT INTO trades SELECT g, 'A', g, 'x' FROM generate_series(1, 100000) g")
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port, protocol=protocol) as other,
    ):
        one = await other.subscribe(query(where="(where: {id: {_eq: 1}})"))
        await other.until(lambda: one.rows)
        async with connected(service.port, protocol=protocol) as client:
            everything = await client.subscribe(query())
            await client.until(lambda: len(everything.rows) > 1000)
            database.execute("UPDATE trades SET price = -1 WHERE id = 1")
            await other.until(lambda: one.rows[1,]["price"] == -1)
            assert len(everything.rows) < 100_000, "the other client did not have to wait for the end"
            await client.until(lambda: len(everything.rows) == 100_000 and everything.rows[1,]["price"] == -1)


async def test_a_client_that_does_not_read_ends_with_the_right_rows(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE + "; INSERT INTO trades SELECT g, 'A', 0, repeat('n', 500) FROM generate_series(1, 500) g")
    environ = database.environ | {"OUTBOX_ROWS": "2000"}
    async with serving(tmp_path, SCHEMA, environ) as service:
        reader, writer = await shake_hands(service.port)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader._limit = 1024  # so that asyncio does not read ahead
        message = {
            "id": "1",
            "type": "subscribe",
            "payload": {"query": query("operation data { id price note } timestamp")},
        }
        writer.write(INIT + frame(json.dumps(message).encode()))
        async with connected(service.port) as quick:
            rows = await quick.subscribe(query())
            await quick.until(lambda: len(rows.rows) == 500)
            for number in range(1, 41):
                await database.run("UPDATE trades SET price = %s, note = note || 'x'", (number,))
            await quick.until(lambda: rows.rows[500,]["price"] == 40)
            merging = [one["details"] for one in await service.actors("connection") if one["details"]["merging"]]
            assert len(merging) == 1
            assert merging[0]["outbox_rows"] <= 2000 + 500
        reader._limit = 1 << 20
        prices: dict[int, float] = {}
        timestamps = []
        messages = 0
        while len(prices) < 500 or set(prices.values()) != {40.0}:
            update = await next_update(reader)
            messages += 1
            prices[update["data"]["id"]] = update["data"]["price"]
            timestamps.append(int(update["timestamp"]))
        assert timestamps == sorted(timestamps)
        assert messages < 500 * 41, "not every step was sent"
        writer.transport.abort()


async def next_update(reader: asyncio.StreamReader) -> dict[str, object]:
    """The next update of a raw socket."""
    async with asyncio.timeout(20):
        while True:
            first, size = await reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await reader.readexactly(8), "big")
            payload = await reader.readexactly(size)
            if first == 0x81 and (message := json.loads(payload))["type"] == "next":
                return message["payload"]["data"]["trades"]


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_source_rests_when_nobody_follows_it(database: AnyDatabase, tmp_path: Path, protocol: str) -> None:
    database.execute(TABLE)
    environ = database.environ | {"SOURCE_LINGER_SECONDS": "0.05"}
    async with serving(tmp_path, SCHEMA, environ) as service, connected(service.port, protocol=protocol) as client:
        assert await state_of(service) == "IDLE"
        trades = await client.subscribe(query())
        await until_state(service, "LIVE")
        await client.complete(trades)
        await until_state(service, "IDLE")
        if isinstance(database, MaterializeDatabase):
            await database.simulator.until(lambda: not database.simulator.active_subscribes())
        else:
            await database.until("SELECT count(*) FROM pg_publication_tables", [(0,)])


async def test_a_view_that_is_dropped_and_made_again_heals(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    view = "CREATE VIEW trades AS SELECT id, 'A'::text AS symbol, 1.0::float8 AS price, ''::text AS note FROM t"
    database.execute(view)
    environ = database.environ | {"RECONNECT_MAX_MS": "100", "VIEW_INTERVAL_MS": "5"}
    async with serving(tmp_path, SCHEMA, environ) as service, connected(service.port) as client:
        trades = await client.subscribe(query())
        await client.until(lambda: trades.rows)
        await database.run("DROP VIEW trades; INSERT INTO t VALUES (2)")
        await until_state(service, "FAILED")
        assert len(trades.rows) == 1
        await database.run(view)
        await client.until(lambda: len(trades.rows) == 2)
        await until_state(service, "LIVE")


async def state_of(service: object) -> str:
    (source,) = service.status().sources  # type: ignore[attr-defined]
    return str(source.state)


async def until_state(service: object, wanted: str) -> None:
    async with asyncio.timeout(15):
        while await state_of(service) != wanted:
            await asyncio.sleep(0.005)
