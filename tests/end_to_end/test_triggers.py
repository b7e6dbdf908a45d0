"""Triggers from outside: created over GraphQL, fired by a real database, delivered to a real receiver, whatever breaks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.ioloop import IOLoop

from actors.runtime import tell
from actors.source_messages import Attach
from tests.actors.test_trigger import Choking
from tests.end_to_end.test_queries import http, older_websocket, websocket
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database
from tests.support.receiver import Answer, Received, Receiver, Wire, breaking, receiving
from tests.support.service import serving
from tycostream.app import Service
from tycostream.triggers import EventType, event_id

SCHEMA = """
enums:
  side: [buy, sell]
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float, volume: BigInt, side: side, paid: Boolean}
  quotes:
    primary_key: [symbol, day]
    columns: {symbol: String, day: Date, bid: Integer}
"""
TABLES = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8, volume int8, side side, paid bool);
CREATE TABLE quotes (symbol text, day date, bid int, PRIMARY KEY (symbol, day));
"""
QUICK = {
    "WEBHOOK_RETRY_MIN_MS": "1",
    "WEBHOOK_RETRY_MAX_MS": "20",
    "WEBHOOK_ATTEMPTS": "100",
    "RECONNECT_MIN_MS": "1",
    "RECONNECT_MAX_MS": "20",
    "LOG_LEVEL": "error",
}
WAYS = pytest.mark.parametrize("way", [http, websocket, older_websocket])
CREATE = "mutation ($input: tradesTriggerInput!) { t: create_trades_trigger(input: $input) { %s } }"
CREATE_QUOTES = "mutation ($input: quotesTriggerInput!) { t: create_quotes_trigger(input: $input) { watching } }"

Ask = Callable[..., Awaitable[dict[str, Any]]]


@dataclass
class World:
    database: AnyDatabase
    service: Service
    ask: Ask

    async def create(self, receiver: Receiver | str, selection: str = "watching", **wish: Any) -> dict[str, Any]:
        url = receiver if isinstance(receiver, str) else receiver.url()
        wish = {"name": "dear", "webhook": url, "fire": {"price": {"_gt": 100}}, **wish}
        answer = await self.ask(CREATE % selection, {"input": wish})
        assert "errors" not in answer, answer
        return answer["data"]["t"]  # type: ignore[no-any-return]

    async def show(self, selection: str, name: str = "dear") -> dict[str, Any]:
        answer = await self.ask(f'{{ t: trades_trigger(name: "{name}") {{ {selection} }} }}', None)
        assert "errors" not in answer, answer
        return answer["data"]["t"]  # type: ignore[no-any-return]

    async def run(self, *statements: str) -> None:
        for statement in statements:
            await self.database.run(statement)

    async def until(self, selection: str, wanted: dict[str, Any], name: str = "dear") -> None:
        """Until the trigger's fields have these values."""
        seen: dict[str, Any] = {}
        try:
            async with asyncio.timeout(20):
                while (seen := await self.show(selection, name)) != wanted:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            assert seen == wanted


@asynccontextmanager
async def world(database: AnyDatabase, tmp_path: Path, way: Any = http, **environ: str) -> AsyncIterator[World]:
    await database.run(TABLES)
    async with (
        serving(tmp_path, SCHEMA, {**database.environ, **QUICK, **environ}) as service,
        way(service.port) as ask,
    ):
        yield World(database, service, ask)


def heard(receiver: Receiver) -> list[tuple[str, Any]]:
    """What came, each with the id of its row."""
    return [(body["event_type"], body["data"]["id"]) for body in map(json.loads, receiver.bodies)]


def by_row(receiver: Any) -> dict[Any, list[str]]:
    """The event types for each row, in the order they came; repeats of one event count once."""
    seen: set[str] = set()
    rows: dict[Any, list[str]] = {}
    for body in map(json.loads, receiver.bodies):
        if body["event_id"] not in seen:
            seen.add(body["event_id"])
            rows.setdefault(body["data"]["id"], []).append(body["event_type"])
    return rows


