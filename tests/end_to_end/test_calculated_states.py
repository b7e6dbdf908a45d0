"""States by rules of the clients, over real sockets and databases: shared, remembered, moved, and kept through a crash."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tornado.httpclient import AsyncHTTPClient

from tests.support.client import ClientSubscription, GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.receiver import receiving
from tests.support.service import serving
from tycostream.app import Service
from tycostream.views import Views

SCHEMA = """
enums: {risk_level: [low, high, critical]}
sources:
  positions:
    primary_key: id
    columns: {id: Integer, value: Float, note: String}
    calculated_fields: {risk: risk_level}
"""
TABLE = """
CREATE TABLE positions (id int PRIMARY KEY, value float8, note text);
INSERT INTO positions VALUES (1, 5, 'x'), (2, 50, 'x'), (3, 500, 'x'), (4, NULL, 'x');
"""
LEVELS = """[{state: critical, when: {value: {_gt: 100}}, until: {value: {_lt: 90}}},
 {state: high, when: {value: {_gt: 10}}, until: {value: {_lt: 8}}}]"""


async def follow(client: GraphQLClient, rules: str, where: str = "{}") -> ClientSubscription:
    query = (
        f"subscription {{ positions(derive_risk: {rules}, where: {where})"
        " { operation data { id risk } fields timestamp } }"
    )
    return await client.subscribe(query)


def risks(subscription: ClientSubscription) -> dict[int, str | None]:
    return {key[0]: row["risk"] for key, row in subscription.rows.items()}


async def derivations(service: Service) -> list[dict[str, Any]]:
    """What the debug pages tell of the source's derivations."""
    answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{service.port}/debug/actors?kind=source")
    (source,) = json.loads(answer.body)["actors"]
    found: list[dict[str, Any]] = source["details"]["derivations"]
    return found


async def test_states_follow_the_rows_and_equal_rules_are_shared(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port) as client,
        connected(service.port) as other,
    ):
        all_of_it = await follow(client, LEVELS)
        dangerous = await follow(other, LEVELS, "{risk: {_gte: high}}")
        plain = await follow(other, "[{state: low, when: {value: {_gt: 400}}}]")
        await client.until(lambda: len(all_of_it.rows) == 4)
        await other.until(lambda: len(dangerous.rows) == 2 and len(plain.rows) == 4)
        assert risks(all_of_it) == {1: None, 2: "high", 3: "critical", 4: None}
        assert risks(dangerous) == {2: "high", 3: "critical"}
        assert risks(plain) == {1: None, 2: None, 3: "low", 4: None}
        shared, alone = sorted(await derivations(service), key=lambda one: -len(one["views"]))
        assert [len(one["views"]) for one in (shared, alone)] == [2, 1]
        assert shared["evaluated"] == alone["evaluated"] == 4
        assert shared["rows_in_a_state"] == 2

        seen = len(all_of_it.messages)
        for value in (95, 60, 9, 7):
            await database.run(f"UPDATE positions SET value = {value} WHERE id = 3")
        await client.until(lambda: risks(all_of_it)[3] is None)
        heard = [(one["operation"], one["data"]["risk"], one["fields"]) for one in all_of_it.messages[seen:]]
        # 95 leaves it critical, and 9 high: nothing that is selected has changed
        assert heard == [("UPDATE", "high", ["value", "risk"]), ("UPDATE", None, ["value", "risk"])]
        await other.until(lambda: risks(dangerous) == {2: "high"})
        assert [one["operation"] for one in dangerous.messages[2:]] == ["UPDATE", "DELETE"]

        await database.run("UPDATE positions SET note = 'y'; DELETE FROM positions WHERE id = 2")
        await client.until(lambda: set(risks(all_of_it)) == {1, 3, 4})
        await other.until(lambda: not dangerous.rows)
        assert {one["evaluated"] for one in await derivations(service)} == {8}, "a note is no reason to ask"


