"""Following a running service: what is shown, how it comes back, and what it says where it can't."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from tests.support.postgres import Database
from tests.support.service import serving
from tests.terminal.support import ROWS, SCHEMA, TABLE, WAIT_SECONDS, Recorder, cutting, following, url_of
from tycostream.terminal.client import LostError, RefusedError
from tycostream.terminal.follow import Wanted, follow
from tycostream.terminal.table import TableColumn


async def test_key_and_columns_come_from_the_service_and_changes_follow(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        async with following(Wanted(url_of(service.port), "trades")) as view:
            await view.until(lambda: len(view.updates) == 2)
            assert view.columns == [
                TableColumn("id", True),
                TableColumn("symbol"),
                TableColumn("price", True),
                TableColumn("day"),
            ]
            assert view.key == ["id", "day"]
            postgres.execute("UPDATE trades SET price = 3 WHERE id = 1; DELETE FROM trades WHERE id = 2")
            await view.until(lambda: len(view.updates) == 4)
        insert, _, update, delete = view.updates
        assert (insert["operation"], insert["data"]) == (
            "INSERT",
            {"id": 1, "day": "2024-01-02", "symbol": "AAPL", "price": 1.5},
        )
        assert (update["operation"], update["fields"], update["data"]["price"]) == ("UPDATE", ["price"], 3)
        assert (delete["operation"], delete["data"]["id"]) == ("DELETE", 2)
        assert int(delete["timestamp"]) >= int(update["timestamp"])
        assert not view.losses


async def test_filter_columns_and_limit(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        wanted = Wanted(url_of(service.port), "trades", "{price: {_gt: 2}}", ["price", "symbol"], updates=1)
        view = Recorder()
        await asyncio.wait_for(follow(wanted, view), WAIT_SECONDS)
        assert [column.name for column in view.columns] == ["price", "symbol"]
        assert [update["data"] for update in view.updates] == [
            {"id": 2, "day": "2024-01-03", "price": 2.5, "symbol": None}
        ]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"source": "trade"}, "there is no source trade; did you mean trades?"),
        ({"source": "tradesUpdate"}, "there is no source tradesUpdate; did you mean trades?"),
        ({"source": "} { x"}, "there is no source } { x; there are trades"),
        ({"columns": ["id", "pric"]}, "--columns: there is no column pric; did you mean price?"),
        ({"where": "{pric: {_gt: 1}}"}, "Expected value of type 'tradesExpression' not to include unknown field 'pric'. Did you mean 'price'? Found: { pric: { _gt: 1 } }."),
        ({"where": "{price: "}, "--where: Syntax Error: Unexpected <EOF>."),
        ({"where": "{price: {_gt: $x}}"}, "--where: Syntax Error: Unexpected variable '$x' in constant value."),
        ({"where": "{}) { operation } } #"}, "--where: Syntax Error: Expected <EOF>, found ')'."),
        ({"where": "1"}, '--where: expected an object such as {symbol: {_eq: "AAPL"}}'),
    ],
)  # fmt: skip
async def test_what_the_service_does_not_accept_is_told(
    postgres: Database, tmp_path: Path, wanted: dict[str, Any], told: str
) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        asked = Wanted(**{"url": url_of(service.port), "source": "trades"} | wanted)
        with pytest.raises(RefusedError) as refused:
            await asyncio.wait_for(follow(asked, Recorder()), WAIT_SECONDS)
    assert refused.value.reasons == (told,)


async def test_after_a_restart_of_the_service_the_rows_come_again(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with AsyncExitStack() as stack:
        async with serving(tmp_path, SCHEMA, postgres.environ) as service:
            port = service.port
            view = await stack.enter_async_context(following(Wanted(url_of(port), "trades")))
            await view.until(lambda: len(view.updates) == 2)
        await view.until(lambda: len(view.losses) >= 3)  # gone, and not back yet
        stopped, refused, again = view.losses[:3]
        assert stopped == (
            "the connection was closed: 1001 the server is being stopped; rows cleared, trying again in 0.02 s"
        )
        assert refused.endswith("Connection refused; rows cleared, trying again in 0.04 s")
        assert again.endswith("trying again in 0.08 s")
        await postgres.run("UPDATE trades SET price = 7 WHERE id = 1")
        async with serving(tmp_path, SCHEMA, postgres.environ | {"GRAPHQL_PORT": str(port)}):
            await view.until(lambda: len(view.updates) == 4)
        assert view.starts == 2
        came = [(update["operation"], update["data"]["price"]) for update in view.updates[2:]]
        assert sorted(came) == [("INSERT", 2.5), ("INSERT", 7)]


async def test_a_connection_that_is_cut_is_made_again(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with (
        serving(tmp_path, SCHEMA, postgres.environ) as service,
        cutting(service.port) as cable,
        following(Wanted(url_of(cable.port), "trades")) as view,
    ):
        for rounds in (1, 2, 3):
            await view.until(lambda rounds=rounds: len(view.updates) == 2 * rounds)
            assert view.starts == rounds
            cable.cut()
            await view.until(lambda rounds=rounds: len(view.losses) == rounds)
            assert view.losses[-1].startswith("the connection was closed: ")
            assert view.losses[-1].endswith("again in 0.02 s")  # an update came between, so the wait is the first again


async def test_a_service_that_is_not_there_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(LostError, match=r"can't connect to ws://127.0.0.1:.*Connection refused"):
        await asyncio.wait_for(follow(Wanted(url_of(port), "trades"), Recorder()), WAIT_SECONDS)


class OtherServer(WebSocketHandler):
    """Answers what the test wants, and speaks the protocol or not."""

    def initialize(self, protocol: str | None, answer: str, code: int | None) -> None:
        self.protocol, self.answer, self.code = protocol, answer, code

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return self.protocol

    async def on_message(self, message: str | bytes) -> None:
        if self.answer:
            await self.write_message(self.answer)
        if self.code:
            self.close(self.code, "so it is")


@pytest.mark.parametrize(
    ("protocol", "answer", "code", "told"),
    [
        (None, "", None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", "hello", None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", "[]", None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", '{"type": "connection_error"}', None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", '{"type": "ping"}', 4401, "the service closed the connection: 4401 so it is"),
    ],
)  # fmt: skip
async def test_other_servers(protocol: str | None, answer: str, code: int | None, told: str) -> None:
    options = {"protocol": protocol, "answer": answer, "code": code}
    async with listening_for(Application([("/graphql", OtherServer, options)])) as port:
        with pytest.raises(RefusedError) as refused:
            await asyncio.wait_for(follow(Wanted(url_of(port), "trades"), Recorder()), WAIT_SECONDS)
    assert refused.value.reasons == (told,)


class EndingServer(WebSocketHandler):
    """Speaks the protocol, wants a pong first, tells of a source, and ends each subscription after one row."""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[0]

    async def on_message(self, text: str | bytes) -> None:
        message = json.loads(text)
        if message["type"] == "connection_init":
            await self.write_message({"type": "ping"})
            return
        if message["type"] == "pong":
            await self.write_message({"type": "connection_ack"})
            return
        query = message["payload"]["query"]
        if "__schema" in query:
            fields = [{"name": "id", "type": {"kind": "NON_NULL", "name": None, "ofType": {"name": "Int"}}}]
            followed = [{"name": "trades", "type": {"ofType": {"name": "tradesUpdate"}}}]
            data: dict[str, Any] = {
                "__schema": {"subscriptionType": {"fields": followed}}, "__type": {"fields": fields},
            }  # fmt: skip
        else:
            data = {
                "trades": {
                    "operation": "INSERT",
                    "data": {"id": 1},
                    "fields": ["id"],
                    "timestamp": "1",
                    "event_id": "x",
                }
            }
        await self.write_message({"id": message["id"], "type": "next", "payload": {"data": data}})
        await self.write_message({"id": message["id"], "type": "complete"})


async def test_a_subscription_that_the_service_ends_is_begun_again() -> None:
    async with listening_for(Application([("/graphql", EndingServer)])) as port:
        async with following(Wanted(url_of(port), "trades")) as view:
            await view.until(lambda: view.starts == 3)
        assert view.losses[0] == "the service ended the subscription; rows cleared, trying again in 0.02 s"
        assert len(view.updates) == 2


@asynccontextmanager
async def listening_for(application: Application) -> AsyncIterator[int]:
    """The port of an HTTP server."""
    server = HTTPServer(application)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        server.add_socket(listening)
        try:
            yield listening.getsockname()[1]
        finally:
            server.stop()
            await server.close_all_connections()