@WAYS
async def test_rows_cross_and_the_webhook_hears_it(database: AnyDatabase, tmp_path: Path, way: Any) -> None:
    async with world(database, tmp_path, way) as w, receiving() as receiver:
        await w.run("INSERT INTO trades VALUES (1, 'A', 150, 1, 'buy', true), (2, 'B', 50, NULL, 'sell', NULL)")
        given = {"_and": [{"price": {"_gt": 100}}, {"side": {"_in": ["buy", "sell"]}}]}
        made = await w.create(
            receiver, "name webhook fire clear source enabled watching", fire=given, clear={"price": {"_lt": 90}}
        )
        fire, clear = json.loads(made.pop("fire")), json.loads(made.pop("clear"))
        assert (fire, clear) == (given, {"price": {"_lt": 90}})
        assert made == {
            "name": "dear", "webhook": receiver.url(), "source": "trades", "enabled": True, "watching": True,
        }  # fmt: skip
        await w.run("UPDATE trades SET price = 100.5, volume = 9007199254740993 WHERE id = 2")
        await receiver.until(1)
        body = json.loads(receiver.bodies[0])
        assert list(body) == [
            "event_id", "event_type", "trigger_name", "source", "timestamp", "source_timestamp", "data",
        ]  # fmt: skip
        assert body.pop("event_id") == event_id("trades", "dear", "2", int(body["source_timestamp"]), EventType.FIRE)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("timestamp"))
        assert int(body.pop("source_timestamp")) > 0
        assert body == {
            "event_type": "FIRE",
            "trigger_name": "dear",
            "source": "trades",
            "data": {
                "id": 2,
                "symbol": "B",
                "price": 100.5,
                "volume": "9007199254740993",
                "side": "sell",
                "paid": None,
            },
        }
        assert receiver.requests[0].method == "POST"
        assert receiver.requests[0].headers["Content-Type"] == "application/json"
        # Between the two nothing happens; a row that matched when the trigger was created can clear
        await w.run("UPDATE trades SET price = 95", "UPDATE trades SET price = 89 WHERE id = 1", "DELETE FROM trades")
        await receiver.until(3)
        assert heard(receiver) == [("FIRE", 2), ("CLEAR", 1), ("CLEAR", 2)]
        assert json.loads(receiver.bodies[2])["data"]["price"] == 95, "a row that is gone clears as it was"
        await w.run("INSERT INTO trades VALUES (2, 'B', 120, 1, 'buy', true)")
        await receiver.until(4)
        await w.until("fired cleared delivered waiting", {"fired": 2, "cleared": 2, "delivered": 4, "waiting": 0})
        shown = await w.show("fired_rows fired_count last_fired_at created_at updated_at")
        assert shown["fired_rows"] == ['{"id":2}']
        assert shown["created_at"] == shown["updated_at"] < shown["last_fired_at"]


async def test_listed_deleted_and_forgotten(database: AnyDatabase, tmp_path: Path) -> None:
    async with world(database, tmp_path) as w, receiving() as receiver:
        await w.run("INSERT INTO trades VALUES (1, 'A', 150), (2, 'B', 160)")
        for name in ("one", "two"):
            await w.create(receiver, name=name)
        listed = await w.ask("{ trades_triggers { name } quotes_triggers { name } }", None)
        assert listed["data"] == {"trades_triggers": [{"name": "one"}, {"name": "two"}], "quotes_triggers": []}
        gone = await w.ask(
            'mutation { delete_trades_trigger(name: "one") { name fired_rows(limit: 1, offset: 1) fired_count } }', None
        )
        assert gone["data"] == {"delete_trades_trigger": {"name": "one", "fired_rows": ['{"id":2}'], "fired_count": 2}}
        await w.run("UPDATE trades SET price = 1")
        await receiver.until(2)
        assert {json.loads(body)["trigger_name"] for body in receiver.bodies} == {"two"}
        assert await w.ask('{ trades_trigger(name: "one") { name } }', None) == {"data": {"trades_trigger": None}}
        assert len(await w.service.actors("trigger")) == 1


