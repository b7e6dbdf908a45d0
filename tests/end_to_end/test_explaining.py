"""Which index serves a subscription, and what it has cost, asked of the whole service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.client import BOTH, GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.service import serving

SCHEMA = """
enums:
  risk: [low, high]
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
    calculated_fields: {risk: risk}
"""
TABLE = "CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8); INSERT INTO trades VALUES (1, 'A', 5)"


async def fetch(port: int, path: str) -> Any:
    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}{path}")
    return json.loads(answer.body)


async def explain(port: int, query: str) -> Any:
    return await fetch(port, "/debug/explain?" + urlencode({"query": query}))


async def test_views_and_subscriptions_are_explained(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    every = "subscription { trades { operation timestamp fields data { id price risk } } }"
    above = every.replace("trades", 'trades(where: {symbol: {_eq: "A"}, price: {_gt: 5}})').replace("risk", "")
    rules = "[{state: high, when: {price: {_gt: 7}}}]"
    ruled = every.replace("trades", f"trades(where: {{risk: {{_eq: high}}}}, derive_risk: {rules})")
    every = every.replace("risk", "")
    async with serving(tmp_path, SCHEMA, database.environ) as service, connected(service.port) as client:
        idle = {"source": "trades", "filter": "{}", "index": "every row", "subscriptions": 0, "selections": 0}
        assert await explain(service.port, every) == idle | {"evaluated": 0, "matched": 0}
        high, all_of_it, risky = [await client.subscribe(query) for query in (above, every, ruled)]
        await client.until(lambda: all_of_it.rows)
        await database.run("UPDATE trades SET price = 9")
        await database.run("UPDATE trades SET price = 3")
        await client.until(lambda: len(all_of_it.messages) == 3 and len(high.messages) == len(risky.messages) == 2)
        told = await explain(service.port, above)
        assert told == {
            "source": "trades",
            "filter": '{"symbol": {"_eq": "A"}, "price": {"_gt": 5.0}}',
            "index": "hash on symbol",
            "subscriptions": 1,
            "selections": 1,
            "evaluated": 2,
            "matched": 2,
        }
        assert (await explain(service.port, ruled))["index"] == "hash on risk"
        assert (await explain(service.port, ruled))["matched"] == 2
        views = (await fetch(service.port, "/debug/views?source=trades"))["sources"]["trades"]
        assert views["more"] == 0
        assert [(one["index"], one["matched"]) for one in views["views"]] == [
            ("hash on symbol", 2), ("every row", 2), ("hash on risk", 2),
        ]  # fmt: skip
        assert [one["rules"] for one in views["views"][:2]] == [None, None]
        assert views["views"][2]["rules"]["risk"][0]["state"] == "high"


async def told(client: GraphQLClient, condition: str, **extensions: Any) -> list[dict[str, Any]]:
    """The payloads of a subscription that asks to be explained."""
    had: list[dict[str, Any]] = []
    operation_id = f"explained {condition}"
    client.on_message(operation_id, lambda message: had.append(message["payload"]))
    query = f"subscription {{ trades(where: {condition}) {{ operation data {{ id price }} }} }}"
    await client.start(operation_id, {"query": query, "extensions": extensions})
    return had


@pytest.mark.parametrize("protocol", BOTH)
async def test_a_subscription_explains_itself_with_its_first_result(
    database: AnyDatabase, tmp_path: Path, protocol: str
) -> None:
    database.execute(TABLE)
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port, protocol=protocol) as client,
        connected(service.port, protocol=protocol) as other,
        connected(service.port, protocol=protocol) as alone,
    ):
        query = "subscription { trades { operation timestamp fields data { id price } } }"
        beside = await other.subscribe(query)
        one = await told(client, '{symbol: {_eq: "A"}}', explain=True)
        none_yet = await told(alone, "{price: {_gt: 8}}", explain=True, tracing={"of": "somebody else"})
        silent = await told(client, "{price: {_gt: 4}}", explain=False)
        await client.until(lambda: one and silent)
        await other.until(lambda: beside.rows)
        await database.run("UPDATE trades SET price = 9")
        await client.until(lambda: len(one) == len(silent) == 2)
        await alone.until(lambda: none_yet)
        await database.run("UPDATE trades SET price = 10")
        await client.until(lambda: len(one) == len(silent) == 3)
        await other.until(lambda: len(beside.messages) == 3)
        await alone.until(lambda: len(none_yet) == 2)
        explained = [payload.pop("extensions", None) for payload in (*one, *none_yet, *silent)]
        rows = {"source": "trades", "subscriptions": 1, "selections": 1, "evaluated": 0, "matched": 0}
        assert explained == [
            {"explain": rows | {"filter": '{"symbol": {"_eq": "A"}}', "index": "hash on symbol"}}, None, None,
            {"explain": rows | {"filter": '{"price": {"_gt": 8.0}}', "index": "bounds on price"}}, None,
            None, None, None,
        ]  # fmt: skip
        assert [payload["data"]["trades"]["data"]["price"] for payload in one] == [5, 9, 10]


async def test_what_is_for_this_machine_is_not_told_to_others(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    for access in ("loopback", "any"):
        environ = database.environ | {"DEBUG_ACCESS": access}
        async with (
            serving(tmp_path, SCHEMA, environ) as service,
            connected(service.port, headers={"X-Forwarded-For": "198.51.100.7"}) as client,
        ):
            had = await told(client, "{}", explain=True)
            await client.until(lambda: had)  # noqa: B023
            assert had[0]["data"]["trades"]["data"]["id"] == 1
            explained = had[0]["extensions"]["explain"]
            if access == "any":
                assert explained["index"] == "every row"
            else:
                assert "DEBUG_ACCESS=any" in explained.pop("error")
                assert not explained
