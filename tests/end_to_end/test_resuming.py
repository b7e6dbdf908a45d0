"""Clients whose sockets are cut come back with a cursor: over every kind of database they end with its answer, and are
told no more than they missed as long as that is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.end_to_end.test_any_history import SCHEMA, TABLES, statements
from tests.support.client import BOTH, TRANSPORT_WS, GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.app import Service

QUICK = {"POLL_INTERVAL_MS": "30", "VIEW_INTERVAL_MS": "5", "SOURCE_LINGER_SECONDS": "60"}
WISHES = [  # source, key, columns, GraphQL filter, the same in SQL
    ("accounts", "id", "id kind amount note", None, "true"),
    ("accounts", "id", "id amount", {"kind": {"_eq": "a"}}, "kind = 'a'"),
    ("totals", "kind", "kind total", None, "true"),
]


class Follower:
    """A subscription that goes on with its last cursor, as the recipe of docs/clients.md does."""

    def __init__(
        self, source: str, key: str, columns: str, where: dict[str, Any] | None, condition: str, *, marks: bool = False
    ) -> None:
        self.source, self.key, self.columns, self.where, self.condition = source, key, columns.split(), where, condition
        self.marks = marks
        self.rows: dict[Any, dict[str, Any]] = {}
        self.cursor: str | None = None
        self.heard: list[dict[str, Any]] = []
        self.error: dict[str, Any] | None = None
        self.field, self.arguments = source, ""
        self.left = 1_000_000
        """Messages that it hears before it is cut."""

    async def subscribe(self, client: GraphQLClient, operation_id: str) -> None:
        query = (
            f"subscription ($where: {self.source}Expression, $cursor: String, $marks: Boolean) {{"
            f" {self.field}(where: $where, resume_from: $cursor, snapshot_marks: $marks {self.arguments})"
            f" {{ operation data {{ {' '.join(self.columns)} }} fields cursor snapshot }} }}"
        )
        self.heard = []
        client.on_message(operation_id, self.hear)
        variables = {"where": self.where, "cursor": self.cursor, "marks": self.marks}
        await client.start(operation_id, {"query": query, "variables": variables})

    def hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "error":
            payload = message["payload"]
            self.error = payload[0] if isinstance(payload, list) else payload
            return
        (told,) = message["payload"]["data"].values()
        for update in told if isinstance(told, list) else [told]:
            if self.left:
                self.left -= 1
                self.apply(update)

    def apply(self, update: dict[str, Any]) -> None:
        self.heard.append(update)
        self.cursor = update["cursor"]
        if update["snapshot"] == "RESET":
            self.rows.clear()
        if (data := update["data"]) is None:
            return
        key = data[self.key]
        if update["operation"] == "INSERT":
            self.rows[key] = data
        elif update["operation"] == "DELETE":
            self.rows.pop(key, None)
        else:
            self.rows[key] |= {name: data[name] for name in update["fields"] if name in data}

    @property
    def marks_heard(self) -> list[str | None]:
        return [update["snapshot"] for update in self.heard]

    def answer(self, database: AnyDatabase) -> dict[Any, dict[str, Any]]:
        """The database's own rows."""
        rows = database.execute(f"SELECT {', '.join(self.columns)} FROM {self.source} WHERE {self.condition}")
        named = [dict(zip(self.columns, row, strict=True)) for row in rows]
        for row in named:
            if row.get("total") is not None:
                row["total"] = str(row["total"])
        return {row[self.key]: row for row in named}

    async def settle(self, client: GraphQLClient, database: AnyDatabase) -> None:
        expected = self.answer(database)
        try:
            await client.until(lambda: self.rows == expected)
        except TimeoutError:
            assert (self.error, self.heard[-5:], self.rows) == (None, self.heard[-5:], expected)


SMALL = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""
TRADES = "CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8); INSERT INTO trades VALUES (1, 'A', 1), (2, 'B', 2)"


def trades(**wishes: Any) -> Follower:
    return Follower("trades", "id", "id symbol price", None, "true", **wishes)


async def miss(
    service: Service, database: AnyDatabase, follower: Follower, protocol: str = TRANSPORT_WS.protocol
) -> None:
    """Follow, be cut, and come back after three changes of which somebody else has been told."""
    async with connected(service.port) as other:
        seen = trades()
        await seen.subscribe(other, "o")
        async with connected(service.port, protocol=protocol) as client:
            await follower.subscribe(client, "1")
            await follower.settle(client, database)
        for write in (
            "UPDATE trades SET price = 10 WHERE id = 1",
            "INSERT INTO trades VALUES (3, 'C', 3)",
            "DELETE FROM trades WHERE id = 2",
        ):
            await database.run(write)
        await seen.settle(other, database)
        async with connected(service.port, protocol=protocol) as client:
            await follower.subscribe(client, "1")
            await follower.settle(client, database)