async def test_keys_of_several_columns_and_chosen_fields(database: AnyDatabase, tmp_path: Path) -> None:
    async with world(database, tmp_path) as w, receiving() as receiver:
        wish = {
            "name": "ü/☂", "webhook": receiver.url(), "fire": {"bid": {"_gte": 5}}, "fields": ["bid", "symbol", "bid"],
        }  # fmt: skip
        await w.ask(CREATE_QUOTES, {"input": wish})
        await w.run("INSERT INTO quotes VALUES ('Ä', '2024-01-02', 7)")
        await receiver.until(1)
        body = json.loads(receiver.bodies[0])
        assert (body["trigger_name"], body["data"]) == ("ü/☂", {"bid": 7, "symbol": "Ä"})
        shown = await w.ask('{ t: quotes_trigger(name: "ü/☂") { fields fired_rows } }', None)
        assert shown["data"]["t"] == {"fields": ["bid", "symbol"], "fired_rows": ['{"symbol":"Ä","day":"2024-01-02"}']}


async def test_existing_rows_fire_where_that_is_wished(database: AnyDatabase, tmp_path: Path) -> None:
    async with world(database, tmp_path) as w, receiving() as receiver:
        await w.run("INSERT INTO trades VALUES (1, 'A', 150), (2, 'B', 50)")
        await w.create(receiver, on_create="FIRE_EXISTING")
        await receiver.until(1)
        await w.run("UPDATE trades SET price = 200 WHERE id = 2")
        await receiver.until(2)
        assert heard(receiver) == [("FIRE", 1), ("FIRE", 2)]


async def test_disabled_cooled_down_and_tested(database: AnyDatabase, tmp_path: Path) -> None:
    async with world(database, tmp_path) as w, receiving() as receiver:
        await w.run("INSERT INTO trades VALUES (1, 'A', 1)")
        await w.create(receiver, cooldown_seconds=3600)
        for price in (150, 1, 150, 1):
            await w.run(f"UPDATE trades SET price = {price}")
        await w.until("fired suppressed delivered", {"fired": 2, "suppressed": 2, "delivered": 2})
        await w.ask('mutation { disable_trades_trigger(name: "dear") { enabled } }', None)
        await w.run("INSERT INTO trades VALUES (2, 'B', 150)")
        await w.until("enabled fired suppressed", {"enabled": False, "fired": 3, "suppressed": 3})
        await w.ask('mutation { test_trades_trigger(name: "dear") { enabled } }', None)
        await receiver.until(3)
        await w.ask('mutation { enable_trades_trigger(name: "dear") { enabled } }', None)
        await w.run("INSERT INTO trades VALUES (3, 'C', 150)")
        await receiver.until(4)
        assert heard(receiver) == [("FIRE", 1), ("CLEAR", 1), ("TEST", 2), ("FIRE", 3)]
        assert json.loads(receiver.bodies[2])["test"] is True


async def test_a_webhook_that_is_gone_for_good(postgres: Database, tmp_path: Path) -> None:
    def script(_request: Received) -> Answer:
        return Answer(410 if len(receiver.requests) == 1 else 200)

    async with world(postgres, tmp_path) as w, receiving(script) as receiver:
        await w.create(receiver)
        await w.run("INSERT INTO trades VALUES (1, 'A', 150)")
        await w.until(
            "endpoint_disabled dropped last_status", {"endpoint_disabled": True, "dropped": 1, "last_status": 410}
        )
        await w.run("INSERT INTO trades VALUES (2, 'A', 150)")
        await w.until("fired dropped", {"fired": 2, "dropped": 2})
        answer = await w.ask('mutation { t: enable_trades_trigger(name: "dear") { endpoint_disabled } }', None)
        assert answer["data"] == {"t": {"endpoint_disabled": False}}
        await w.run("INSERT INTO trades VALUES (3, 'A', 150)")
        await receiver.until(2)
        assert heard(receiver) == [("FIRE", 1), ("FIRE", 3)]


