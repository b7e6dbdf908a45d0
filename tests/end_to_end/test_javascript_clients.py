"""The clients that applications use, in their own language, against the whole service over a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pykka import ActorRegistry
from tornado.httpclient import AsyncHTTPClient

from actors.connection import ConnectionActor
from actors.source_messages import Delivered
from tests.support.node import Script, needs_node, running
from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.app import Service

pytestmark = needs_node

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""
TABLE = """
CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8);
INSERT INTO trades VALUES (1, 'AAPL', 1.5), (2, 'MSFT', 2.5), (3, 'AAPL', NULL);
"""
QUERY = "query Some($most: Int!) { trades(where: {id: {_lte: $most}}) { id symbol price } }"
SUBSCRIPTION = """subscription Some($where: tradesExpression) {
  trades(where: $where) { operation data { id symbol price } fields }
}"""
APPLE = {"symbol": {"_eq": "AAPL"}}

NEW = ["graphql-ws", "apollo-3", "apollo-4", "urql"]
OLD = ["subscriptions-transport-ws", "apollo-3-legacy"]
UNPARSED = ["graphql-ws", "subscriptions-transport-ws"]  # the others parse a document before they send it


class Client:
    """What a client's program tells, by the name of the operation."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def ask(self, what: str, name: str, query: str, **variables: Any) -> None:
        """Start a query or a subscription."""
        self.script.send(do=what, name=name, query=query, variables=variables)

    def told(self, name: str, key: str) -> list[Any]:
        """What an operation was told: `next`, `error` or `complete`."""
        return [one[key] for one in self.script.records if one.get("name") == name and key in one]

    def updates(self, name: str) -> list[tuple[str, Any]]:
        """A subscription's updates: operation and data, without what clients add."""
        found = [one["data"]["trades"] for one in self.told(name, "next")]
        return [(one["operation"], _plain(one["data"])) for one in found]

    def sockets(self, event: str) -> int:
        """How often the client's socket was `connected` or `closed`."""
        return sum(one.get("event") == event for one in self.script.records)

    async def until(self, condition: Callable[[], object]) -> None:
        await self.script.until(condition)


def _plain(row: dict[str, Any]) -> tuple[Any, ...]:
    assert set(row) - {"__typename"} == {"id", "symbol", "price"}
    return row["id"], row["symbol"], row["price"]


@asynccontextmanager
async def client_of(name: str, service: Service) -> AsyncIterator[Client]:
    """A client's program, which is closed at the end and may not have complained about anything."""
    async with running(f"clients/{name}.mjs", f"http://127.0.0.1:{service.port}/graphql") as script:
        yield Client(script)
        await script.end()


async def connections(service: Service) -> list[dict[str, Any]]:
    """The connections as the service knows them."""
    client = AsyncHTTPClient(force_instance=True)
    answer = await client.fetch(f"http://127.0.0.1:{service.port}/debug/actors?kind=connection")
    client.close()
    return list(json.loads(answer.body)["actors"])


@pytest.mark.parametrize("name", NEW + OLD)
async def test_rows_changes_and_queries_reach_the_client(postgres: Database, tmp_path: Path, name: str) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        async with client_of(name, service) as client:
            client.ask("subscribe", "apple", SUBSCRIPTION, where=APPLE)
            client.ask("subscribe", "all", SUBSCRIPTION)
            await client.until(lambda: (len(client.updates("apple")), len(client.updates("all"))) == (2, 3))
            assert sorted(client.updates("apple")) == [("INSERT", (1, "AAPL", 1.5)), ("INSERT", (3, "AAPL", None))]
            assert {one for one, _ in client.updates("all")} == {"INSERT"}
            (connection,) = await connections(service)
            assert len(connection["details"]["subscriptions"]) == 2, "on one socket"

            client.ask("query", "query", QUERY, most=2)
            await client.until(lambda: client.told("query", "next"))
            ((rows,),) = (one["data"].values() for one in client.told("query", "next"))
            assert sorted(map(_plain, rows)) == [(1, "AAPL", 1.5), (2, "MSFT", 2.5)]

            await postgres.run("UPDATE trades SET price = 9 WHERE id = 1")
            await postgres.run("UPDATE trades SET symbol = 'AAPL' WHERE id = 2")  # begins to match
            await postgres.run("UPDATE trades SET symbol = NULL WHERE id = 1")  # no longer matches
            await postgres.run("DELETE FROM trades WHERE id = 3")
            await client.until(lambda: (len(client.updates("apple")), len(client.updates("all"))) == (6, 7))
            assert client.updates("apple")[2:] == [
                ("UPDATE", (1, None, 9)),
                ("INSERT", (2, "AAPL", 2.5)),
                ("DELETE", (1, None, None)),
                ("DELETE", (3, None, None)),
            ]
            assert client.updates("all")[3:] == [
                ("UPDATE", (1, None, 9)),
                ("UPDATE", (2, "AAPL", None)),
                ("UPDATE", (1, None, None)),
                ("DELETE", (3, None, None)),
            ]
            assert [one["data"]["trades"]["fields"] for one in client.told("all", "next")[3:6]] == [
                ["price"], ["symbol"], ["symbol"],
            ]  # fmt: skip

            client.ask("subscribe", "wrong", "subscription { nothing { operation } }")
            await client.until(lambda: client.told("wrong", "error"))
            assert "Cannot query field 'nothing'" in client.told("wrong", "error")[0][0]
            client.ask("subscribe", "misfit", SUBSCRIPTION, where={"id": {"_eq": "one"}})
            await client.until(lambda: client.told("misfit", "error"))
            assert "Int cannot represent" in client.told("misfit", "error")[0][0]

            client.script.send(do="stop", name="apple")
            await client.until(lambda: client.told("apple", "stopped"))
            await postgres.run("INSERT INTO trades VALUES (4, 'AAPL', 4)")
            await client.until(lambda: client.updates("all")[-1] == ("INSERT", (4, "AAPL", 4)))
            assert len(client.updates("apple")) == 6, "nothing more after it was stopped"
            client.ask("subscribe", "again", SUBSCRIPTION, where=APPLE)
            await client.until(lambda: len(client.updates("again")) == 2)
            assert sorted(client.updates("again")) == [("INSERT", (2, "AAPL", 2.5)), ("INSERT", (4, "AAPL", 4))]
            (connection,) = await connections(service)
            assert len(connection["details"]["subscriptions"]) == 2, "the wrong ones and the stopped one are gone"
            assert (client.sockets("connected"), client.sockets("closed")) == (1, 0)
        while await connections(service):
            pass


