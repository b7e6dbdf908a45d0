"""Any history of writes, with clients that attach and leave at any moment: every client ends with the database's own answer,
and none ever sees half a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.support.client import ClientSubscription, GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.service import serving

SCHEMA = """
sources:
  accounts:
    primary_key: id
    columns: {id: Integer, kind: String, amount: Integer, note: String}
  clock:
    primary_key: id
    columns: {id: Integer, tick: Integer}
  totals:
    primary_key: kind
    columns: {kind: String, total: BigInt, tick: Integer}
  unkeyed:
    primary_key: id
    columns: {id: Integer, kind: String}
"""
TABLES = """
CREATE TABLE accounts (id int PRIMARY KEY, kind text, amount int, note text);
ALTER TABLE accounts ALTER note SET STORAGE EXTERNAL;
CREATE TABLE clock (id int PRIMARY KEY, tick int);
INSERT INTO clock VALUES (1, 0), (2, 0), (3, 0);
CREATE VIEW totals AS
    SELECT coalesce(kind, '-') AS kind, sum(amount) AS total, (SELECT min(tick) FROM clock) AS tick FROM accounts GROUP BY 1;
CREATE TABLE unkeyed (id int, kind text);
"""

# What a client asks for: source, key, columns, GraphQL filter, the same in SQL
WISHES = [
    ("accounts", "id", "id kind amount note", "", "true"),
    ("accounts", "id", "id amount", '(where: {kind: {_eq: "a"}})', "kind = 'a'"),
    ("accounts", "id", "id kind", "(where: {amount: {_gt: 5}})", "amount > 5"),
    ("accounts", "id", "id note", '(where: {_not: {kind: {_in: ["a", "b"]}}})', "NOT (kind IN ('a', 'b'))"),
    ("accounts", "id", "id amount kind", "(where: {_or: [{kind: {_is_null: true}}, {amount: {_lte: 2}}]})",
     "(kind IS NULL OR amount <= 2)"),
    ("clock", "id", "id tick", "", "true"),
    ("totals", "kind", "kind total tick", "", "true"),
    ("unkeyed", "id", "id kind", "", "true"),
]  # fmt: skip

TICKS = [f"UPDATE clock SET tick = tick + 1 WHERE id = {row}" for row in (1, 2, 3)]
"""Behind every transaction, one row after the other: whoever sees half of it sees different ticks."""

ids = st.integers(1, 8)
kinds = st.sampled_from(["'a'", "'b'", "NULL"])
amounts = st.sampled_from(["0", "3", "7", "NULL"])
statements = st.one_of(
    st.tuples(ids, kinds, amounts).map(
        lambda row: (
            "INSERT INTO accounts VALUES ({}, {}, {}, repeat('n', 9000)) ON CONFLICT (id) DO UPDATE"
            " SET kind = excluded.kind, amount = excluded.amount".format(*row)
        )
    ),
    st.tuples(amounts, ids).map(lambda change: "UPDATE accounts SET amount = {} WHERE id = {}".format(*change)),
    st.tuples(kinds, ids).map(lambda change: "UPDATE accounts SET kind = {} WHERE id >= {}".format(*change)),
    st.tuples(ids, ids).map(
        lambda move: (
            "UPDATE accounts SET id = {} WHERE id = {} AND NOT EXISTS (SELECT FROM accounts WHERE id = {})".format(
                *move, move[0]
            )
        )
    ),
    ids.map(lambda key: f"DELETE FROM accounts WHERE id = {key}"),
    st.just("TRUNCATE accounts"),
    st.tuples(ids, kinds).map(
        lambda row: "DELETE FROM unkeyed WHERE id = {0}; INSERT INTO unkeyed VALUES ({0}, {1})".format(*row)
    ),
)
steps = st.lists(
    st.one_of(
        st.lists(statements, min_size=1, max_size=4).map(lambda batch: ("commit", batch)),
        st.lists(statements, min_size=1, max_size=4).map(lambda batch: ("roll back", batch)),
        st.integers(0, len(WISHES) - 1).map(lambda wish: ("attach", wish)),
        st.just(("leave", None)),
        st.integers(1, 3).map(lambda turns: ("turn", turns)),
    ),
    max_size=25,
)


@dataclass
class Wish:
    source: str
    key: str
    columns: list[str]
    condition: str
    subscription: ClientSubscription


@pytest.fixture
def world(io_loop: IOLoop, database: AnyDatabase, tmp_path: Path) -> Iterator[tuple[AnyDatabase, int]]:
    """A service whose sources stay between examples."""
    io_loop.run_sync(lambda: database.run(TABLES))
    stack = AsyncExitStack()
    environ = database.environ | {"POLL_INTERVAL_MS": "30", "VIEW_INTERVAL_MS": "5"}
    service = io_loop.run_sync(lambda: stack.enter_async_context(serving(tmp_path, SCHEMA, environ)))
    yield database, service.port
    io_loop.run_sync(stack.aclose)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=steps)
def test_every_client_ends_with_the_databases_answer(
    history: list[tuple[str, Any]], world: tuple[AnyDatabase, int], io_loop: IOLoop
) -> None:
    database, port = world
    io_loop.run_sync(lambda: live_through(history, database, port))


async def live_through(history: list[tuple[str, Any]], database: AnyDatabase, port: int) -> None:
    """Write, attach and leave as the history says; then compare."""
    wishes: list[Wish] = []
    async with connected(port) as client, connected(port) as other:
        for number, (action, what) in enumerate(history):
            if action in ("commit", "roll back"):
                await database.transaction([*what, *TICKS], commit=action == "commit")
            elif action == "attach":
                wishes.append(await attach(other if number % 3 == 0 else client, *WISHES[what]))
            elif action == "leave" and wishes:
                gone = wishes.pop(0)
                await client.complete(gone.subscription)
                await other.complete(gone.subscription)
            elif action == "turn":
                for _ in range(what):
                    await asyncio.sleep(0)
        for wish in wishes:
            expected = answer(database, wish)
            await settle(client, other, wish, expected)
            assert not wish.subscription.errors
            if wish.source == "clock":
                for _, state in wish.subscription.states:
                    assert len(state) < 3 or len({row["tick"] for row in state.values()}) == 1, "half a transaction"


async def attach(client: GraphQLClient, source: str, key: str, columns: str, where: str, condition: str) -> Wish:
    where = where.removesuffix(")") + ", on_unavailable: WAIT)" if where else "(on_unavailable: WAIT)"
    query = f"subscription {{ {source}{where} {{ operation data {{ {columns} }} fields timestamp }} }}"
    subscription = await client.subscribe(query, (key,), keep_states=source == "clock")
    return Wish(source, key, columns.split(), condition, subscription)


async def settle(client: GraphQLClient, other: GraphQLClient, wish: Wish, expected: dict[Any, dict[str, Any]]) -> None:
    """Until the subscription's rows are the expected ones, whichever client it belongs to."""
    owner = client if client.owns(wish.subscription) else other
    try:
        await owner.until(lambda: wish.subscription.rows == expected)
    except TimeoutError:
        assert wish.subscription.rows == expected


def answer(database: AnyDatabase, wish: Wish) -> dict[Any, dict[str, Any]]:
    """The database's own rows for a wish, as GraphQL shows them."""
    rows = database.execute(f"SELECT {', '.join(wish.columns)} FROM {wish.source} WHERE {wish.condition}")
    named = [dict(zip(wish.columns, row, strict=True)) for row in rows]
    for row in named:
        if row.get("total") is not None:
            row["total"] = str(row["total"])
    return {(row[wish.key],): row for row in named}