@WAYS
async def test_one_document_may_do_and_show_several_things(postgres: Database, tmp_path: Path, way: Any) -> None:
    async with world(postgres, tmp_path, way) as w:
        await w.run("INSERT INTO trades VALUES (1, 'A', 150)")
        wish = '{name: "%s", webhook: "http://127.0.0.1:9/", fire: {price: {_gt: 1e2}}}'
        answer = await w.ask(
            f"mutation {{ a: create_trades_trigger(input: {wish % 'a'}) {{ name fired_count }} "
            'delete_trades_trigger(name: "a") { name } '
            f"again: create_trades_trigger(input: {wish % 'a'}) {{ ...t }} kind: __typename }} "
            "fragment t on Trigger { name fire clear kind: __typename }",
            None,
        )
        assert answer == {
            "data": {
                "a": {"name": "a", "fired_count": 1},
                "delete_trades_trigger": {"name": "a"},
                "again": {"name": "a", "fire": '{"price":{"_gt":100.0}}', "clear": None, "kind": "Trigger"},
                "kind": "Mutation",
            }
        }
        mixed = await w.ask(
            "{ trades { id } kind: __typename trades_triggers { name } t: trades_by_pk(id: 1) { symbol } "
            '__type(name: "TriggerOnCreate") { enumValues { name } } }',
            None,
        )
        values = [{"name": "REMEMBER_EXISTING"}, {"name": "FIRE_EXISTING"}]
        assert mixed["data"] == {
            "trades": [{"id": 1}],
            "kind": "Query",
            "trades_triggers": [{"name": "a"}],
            "t": {"symbol": "A"},
            "__type": {"enumValues": values},
        }


# Whatever breaks


def forgive(w: World) -> None:
    """The supervisor gives nobody up for what tests do."""
    supervisor = w.service._supervisor
    assert supervisor is not None
    for child in supervisor._actor_weakref()._children.values():
        child.failures.clear()


def crash_source(w: World) -> None:
    forgive(w)
    tell(w.service._directory["source", "trades"], Attach(None))  # type: ignore[arg-type]


def crash_trigger(w: World) -> None:
    """At its next crossing but one."""
    forgive(w)
    source = w.service.catalog.sources["trades"]
    memory = w.service._triggers._triggers[source]["dear"]
    memory.payload = Choking(memory.payload, after=1)  # type: ignore[assignment]


async def lose_connection(w: World) -> None:
    if isinstance(w.database, MaterializeDatabase):
        w.database.simulator.drop_connections()
    else:
        await w.run("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")


async def restarted(w: World, kind: str, name: str, before: Any) -> None:
    async with asyncio.timeout(10):
        while w.service._directory.get((kind, name)) in (None, before):
            await asyncio.sleep(0.001)


async def test_crashes_and_lost_connections_neither_fire_again_nor_forget(
    database: AnyDatabase, tmp_path: Path
) -> None:
    async with world(database, tmp_path) as w, receiving() as receiver:
        await w.run("INSERT INTO trades SELECT g, 'A', 1 FROM generate_series(1, 6) g")
        await w.create(receiver)
        await w.run("UPDATE trades SET price = 150 WHERE id <= 3")
        await receiver.until(3)
        await lose_connection(w)
        await w.run("UPDATE trades SET price = 1 WHERE id = 1", "UPDATE trades SET price = 150 WHERE id = 4")
        await receiver.until(5)
        before = w.service._directory["source", "trades"]
        crash_source(w)
        await w.run("UPDATE trades SET price = 2 WHERE id = 2", "UPDATE trades SET price = 150 WHERE id = 5")
        await restarted(w, "source", "trades", before)
        await receiver.until(7)
        before = w.service._directory["trigger", "trades/dear"]
        crash_trigger(w)
        await w.run("UPDATE trades SET price = 3 WHERE id IN (3, 4)", "UPDATE trades SET price = 150 WHERE id = 6")
        await restarted(w, "trigger", "trades/dear", before)
        await receiver.until(10)
        await w.until("fired cleared delivered waiting", {"fired": 6, "cleared": 4, "delivered": 10, "waiting": 0})
        assert by_row(receiver) == {
            1: ["FIRE", "CLEAR"], 2: ["FIRE", "CLEAR"], 3: ["FIRE", "CLEAR"], 4: ["FIRE", "CLEAR"],
            5: ["FIRE"], 6: ["FIRE"],
        }  # fmt: skip
        assert len(receiver.requests) == 10