async def test_thresholds_move_by_subscribing_again(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    async with serving(tmp_path, SCHEMA, database.environ) as service, connected(service.port) as client:
        rules = "[{state: high, when: {value: {_gt: %d}}}]"
        first = await follow(client, rules % 10)
        await client.until(lambda: risks(first) == {1: None, 2: "high", 3: "high", 4: None})
        await client.complete(first)
        second = await follow(client, rules % 100, "{risk: {_eq: high}}")
        await client.until(lambda: risks(second) == {3: "high"})
        await database.run("UPDATE positions SET value = 101 WHERE id = 1")
        await client.until(lambda: risks(second) == {1: "high", 3: "high"})
        (one,) = await derivations(service)
        assert one["rules"] == {"risk": [{"state": "high", "when": '{"value": {"_gt": 100.0}}'}]}


async def test_states_are_kept_when_the_source_fails(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    async with serving(tmp_path, SCHEMA, database.environ) as service, connected(service.port) as client:
        followed = await follow(client, LEVELS)
        await client.until(lambda: risks(followed) == {1: None, 2: "high", 3: "critical", 4: None})
        await database.run("UPDATE positions SET value = 95 WHERE id = 3; UPDATE positions SET value = 11 WHERE id = 1")
        await client.until(lambda: risks(followed)[1] == "high")
        failures = iter([RuntimeError("poison")])
        flush = Views.flush

        def fail_once(views: Views, *arguments: Any) -> Any:
            for failure in failures:
                raise failure
            return flush(views, *arguments)

        with patch.object(Views, "flush", fail_once):
            await database.run(
                "UPDATE positions SET value = 9 WHERE id = 2; UPDATE positions SET value = 1 WHERE id = 1"
            )
            await client.until(lambda: risks(followed)[1] is None)
        assert not list(failures), "it did fail"
        assert risks(followed) == {1: None, 2: "high", 3: "critical", 4: None}, "as before it, not as if they were new"
        await database.run("UPDATE positions SET value = 89 WHERE id = 3")
        await client.until(lambda: risks(followed)[3] == "high")


async def test_triggers_fire_on_states_that_they_share_with_subscribers(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    async with (
        serving(tmp_path, SCHEMA, database.environ) as service,
        connected(service.port) as client,
        receiving() as receiver,
    ):
        followed = await follow(client, LEVELS)
        await client.until(lambda: len(followed.rows) == 4)
        wish = (
            f'{{ name: "bad", webhook: "{receiver.url()}", fire: {{ risk: {{ _eq: critical }} }},'
            f" clear: {{ risk: {{ _is_null: true }} }}, derive_risk: {LEVELS} }}"
        )
        made = await asked(service, f"mutation {{ create_positions_trigger(input: {wish}) {{ watching fired_rows }} }}")
        assert made == {"data": {"create_positions_trigger": {"watching": True, "fired_rows": ['{"id":3}']}}}
        (shared,) = await derivations(service)
        assert (shared["triggers"], shared["evaluated"]) == (1, 4)
        for change in ("value = 101 WHERE id = 1", "value = 50 WHERE id = 1", "value = 7 WHERE id = 1"):
            await database.run(f"UPDATE positions SET {change}")
        await receiver.until(2)
        tested = await asked(service, 'mutation { test_positions_trigger(name: "bad") { name } }')
        assert tested == {"data": {"test_positions_trigger": {"name": "bad"}}}
        await receiver.until(3)
        told = [(body["event_type"], body["data"]) for body in map(json.loads, receiver.bodies)]
        assert told == [
            ("FIRE", {"id": 1, "value": 101, "note": "x", "risk": "critical"}),
            ("CLEAR", {"id": 1, "value": 7, "note": "x", "risk": None}),
            ("TEST", {"id": 3, "value": 500, "note": "x", "risk": "critical"}),
        ]
        await client.complete(followed)
        await asked(service, 'mutation { delete_positions_trigger(name: "bad") { name } }')
        async with asyncio.timeout(20):
            while await derivations(service):
                await asyncio.sleep(0.005)


async def asked(service: Service, query: str) -> Any:
    """The answer over HTTP."""
    answer = await AsyncHTTPClient().fetch(
        f"http://127.0.0.1:{service.port}/graphql", method="POST", body=json.dumps({"query": query}),
        headers={"Content-Type": "application/json"}, raise_error=False,
    )  # fmt: skip
    return json.loads(answer.body)


async def test_queries_and_refusals(database: AnyDatabase, tmp_path: Path) -> None:
    database.execute(TABLE)
    async with serving(tmp_path, SCHEMA, database.environ) as service, connected(service.port) as client:
        query = "{ positions(derive_risk: %s, where: {risk: {_gt: low}}, order_by: {risk: desc}) { id risk } }"
        found = await asked(service, query % LEVELS)
        assert found == {"data": {"positions": [{"id": 3, "risk": "critical"}, {"id": 2, "risk": "high"}]}}
        wrong = "[{state: high, when: {risk: {_eq: low}}}]"
        (error,) = (await asked(service, query % wrong))["errors"]
        assert "[0].when.risk: risk is a calculated field" in error["message"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT"}
        refused = await follow(client, wrong)
        await client.until(lambda: refused.errors)
        assert refused.errors[0]["message"] == error["message"]
