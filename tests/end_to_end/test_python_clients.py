"""Python's gql as its users use it, over both WebSocket protocols, against the whole service with a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.app import Service

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""
TABLES = """
CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8);
INSERT INTO trades VALUES (1, 'AAPL', 1.5), (2, 'MSFT', 2.5);
"""
TRADES = "subscription { trades { operation data { id symbol price } fields } }"
OFFERS = {"graphql-transport-ws": ["graphql-transport-ws"], "graphql-ws": ["graphql-ws"], "both": None}
WAIT_SECONDS = 20.0


@pytest.fixture(params=OFFERS)
def offer(request: pytest.FixtureRequest) -> str:
    """What the client offers."""
    chosen: str = request.param
    return chosen


@asynccontextmanager
async def service_of(postgres: Database, folder: Path, **environ: str) -> AsyncIterator[Service]:
    postgres.execute(TABLES)
    async with serving(folder, SCHEMA, postgres.environ | environ) as service:
        yield service


@asynccontextmanager
async def session_with(
    service: Service, offer: str, *, fetch_schema: bool = False, **options: Any
) -> AsyncIterator[AsyncClientSession]:
    """A session of gql's client, as its documentation opens it."""
    url = f"ws://127.0.0.1:{service.port}/graphql"
    transport = WebsocketsTransport(url=url, subprotocols=OFFERS[offer], **options)
    async with (
        asyncio.timeout(WAIT_SECONDS),
        Client(transport=transport, fetch_schema_from_transport=fetch_schema) as session,
    ):
        assert transport.subprotocol == ("graphql-ws" if offer == "graphql-ws" else "graphql-transport-ws")
        yield session


async def subscriptions_of(service: Service, count: int) -> None:
    """Until the service's clients have so many subscriptions between them."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            connections = await service.actors("connection")
            if sum(len(one["details"]["subscriptions"]) for one in connections) == count:
                return


async def test_gql_queries(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        query = gql("query Rows($symbol: String!) { trades(where: {symbol: {_eq: $symbol}}) { id price } }")
        for symbol, row in (("AAPL", {"id": 1, "price": 1.5}), ("MSFT", {"id": 2, "price": 2.5})):
            query.variable_values = {"symbol": symbol}
            assert await session.execute(query) == {"trades": [row]}


async def test_gql_fetches_the_schema_and_validates(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer, fetch_schema=True) as session:
        assert session.client.schema is not None
        assert "tradesUpdate" in session.client.schema.type_map
        assert await session.execute(gql("{ trades_by_pk(id: 2) { symbol } }")) == {"trades_by_pk": {"symbol": "MSFT"}}


async def test_gql_subscribes_to_rows_and_then_to_changes(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        updates = aiter(session.subscribe(gql(TRADES)))
        first = [(await anext(updates))["trades"] for _ in range(2)]
        assert {update["operation"] for update in first} == {"INSERT"}
        assert sorted(update["data"]["symbol"] for update in first) == ["AAPL", "MSFT"]
        await postgres.run("UPDATE trades SET price = 9 WHERE id = 1; DELETE FROM trades WHERE id = 2")
        assert [(await anext(updates))["trades"] for _ in range(2)] == [
            {"operation": "UPDATE", "data": {"id": 1, "symbol": None, "price": 9.0}, "fields": ["price"]},
            {
                "operation": "DELETE",
                "data": {"id": 2, "symbol": None, "price": None},
                "fields": ["id", "symbol", "price"],
            },
        ]
        await updates.aclose()


@pytest.mark.parametrize("operation", ["subscription", "query"])
async def test_gql_raises_the_error_of_a_document_and_goes_on(
    postgres: Database, tmp_path: Path, offer: str, operation: str
) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        with pytest.raises(TransportQueryError) as raised:
            async for _ in session.subscribe(gql(f"{operation} {{ trades {{ nothing alike }} }}")):
                pass
        assert raised.value.errors is not None
        told = str(raised.value.errors)
        assert "Cannot query field 'nothing'" in told
        assert "Cannot query field 'alike'" in told
        assert await session.execute(gql("{ __typename }")) == {"__typename": "Query"}


async def test_gql_raises_the_error_of_a_variable(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        text = "subscription Of($id: Int!) { trades(where: {id: {_eq: $id}}) { operation } }"
        with pytest.raises(TransportQueryError, match="id"):
            await anext(aiter(session.subscribe(GraphQLRequest(text, variable_values={"id": "one"}))))


async def test_gql_stops_a_subscription_and_the_others_go_on(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        updates = aiter(session.subscribe(gql(TRADES)))
        async with aclosing(session.subscribe(gql(TRADES))) as stopped:
            await anext(aiter(stopped))
            for _ in range(2):
                await anext(updates)
            await subscriptions_of(service, 2)
        await subscriptions_of(service, 1)
        await postgres.run("UPDATE trades SET price = 9 WHERE id = 1")
        assert (await anext(updates))["trades"]["data"]["price"] == 9
        await updates.aclose()
        await subscriptions_of(service, 0)


async def test_gql_runs_several_operations_on_one_socket(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        everybody = asyncio.Barrier(5)

        async def first_of(symbol: str) -> Any:
            where = f'(where: {{symbol: {{_eq: "{symbol}"}}}})'
            async with aclosing(session.subscribe(gql(TRADES.replace("trades", "trades" + where)))) as updates:
                inserted = (await anext(aiter(updates)))["trades"]["data"]["id"]
                await everybody.wait()
                changed = (await anext(aiter(updates)))["trades"]["data"]["price"]
                return inserted, changed

        async def change() -> None:
            await everybody.wait()
            await postgres.run("UPDATE trades SET price = price * 10")

        answers = await asyncio.gather(
            *(first_of(symbol) for symbol in ("AAPL", "MSFT") * 2),
            session.execute(gql("{ trades_by_pk(id: 1) { symbol } }")),
            change(),
        )
        assert answers[:4] == [(1, 15.0), (2, 25.0)] * 2
        assert answers[4] == {"trades_by_pk": {"symbol": "AAPL"}}
        assert len(await service.actors("connection")) == 1


async def test_gql_is_told_of_the_end(postgres: Database, tmp_path: Path, offer: str) -> None:
    async with service_of(postgres, tmp_path) as service, session_with(service, offer) as session:
        updates = aiter(session.subscribe(gql(TRADES)))
        for _ in range(2):
            await anext(updates)
        await service.stop()
        with pytest.raises(TransportConnectionFailed) as raised:
            await anext(updates)
        assert isinstance(raised.value.__cause__, ConnectionClosed)
        assert raised.value.__cause__.rcvd is not None
        assert raised.value.__cause__.rcvd.code == 1001


async def test_gql_leaves_and_nothing_is_left(postgres: Database, tmp_path: Path, offer: str) -> None:
    """Over graphql-ws it says connection_terminate."""
    async with service_of(postgres, tmp_path) as service:
        async with session_with(service, offer) as session:
            updates = aiter(session.subscribe(gql(TRADES)))
            await anext(updates)
            await updates.aclose()
        async with asyncio.timeout(WAIT_SECONDS):
            while await service.actors("connection"):
                await asyncio.sleep(0)