async def test_a_receiver_that_fails_in_every_way_gets_everything_in_order(
    database: AnyDatabase, tmp_path: Path
) -> None:
    """Resets, silence, 500 and 429; meanwhile a subscriber sees everything at once."""
    faults = iter(range(10_000))

    async def fault(wire: Wire, _request: Received) -> None:
        match next(faults) % 5:
            case 0:
                wire.reset()
            case 1:
                await wire.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            case 2:
                await wire.send(
                    b"HTTP/1.1 429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            case 3:
                await wire.closed()  # says nothing until the caller has lost its patience
                breaker.requests.pop()
                return
            case _:
                await wire.send(b"HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n")
                accepted.append(_request.body)

    accepted: list[bytes] = []
    environ = {"WEBHOOK_TIMEOUT_SECONDS": "0.1"}
    async with (
        world(database, tmp_path, **environ) as w,
        breaking(fault) as breaker,
        connected(w.service.port) as client,
    ):
        await w.run("INSERT INTO trades SELECT g, 'A', 1 FROM generate_series(1, 4) g")
        await w.create(breaker.url())
        trades = await client.subscribe("subscription { trades { operation data { id price } fields timestamp } }")
        await client.until(lambda: len(trades.rows) == 4)
        for price in (150, 1, 160, 2, 170):
            await w.run(f"UPDATE trades SET price = {price}")
        await client.until(lambda: all(one["price"] == 170 for one in trades.rows.values()))
        assert len(accepted) < 20, "the subscriber did not wait for the receiver"
        await w.until("delivered failed dropped waiting", {"delivered": 20, "failed": 0, "dropped": 0, "waiting": 0})
        breaker.requests = [Received("POST", "/", breaker.requests[0].headers, body) for body in accepted]
        assert by_row(breaker) == {id_: ["FIRE", "CLEAR", "FIRE", "CLEAR", "FIRE"] for id_ in (1, 2, 3, 4)}


async def test_what_waits_for_a_deleted_trigger_is_not_sent(postgres: Database, tmp_path: Path) -> None:
    gate = asyncio.Event()
    environ = {"WEBHOOK_CONCURRENCY": "1"}
    async with world(postgres, tmp_path, **environ) as w, receiving(lambda _: Answer(gate=gate)) as receiver:
        await w.create(receiver)
        await w.run("INSERT INTO trades SELECT g, 'A', 150 FROM generate_series(1, 5) g")
        await w.until("fired waiting", {"fired": 5, "waiting": 5})
        await w.ask('mutation { delete_trades_trigger(name: "dear") { name } }', None)
        await w.create(receiver, name="next")
        gate.set()
        await w.run("INSERT INTO trades VALUES (6, 'A', 150)")
        await receiver.until(2)
        assert [json.loads(body)["trigger_name"] for body in receiver.bodies] == ["dear", "next"]


# Any history

THRESHOLD, CLEARED = 100, 90
prices = st.sampled_from(["NULL", "80", "89", "90", "95", "100", "101", "120"])
rows = st.integers(1, 4)
transactions = st.dictionaries(rows, st.one_of(prices, st.just("gone")), min_size=1, max_size=4)
histories = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["commit", "commit", "commit", "roll back"]), transactions),
        st.tuples(st.sampled_from(["crash source", "crash trigger", "lose connection"]), st.just({})),
    ),
    max_size=15,
)


@pytest.fixture
def stage(io_loop: IOLoop, database: AnyDatabase, tmp_path: Path) -> Iterator[tuple[World, Receiver]]:
    """A service and a receiver that stay between examples."""
    stack = AsyncExitStack()

    async def enter() -> tuple[World, Receiver]:
        w = await stack.enter_async_context(world(database, tmp_path))
        return w, await stack.enter_async_context(receiving())

    yield io_loop.run_sync(enter)
    io_loop.run_sync(stack.aclose)


def statement(id_: int, price: str) -> str:
    if price == "gone":
        return f"DELETE FROM trades WHERE id = {id_}"
    return f"INSERT INTO trades VALUES ({id_}, 'A', {price}) ON CONFLICT (id) DO UPDATE SET price = excluded.price"