@pytest.mark.parametrize("protocol", BOTH)
async def test_who_comes_back_is_told_what_was_missed_alone(
    database: AnyDatabase, tmp_path: Path, protocol: str
) -> None:
    database.execute(TRADES)
    async with serving(tmp_path, SMALL, database.environ) as service:
        follower = trades()
        await miss(service, database, follower, protocol)
        assert [(one["operation"], one["data"], one["snapshot"]) for one in follower.heard] == [
            ("UPDATE", {"id": 1, "symbol": None, "price": 10}, None),
            ("INSERT", {"id": 3, "symbol": "C", "price": 3}, None),
            ("DELETE", {"id": 2, "symbol": None, "price": None}, None),
        ]


@pytest.mark.parametrize(
    ("field", "arguments"), [("trades", "coalesce_ms: 20"), ("trades_batch", "max_rows: 2, max_wait_ms: 20")]
)
async def test_so_is_who_chose_a_rhythm(database: AnyDatabase, tmp_path: Path, field: str, arguments: str) -> None:
    database.execute(TRADES)
    async with serving(tmp_path, SMALL, database.environ) as service:
        follower = trades(marks=True)
        follower.field, follower.arguments = field, arguments
        await miss(service, database, follower)
        assert [(one["operation"], one["snapshot"]) for one in follower.heard] == [
            ("UPDATE", None), ("INSERT", None), ("DELETE", None), ("UPDATE", "END")
        ]  # fmt: skip


async def test_beyond_what_is_remembered_a_marked_snapshot_follows(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TRADES)
    async with serving(tmp_path, SMALL, database.environ | {"RECENT_CHANGES_ROWS": "2"}) as service:
        follower = trades(marks=True)
        await miss(service, database, follower)
        assert follower.marks_heard[:2] == ["RESET", "ROW"]
        async with connected(service.port) as client:
            await follower.subscribe(client, "1")
            await client.until(lambda: "END" in follower.marks_heard)
            assert follower.marks_heard == ["END"]
            await database.run("DELETE FROM trades")
            await follower.settle(client, database)
        await database.run("INSERT INTO trades VALUES (1, 'A', 1)")
        await database.run("DELETE FROM trades")
    if isinstance(database, MaterializeDatabase):
        database.simulator.world.compact(database.simulator.world.frontier - 1)
    async with serving(tmp_path, SMALL, database.environ) as service, connected(service.port) as client:
        await follower.subscribe(client, "1")
        await client.until(lambda: "END" in follower.marks_heard)
        assert [(one["snapshot"], one["data"]) for one in follower.heard] == [("RESET", None), ("END", None)]


async def test_a_restart_is_told_as_a_new_beginning_where_the_database_keeps_no_history(
    postgres: Database, tmp_path: Path
) -> None:
    database = postgres
    database.execute(TRADES)
    follower = trades()
    for _ in range(2):
        async with serving(tmp_path, SMALL, database.environ) as service, connected(service.port) as client:
            await follower.subscribe(client, "1")
            await client.until(lambda: len(follower.heard) == 2)
            assert follower.marks_heard == ["RESET", "ROW"]
            await follower.settle(client, database)
        await database.run("UPDATE trades SET price = price + 1")


async def test_a_wrong_cursor_is_an_error_with_its_code(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TRADES)
    async with serving(tmp_path, SMALL, database.environ) as service, connected(service.port) as client:
        follower = trades()
        follower.cursor = "wrong"
        await follower.subscribe(client, "1")
        await client.until(lambda: follower.error)
        assert follower.error is not None
        assert follower.error["extensions"] == {"code": "BAD_CURSOR"}


@pytest.fixture
def world(io_loop: IOLoop, database: AnyDatabase, tmp_path: Path) -> Iterator[tuple[AnyDatabase, int]]:
    """A service whose sources stay between examples."""
    io_loop.run_sync(lambda: database.run(TABLES))
    stack = AsyncExitStack()
    service = io_loop.run_sync(lambda: stack.enter_async_context(serving(tmp_path, SCHEMA, database.environ | QUICK)))
    yield database, service.port
    io_loop.run_sync(stack.aclose)


histories = st.lists(
    st.tuples(
        st.lists(st.lists(statements, min_size=1, max_size=4), max_size=4),
        st.integers(0, 20),
        st.lists(st.lists(statements, min_size=1, max_size=4), max_size=4),
    ),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=histories)
def test_clients_whose_socket_is_cut_at_any_message_end_with_the_databases_answer(
    history: list[tuple[list[list[str]], int, list[list[str]]]], world: tuple[AnyDatabase, int], io_loop: IOLoop
) -> None:
    database, port = world
    io_loop.run_sync(lambda: live_through(history, database, port))


async def live_through(
    history: list[tuple[list[list[str]], int, list[list[str]]]], database: AnyDatabase, port: int
) -> None:
    """Follow, write, be cut after some messages, miss some transactions, come back; in the end, compare."""
    followers = [Follower(*wish) for wish in WISHES]
    for followed, messages, missed in history:
        async with connected(port) as client:
            for number, follower in enumerate(followers):
                follower.left = messages
                await follower.subscribe(client, str(number))
            for transaction in followed:
                await database.transaction(transaction)
        for transaction in missed:
            await database.transaction(transaction)
    async with connected(port) as client:
        for number, follower in enumerate(followers):
            follower.left = 1_000_000
            await follower.subscribe(client, str(number))
        for follower in followers:
            await follower.settle(client, database)
            assert follower.error is None
