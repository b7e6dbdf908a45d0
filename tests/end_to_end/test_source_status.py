"""Clients are told how sources stand: as they do now, every change, and beside the first row that changes after one."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_materialize import TRADES, World, opened
from tests.end_to_end.test_queries import http
from tests.support.client import BOTH, GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.service import serving

world = partial(opened, "loop")

ALL = "subscription { source_status { source state since reason lag_ms } }"
NAMED = 'subscription { s: source_status(sources: ["trades"]) { __typename state } }'
ASKED = "{ source_status { source state since reason lag_ms } }"
ISO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


class Followed:
    """What one operation of a client was sent."""

    def __init__(self, client: GraphQLClient) -> None:
        self.client = client
        self.messages: list[dict[str, Any]] = []

    @property
    def told(self) -> list[dict[str, Any]]:
        return [next(iter(message["payload"]["data"].values())) for message in self.messages]

    def states(self, source: str = "trades") -> list[str]:
        return [one["state"] for one in self.told if one["source"] == source]


async def follow(client: GraphQLClient, query: str = ALL, operation_id: str = "status") -> Followed:
    followed = Followed(client)
    client.on_message(operation_id, followed.messages.append)
    await client.start(operation_id, {"query": query})
    return followed


@pytest.mark.parametrize("protocol", BOTH)
async def test_each_source_first_then_every_change_of_a_state(tmp_path: Path, protocol: str) -> None:
    async with world(tmp_path) as w, connected(w.service.port, protocol=protocol) as client:
        status = await follow(client)
        named = await follow(client, NAMED, "named")
        await client.until(lambda: len(status.messages) == 2 and named.messages)
        assert {one["source"]: one["state"] for one in status.told} == {"trades": "IDLE", "notes": "IDLE"}
        assert named.told == [{"__typename": "SourceStatus", "state": "IDLE"}]
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)
        await client.until(lambda: status.states()[-1] == "LIVE")
        assert [*dict.fromkeys(status.states())] == ["IDLE", "CONNECTING", "LIVE"]
        w.simulator.refuse_connections()
        w.simulator.drop_connections()
        await client.until(lambda: status.states()[-1] == "STALE")
        lost = status.told[-1]
        assert lost["reason"] == "the database is out of reach", "where it is, clients are not told"
        assert ISO.match(lost["since"])
        await w.simulator.accept_connections()
        await client.until(lambda: status.states()[-1] == "LIVE")
        assert status.told[-1]["reason"] is None
        await client.until(lambda: named.told[-1]["state"] == "LIVE")
        assert [one["state"] for one in named.told] == ["IDLE", "CONNECTING", "LIVE", "STALE", "LIVE"]
        assert status.states("notes") == ["IDLE"]


async def test_asked_at_any_time_and_the_lag_is_of_that_moment(tmp_path: Path) -> None:
    async with world(tmp_path, tick_seconds=0.02) as w, http(w.service.port) as ask:
        idle = (await ask(ASKED, None))["data"]["source_status"]
        assert [(one["source"], one["state"], one["lag_ms"]) for one in idle] == [
            ("trades", "IDLE", None), ("notes", "IDLE", None),
        ]  # fmt: skip
        trades = await w.follow()
        await w.client.until(lambda: len(trades.rows) == 2)

        async def lag() -> float | None:
            (found,) = (await ask('{ source_status(sources: "trades") { lag_ms } }', None))["data"]["source_status"]
            lag: float | None = found["lag_ms"]
            return lag

        async with asyncio.timeout(20):
            while await lag() is None:  # until time has moved
                pass
        calm = [await lag() for _ in range(20)]
        assert all(one is not None and one < 2000 for one in calm), "nothing changes, and the rows are not old"
        w.simulator.stall()
        first = await lag()
        assert first is not None
        async with asyncio.timeout(20):
            while (found := await lag()) is not None and found < first + 200:
                assert found >= first - 50, "time stands still there and goes on here"
        assert found is not None


async def test_a_lag_is_that_of_changes_too(database: AnyDatabase, tmp_path: Path) -> None:
    await database.run("CREATE TABLE trades (id int PRIMARY KEY, symbol text)")
    schema = "sources:\n  trades:\n    primary_key: id\n    columns: {id: Integer, symbol: String}\n"
    query = "subscription { trades { operation data { id } fields timestamp } }"
    async with (
        serving(tmp_path, schema, database.environ) as service,
        connected(service.port) as client,
        http(service.port) as ask,
    ):
        status = await follow(client)
        trades = await client.subscribe(query)
        await client.until(lambda: status.states()[-1:] == ["LIVE"])
        await database.run("INSERT INTO trades VALUES (1, 'A')")
        await client.until(lambda: trades.rows)
        (found,) = (await ask(ASKED, None))["data"]["source_status"]
        assert 0 <= found["lag_ms"] < 10_000


@pytest.mark.parametrize("protocol", BOTH)
async def test_the_first_change_after_a_state_s_says_so_and_no_other(tmp_path: Path, protocol: str) -> None:
    async with world(tmp_path) as w, connected(w.service.port, protocol=protocol) as client:
        first, second = [await follow(client, TRADES, name) for name in ("1", "2")]
        await client.until(lambda: len(first.messages) == len(second.messages) == 2)
        w.simulator.insert("trades", ("3", "1", "C", None))
        await client.until(lambda: len(first.messages) == len(second.messages) == 3)
        assert not any("extensions" in one["payload"] for one in first.messages + second.messages)
        w.simulator.refuse_connections()
        w.simulator.drop_connections()
        await w.state("STALE")
        w.simulator.insert("trades", ("4", "1", "D", None), ("5", "1", "E", None))
        await w.simulator.accept_connections()
        await client.until(lambda: len(first.messages) == len(second.messages) == 5)
        w.simulator.insert("trades", ("6", "1", "F", None))
        await client.until(lambda: len(first.messages) == len(second.messages) == 6)
        for told in (first, second):
            assert ["extensions" in one["payload"] for one in told.messages] == [*3 * [False], True, False, False]
            status = told.messages[3]["payload"]["extensions"]["source_status"]
            assert (status["source"], status["state"], status["reason"]) == ("trades", "LIVE", None)
            assert ISO.match(status["since"])


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ('["trades", "trade"]', 'there is no source "trade"; there are "trades", "notes"'),
        ("[]", 'it names no source; leave it out for all, or name some of "trades", "notes"'),
    ],
)
async def test_a_source_that_is_not_there_is_an_error(tmp_path: Path, argument: str, told: str) -> None:
    async with world(tmp_path) as w, http(w.service.port) as ask:
        field = f"source_status(sources: {argument}) {{ state }}"
        status = await follow(w.client, f"subscription {{ {field} }}")
        await w.client.until(lambda: status.messages)
        ((refused,), asked) = status.messages[0]["payload"], (await ask(f"{{ {field} }}", None))["errors"]
        for error in (refused, asked[0]):
            assert error["message"] == f'Argument "sources" of "source_status": {told}'
            assert error["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_who_follows_is_listed_and_nobody_is_left(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with connected(w.service.port) as client:
            statuses = [await follow(client, ALL, str(number)) for number in range(3)]
            await client.until(lambda: all(len(one.messages) == 2 for one in statuses))
            assert await _followers(w) == 3
        async with asyncio.timeout(20):
            while await _followers(w):
                pass
        assert [one.name for one in w.service.status().sources] == ["trades", "notes"], "it is no source of its own"


async def _followers(w: World) -> int:
    (found,) = await w.service.actors("status")
    return int(found["details"]["subscriptions"])


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_client_chooses_whether_to_wait(tmp_path: Path, protocol: str) -> None:
    async with world(tmp_path) as w, connected(w.service.port, protocol=protocol) as client:
        w.simulator.refuse_connections()
        query = (
            "subscription ($w: OnUnavailable) { trades(on_unavailable: $w) { operation data { id } fields timestamp } }"
        )
        waits, default, impatient = [
            await client.subscribe(query, variables={"w": wish}) for wish in ("WAIT", None, "ERROR")
        ]
        await client.until(lambda: impatient.errors)
        assert impatient.errors == [
            {
                "message": "source trades is not available: the database is out of reach",
                "extensions": {"code": "SOURCE_UNAVAILABLE"},
            }
        ]
        assert not any((waits.errors, default.errors, waits.rows, default.rows))
        await w.simulator.accept_connections()
        await client.until(lambda: len(waits.rows) == len(default.rows) == 2)
        again = await client.subscribe(query, variables={"w": "ERROR"})
        await client.until(lambda: len(again.rows) == 2)