def model(history: list[tuple[str, dict[int, str]]]) -> dict[int, list[str]]:
    """What each row is to have told."""
    told: dict[int, list[str]] = {}
    for action, changes in history:
        for id_, price in changes.items() if action == "commit" else ():
            fired = told.get(id_, ["CLEAR"])[-1] == "FIRE"
            value = None if price in ("NULL", "gone") else int(price)
            if value is not None and value > THRESHOLD:
                told.setdefault(id_, []).extend(() if fired else ("FIRE",))
            elif fired and (price == "gone" or (value is not None and value < CLEARED)):
                told[id_].append("CLEAR")
    return told


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=histories)
def test_any_history_tells_what_the_model_tells(
    history: list[tuple[str, dict[int, str]]], stage: tuple[World, Receiver], io_loop: IOLoop
) -> None:
    io_loop.run_sync(lambda: live_through(history, *stage))


async def live_through(history: list[tuple[str, dict[int, str]]], w: World, receiver: Receiver) -> None:
    """A loss of sight may swallow what came and went meanwhile, and with it a row's going and coming back: then only a
    last price that is itself beyond a threshold says how the row stands. Nothing else differs from the model."""
    await w.ask('mutation { delete_trades_trigger(name: "dear") { name } }', None)  # of the example before
    await w.run("DELETE FROM trades")
    async with asyncio.timeout(20):
        while (await w.ask("{ trades { id } }", None))["data"] != {"trades": []}:
            await asyncio.sleep(0.002)
    receiver.requests.clear()
    await w.create(receiver, clear={"price": {"_lt": CLEARED}})
    blind = False
    for action, changes in history:
        if action in ("commit", "roll back"):
            batch = [statement(id_, price) for id_, price in changes.items()]
            await w.database.transaction(batch, commit=action == "commit")
        elif action == "crash trigger":
            crash_trigger(w)
        else:
            blind = True
            before = w.service._directory.get(("source", "trades"))
            if action == "lose connection":
                await lose_connection(w)
            elif before is not None:
                crash_source(w)
    await w.run("INSERT INTO trades VALUES (99, 'last', 150)")
    await until_fired(w, '{"id":99}')
    await w.until("waiting", {"waiting": 0})
    told = by_row(receiver)
    assert told.pop(99) == ["FIRE"]
    expected = model(history)
    if not blind:
        assert told == expected
    for id_, types in told.items():
        assert types == ["FIRE", "CLEAR"] * (len(types) // 2) + ["FIRE"] * (len(types) % 2)
        last = [changes[id_] for action, changes in history if action == "commit" and id_ in changes][-1]
        if last == "gone" or (last != "NULL" and not CLEARED <= int(last) <= THRESHOLD):
            assert types[-1] == expected[id_][-1]


async def until_fired(w: World, key: str) -> None:
    async with asyncio.timeout(20):
        while key not in (await w.show("fired_rows"))["fired_rows"]:
            await asyncio.sleep(0.002)


# What is refused


def refused(answer: dict[str, Any]) -> tuple[str, str]:
    (error,) = answer["errors"]
    return error["extensions"]["code"], error["message"]


WISHES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "BAD_TRIGGER_NAME", '"name" is empty; expected 1 to 200 characters'),
    ({"name": " \u3000"}, "BAD_TRIGGER_NAME", '"name" is empty'),
    ({"name": "x" * 201}, "BAD_TRIGGER_NAME", '"name" has 201 characters'),
    ({"name": "a\nb"}, "BAD_TRIGGER_NAME", "U\\+000A at place 1"),
    ({"name": "there"}, "TRIGGER_EXISTS", 'trades has a trigger "there" already'),
    ({"webhook": "hook"}, "BAD_WEBHOOK_URL", '"webhook": expected a URL that begins with http'),
    ({"webhook": "ftp://a/"}, "BAD_WEBHOOK_URL", "http"),
    ({"webhook": "http://169.254.169.254/"}, "BAD_WEBHOOK_URL", "may not be called"),
    ({"webhook": "http://me:secret@a/"}, "BAD_WEBHOOK_URL", "without user name and password$"),
    ({"fire": {}}, "EMPTY_FIRE", '"fire" is always true'),
    ({"fire": {"_or": [{"price": {"_gt": 1}}, {}]}}, "EMPTY_FIRE", "always true"),
    ({"fire": {"symbol": {"_nin": []}}}, "EMPTY_FIRE", "always true"),
    ({"fire": {"volume": {"_gt": "many"}}}, "BAD_USER_INPUT", '^fire.volume._gt: "many" is no'),
    ({"fire": {"symbol": {"_regex": "("}}}, "BAD_USER_INPUT", "^fire.symbol._regex: "),
    ({"fire": {"price": {"_gt": None}}}, "BAD_USER_INPUT", "^fire.price._gt: null is no operand"),
    ({"clear": {"_and": [{"price": None}]}}, "BAD_USER_INPUT", "^clear._and.0..price: null is no condition"),
    ({"fields": ["id", "prise", "x"]}, "UNKNOWN_FIELD", 'no column "prise", "x"; its columns are id, symbol, price'),
    ({"cooldown_seconds": -1}, "BAD_USER_INPUT", '"cooldown_seconds": -1 is not'),
    ({"cooldown_seconds": "1"}, "BAD_USER_INPUT", "Float cannot represent"),
    ({"fire": None}, "BAD_USER_INPUT", "fire"),
    ({"fire": {"prise": {"_gt": 1}}}, "BAD_USER_INPUT", "prise"),
    ({"on_create": "SOMETHING"}, "BAD_USER_INPUT", "SOMETHING"),
    ({"when": 1}, "BAD_USER_INPUT", "when"),
]