@pytest.mark.parametrize("name", NEW + OLD)
async def test_equal_subscriptions_get_the_rows_each(postgres: Database, tmp_path: Path, name: str) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, client_of(name, service) as client:
        client.ask("subscribe", "first", SUBSCRIPTION)
        await client.until(lambda: len(client.updates("first")) == 3)
        client.ask("subscribe", "second", SUBSCRIPTION)
        if name == "urql":  # gives both one stream, as docs/clients.md says
            client.ask("query", "query", QUERY, most=0)
            await client.until(lambda: client.told("query", "next"))
            rows = 0
        else:
            rows = 3
        await client.until(lambda: len(client.updates("second")) == rows)
        await postgres.run("UPDATE trades SET price = 9 WHERE id = 1")
        await client.until(lambda: ("UPDATE", (1, None, 9)) in client.updates("first"))
        await client.until(lambda: ("UPDATE", (1, None, 9)) in client.updates("second"))
        assert (len(client.updates("first")), len(client.updates("second"))) == (4, rows + 1)


@pytest.mark.parametrize("name", UNPARSED)
async def test_a_document_that_is_no_graphql_is_an_error(postgres: Database, tmp_path: Path, name: str) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, client_of(name, service) as client:
        client.ask("subscribe", "wrong", "subscription {")
        await client.until(lambda: client.told("wrong", "error"))
        assert "Syntax Error" in client.told("wrong", "error")[0][0]
        client.ask("subscribe", "right", SUBSCRIPTION, where=APPLE)
        await client.until(lambda: len(client.updates("right")) == 2)


@pytest.mark.parametrize("name", NEW + OLD)
async def test_clients_come_back_when_the_service_does(postgres: Database, tmp_path: Path, name: str) -> None:
    postgres.execute(TABLE)
    async with AsyncExitStack() as first:
        service = await first.enter_async_context(serving(tmp_path, SCHEMA, postgres.environ))
        async with client_of(name, service) as client:
            client.ask("subscribe", "all", SUBSCRIPTION)
            await client.until(lambda: len(client.updates("all")) == 3)
            await first.aclose()  # closes the socket with 1001
            await client.until(lambda: client.sockets("closed"))
            async with serving(tmp_path, SCHEMA, postgres.environ | {"GRAPHQL_PORT": str(service.port)}):
                await client.until(lambda: len(client.updates("all")) == 6)
                assert sorted(client.updates("all")[3:]) == sorted(client.updates("all")[:3]), "all rows once more"
                await postgres.run("DELETE FROM trades WHERE id = 2")
                await client.until(lambda: client.updates("all")[-1] == ("DELETE", (2, None, None)))
                assert (client.sockets("connected"), client.told("all", "error")) == (2, [])
                await client.script.end()


@pytest.mark.parametrize("name", NEW)
async def test_clients_come_back_when_their_connection_fails(postgres: Database, tmp_path: Path, name: str) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, client_of(name, service) as client:
        client.ask("subscribe", "all", SUBSCRIPTION)
        await client.until(lambda: len(client.updates("all")) == 3)
        (connection,) = ActorRegistry.get_by_class(ConnectionActor)
        connection.tell(Delivered(None))  # type: ignore[arg-type]
        await client.until(lambda: len(client.updates("all")) == 6)
        assert [one["code"] for one in client.script.records if one.get("event") == "closed"] == [1012]
        assert client.told("all", "error") == []


async def test_every_audit_of_graphql_over_http_is_passed(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        async with running("audits.mjs", f"http://127.0.0.1:{service.port}/graphql") as script:
            await script.end()
        assert [one for one in script.records if one["status"] != "ok"] == []
        assert len(script.records) >= 60, "an audit is missing"
