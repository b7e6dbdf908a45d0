"""Queries from outside, over HTTP and over a WebSocket: from a real table, ordered and by key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.client import BOTH, LEGACY_WS, TRANSPORT_WS, connected
from tests.support.postgres import Database
from tests.support.service import serving

SCHEMA = """
enums:
  side: [buy, hold, sell]
sources:
  trades:
    primary_key: id
    columns: {id: BigInt, symbol: String, side: side, price: Numeric, at: Timestamp, tags: Array, paid: Boolean, ref: UUID}
  quotes:
    primary_key: [symbol, at]
    columns: {symbol: String, at: Timestamp, bid: Float}
  fees:
    primary_key: rate
    columns: {rate: Numeric, name: String}
  orders:
    primary_key: ref
    columns: {ref: UUID, side: side}
"""
TABLES = """
CREATE TYPE side AS ENUM ('buy', 'hold', 'sell');
CREATE TABLE trades (id int8 PRIMARY KEY, symbol text COLLATE "C", side side, price numeric, at timestamptz, tags text[],
    paid bool, ref uuid);
INSERT INTO trades
    SELECT n, chr(65 + n * 7 % 5), (ARRAY['sell', 'buy', NULL, 'hold'])[1 + n % 4]::side, nullif(n * 37 % 50, 0) / 4.0,
        timestamptz '2024-01-01 00:00+00' + (n * 31 % 17) * interval '1111 years', ARRAY[chr(97 + n % 3), NULL], n % 3 = 0,
        gen_random_uuid() FROM generate_series(1, 100) n;