@WAYS
async def test_bad_wishes_are_refused_with_what_would_be_valid(postgres: Database, tmp_path: Path, way: Any) -> None:
    async with world(postgres, tmp_path, way, MAX_TRIGGERS="2") as w, receiving() as receiver:
        await w.create(receiver, name="there")
        for wish, code, text in WISHES:
            good = {"name": "n", "webhook": receiver.url(), "fire": {"price": {"_gt": 1}}}
            found, message = refused(await w.ask(CREATE % "name", {"input": good | wish}))
            assert found == code, wish
            assert re.search(text, message), message
            assert "secret" not in message
        for deed in ("delete", "enable", "disable", "test"):
            code, message = refused(await w.ask(f'mutation {{ {deed}_trades_trigger(name: "x") {{ name }} }}', None))
            assert (code, message) == ("TRIGGER_NOT_FOUND", 'trades has no trigger "x"; its triggers are "there"')
        code, message = refused(await w.ask('mutation { delete_quotes_trigger(name: "there") { name } }', None))
        assert (code, message) == ("TRIGGER_NOT_FOUND", 'quotes has no trigger "there"; it has none')
        await w.create(receiver, name="second")
        wish = {"name": "n", "webhook": receiver.url(), "fire": {"bid": {"_gt": 1}}}
        code, message = refused(await w.ask(CREATE_QUOTES, {"input": wish}))
        assert (code, message) == (
            "TOO_MANY_TRIGGERS", "there are 2 triggers, which is the most that MAX_TRIGGERS allows; delete some",
        )  # fmt: skip
        for page in ("limit: -1", "limit: 1001", "offset: -1"):
            code, message = refused(await w.ask(f"{{ trades_triggers {{ fired_rows({page}) }} }}", None))
            assert code == "BAD_USER_INPUT"
        listed = await w.ask("{ trades_triggers { name } }", None)
        assert listed["data"]["trades_triggers"] == [{"name": "there"}, {"name": "second"}], "nothing else was made"


async def test_a_mutation_by_get_is_refused(postgres: Database, tmp_path: Path) -> None:
    async with world(postgres, tmp_path) as w:
        client = AsyncHTTPClient(force_instance=True)
        query = "mutation%7Bdelete_trades_trigger(name:%22x%22)%7Bname%7D%7D"
        with pytest.raises(HTTPClientError) as raised:
            await client.fetch(f"http://127.0.0.1:{w.service.port}/graphql?query={query}")
        client.close()
        assert raised.value.code == 405