INSERT INTO trades (id, price, at) VALUES (9007199254740993, 'NaN', '0044-03-15 BC'), (-1, 'Infinity', 'infinity');
CREATE TABLE quotes (symbol text, at timestamptz, bid float8, PRIMARY KEY (symbol, at));
INSERT INTO quotes VALUES ('AAPL', '2024-01-02 03:04:05.6+00', 1.5), ('AAPL', '0044-03-15 BC', 2);
CREATE TABLE fees (rate numeric(6, 3) PRIMARY KEY, name text); INSERT INTO fees VALUES (1.5, 'high'), (0.5, 'low');
CREATE TABLE orders (ref uuid PRIMARY KEY, side side); INSERT INTO orders VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'hold');
"""

Ask = Callable[[str, "dict[str, Any] | None"], Awaitable[dict[str, Any]]]


@asynccontextmanager
async def http(port: int) -> AsyncIterator[Ask]:
    client = AsyncHTTPClient(force_instance=True)

    async def ask(query: str, variables: dict[str, Any] | None) -> dict[str, Any]:
        answer = await client.fetch(
            f"http://127.0.0.1:{port}/graphql",
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps({"query": query, "variables": variables}),
        )
        return json.loads(answer.body)  # type: ignore[no-any-return]

    yield ask
    client.close()


@asynccontextmanager
async def websocket(port: int, protocol: str = TRANSPORT_WS.protocol) -> AsyncIterator[Ask]:
    async with connected(port, protocol=protocol) as client:

        async def ask(query: str, variables: dict[str, Any] | None) -> dict[str, Any]:
            heard: list[dict[str, Any]] = []
            client.on_message("query", heard.append)
            await client.start("query", {"query": query, "variables": variables})
            await client.until(lambda: heard and heard[-1]["type"] in ("complete", "error"))
            if heard[0]["type"] == "error":
                errors = heard[0]["payload"]  # under the older protocol one, which has the others if there are any
                return {"errors": errors if isinstance(errors, list) else errors.get("errors", [errors])}
            assert [message["type"] for message in heard] == [BOTH[protocol].result, "complete"]
            return heard[0]["payload"]  # type: ignore[no-any-return]

        yield ask


def older_websocket(port: int) -> AbstractAsyncContextManager[Ask]:
    return websocket(port, LEGACY_WS.protocol)


WAYS = pytest.mark.parametrize("way", [http, websocket, older_websocket])


@WAYS
async def test_rows_in_the_order_of_the_database(postgres: Database, tmp_path: Path, way: Any) -> None:
    postgres.execute(TABLES)
    query = 'query ($by: [trades_order_by!]) { trades(where: {id: {_neq: "7"}}, order_by: $by, limit: 60, offset: 20) { id } }'
    orders: list[tuple[list[dict[str, str]], str]] = [
        ([], "id"),
        ([{"symbol": "desc"}, {"price": "asc"}], "symbol DESC NULLS FIRST, price ASC NULLS LAST, id"),
        ([{"side": "asc_nulls_first"}, {"paid": "desc_nulls_last"}], "side NULLS FIRST, paid DESC NULLS LAST, id"),
        ([{"at": "desc"}, {"tags": "asc"}], "at DESC NULLS FIRST, tags NULLS LAST, id"),
        ([{"at": "asc", "symbol": "desc"}], "at, symbol DESC NULLS FIRST, id"),
        ([{"ref": "desc"}], "ref DESC, id"),
    ]  # fmt: skip
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, way(service.port) as ask:
        for by, order in orders:
            expected = postgres.execute(
                f"SELECT id::text AS text FROM trades WHERE id <> 7 ORDER BY {order} LIMIT 60 OFFSET 20"
            )
            answer = await ask(query, {"by": by})
            assert [row["id"] for row in answer["data"]["trades"]] == [id_ for (id_,) in expected], order
        answer = await ask("{ trades(order_by: {price: null}) { id } }", None)
        assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}
        assert "price: null is no direction" in answer["errors"][0]["message"]


@WAYS
async def test_rows_by_keys_as_clients_write_them(postgres: Database, tmp_path: Path, way: Any) -> None:
    postgres.execute(TABLES)
    cases: list[tuple[str, dict[str, Any] | None]] = [
        ('t: trades_by_pk(id: "+009007199254740993") { price }', {"price": "NaN"}),
        ('t: trades_by_pk(id: "-1") { price }', {"price": "Infinity"}),
        ('t: trades_by_pk(id: "101") { price }', None),
        ('q: quotes_by_pk(symbol: "AAPL", at: "2024-01-02T05:04:05.600+02:00") { bid }', {"bid": 1.5}),
        ('q: quotes_by_pk(at: "2024-01-02T03:04:05.6Z", symbol: "AAPL") { bid }', {"bid": 1.5}),
        ('q: quotes_by_pk(symbol: "AAPL", at: "0044-3-15 BC") { bid }', {"bid": 2}),
        ('q: quotes_by_pk(symbol: "aapl", at: "2024-01-02T03:04:05.6Z") { bid }', None),
        ('f: fees_by_pk(rate: "1.5") { name }', {"name": "high"}),
        ('f: fees_by_pk(rate: "0.500") { name }', {"name": "low"}),
        ('f: fees_by_pk(rate: "2") { name }', None),
        ('o: orders_by_pk(ref: "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11") { side }', {"side": "hold"}),
        ('o: orders_by_pk(ref: "a0eebc999c0b4ef8bb6d6bb9bd380a11") { side }', {"side": "hold"}),
    ]
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, way(service.port) as ask:
        for query, expected in cases:
            (found,) = (await ask(f"{{ {query} }}", None))["data"].values()
            assert found == expected, query
        await postgres.run("UPDATE orders SET side = 'sell'")
        async with asyncio.timeout(10):
            while (await ask(f"{{ {cases[-1][0]} }}", None))["data"]["o"]["side"] != "sell":
                await asyncio.sleep(0.01)


@WAYS
async def test_a_query_waits_for_its_source_and_no_longer(postgres: Database, tmp_path: Path, way: Any) -> None:
    postgres.execute(TABLES)
    environ = postgres.environ | {"QUERY_TIMEOUT_SECONDS": "0.3"}
    lock = postgres.connect()
    with lock.cursor() as cursor:
        cursor.execute("LOCK TABLE orders")  # nobody can copy it
    query = '{ orders { side } o: orders_by_pk(ref: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11") { side } }'
    try:
        async with serving(tmp_path, SCHEMA, environ) as service, way(service.port) as ask:
            answer = await ask(query, None)
            assert answer["data"] is None
            assert answer["errors"][0]["path"] == ["orders"]
            assert answer["errors"][0]["extensions"] == {"code": "SOURCE_UNAVAILABLE"}
            assert "source orders has no rows yet" in answer["errors"][0]["message"]
            single = await ask('{ orders_by_pk(ref: "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11") { side } }', None)
            assert single["data"] == {"orders_by_pk": None}
            assert single["errors"][0]["extensions"] == {"code": "SOURCE_UNAVAILABLE"}
            lock.rollback()
            async with asyncio.timeout(10):
                while "errors" in (answer := await ask(query, None)):
                    await asyncio.sleep(0.01)
            assert answer == {"data": {"orders": [{"side": "hold"}], "o": {"side": "hold"}}}
    finally:
        lock.close()
