"""The schema file changes while the service runs: who uses what did not change notices nothing, and nobody is left in doubt."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pykka import ActorRef

import tycostream
from actors.runtime import loop_actor, stop_actor
from actors.source import SourceActor
from tests.end_to_end.test_process import Process, running
from tests.end_to_end.test_queries import http
from tests.support.client import ClientSubscription, GraphQLClient, connected
from tests.support.postgres import Database
from tests.support.receiver import Receiver, receiving
from tests.support.service import serving
from tycostream.app import Service
from tycostream.graphql import PreparedQuery
from tycostream.model import Changes, Source
from tycostream.reload import Reloader

ENUMS = "enums: {side: [buy, sell], mood: [calm, wild]}\n"
TRADES = "  trades: {primary_key: id, columns: {id: Integer, side: side, price: Float}}\n"
QUOTES = "  quotes: {primary_key: symbol, columns: {symbol: String, bid: Integer}, calculated_fields: {mood: mood}}\n"
ORDERS = "  orders: {primary_key: id, columns: {id: Integer, amount: Integer}}\n"
MORE_TRADES = TRADES.replace("price: Float", "price: Float, note: String")
SCHEMA = ENUMS + "sources:\n" + TRADES + QUOTES
TABLES = """
CREATE TABLE trades (id int PRIMARY KEY, side text, price float8, note text);
CREATE TABLE quotes (symbol text PRIMARY KEY, bid int);
CREATE TABLE orders (id int PRIMARY KEY, amount int);
INSERT INTO trades VALUES (1, 'buy', 150, 'one'), (2, 'sell', 150, 'two'), (3, 'buy', 1, 'three'), (4, 'buy', 150, 'four');
INSERT INTO quotes VALUES ('A', 1), ('B', 2);
INSERT INTO orders VALUES (1, 10);
"""
TRADES_QUERY = "subscription { trades { operation data { id side price } fields timestamp } }"
NOTES_QUERY = "subscription { trades { operation data { id note } fields timestamp } }"
QUOTES_QUERY = "subscription { quotes { operation data { symbol bid } fields timestamp } }"
MOODS_QUERY = """subscription { quotes(derive_mood: [{state: wild, when: {bid: {_gt: 10}}}]) {
    operation data { symbol mood } fields timestamp } }"""
ORDERS_QUERY = "subscription { orders { operation data { id amount } fields timestamp } }"
CREATE = "mutation ($input: %sTriggerInput!) { t: create_%s_trigger(input: $input) { watching } }"


@dataclass
class World:
    database: Database
    service: Service
    reloader: Reloader
    path: Path
    ask: Any

    async def serve(self, *sources: str, enums: str = ENUMS) -> None:
        """Write these sources into the schema file and have it read."""
        self.path.write_text(enums + "sources:\n" + "".join(sources))
        await self.reloader.reload()
        assert self.service._schema.error is None

    async def shown(self, query: str) -> Any:
        answer = await self.ask(query, None)
        assert "errors" not in answer, answer
        return answer["data"]

    async def create(self, receiver: Receiver, source: str = "trades", **wish: Any) -> None:
        wish = {"name": "dear", "webhook": receiver.url(), "fire": {"price": {"_gt": 100}}} | wish
        answer = await self.ask(CREATE % (source, source), {"input": wish})
        assert answer == {"data": {"t": {"watching": True}}}, answer


@asynccontextmanager
async def world(database: Database, folder: Path) -> AsyncIterator[World]:
    database.execute(TABLES)
    environ = {"LOG_LEVEL": "error", "RECONNECT_MIN_MS": "1", "RECONNECT_MAX_MS": "20"} | database.environ
    async with serving(folder, SCHEMA, environ) as service, http(service.port) as ask:
        path = service.settings.service.schema_path
        yield World(database, service, Reloader(path, service), path, ask)


@asynccontextmanager
async def undisturbed(w: World) -> AsyncIterator[GraphQLClient]:
    """A client of `quotes`, which stays the same: at the end it is told of one more change, and of nothing but that."""
    async with connected(w.service.port) as client:
        quotes = await client.subscribe(QUOTES_QUERY, ("symbol",))
        moods = await client.subscribe(MOODS_QUERY, ("symbol",))
        await client.until(lambda: len(quotes.rows) == len(moods.rows) == 2)
        actor, memory = w.service._directory["source", "quotes"], w.service._memories["quotes"]
        (connection,) = [ref for (kind, _), ref in w.service._directory.items() if kind == "connection"]
        yield client
        await w.database.run("UPDATE quotes SET bid = 20 WHERE symbol = 'A'")
        await client.until(lambda: len(quotes.messages) == len(moods.messages) == 3)
        assert quotes.rows == {("A",): {"symbol": "A", "bid": 20}, ("B",): {"symbol": "B", "bid": 2}}
        assert moods.rows == {("A",): {"symbol": "A", "mood": "wild"}, ("B",): {"symbol": "B", "mood": None}}
        for one in (quotes, moods):
            assert [message["operation"] for message in one.messages] == ["INSERT", "INSERT", "UPDATE"]
            assert (one.errors, one.completed) == ([], False)
        assert (actor, memory) == (w.service._directory["source", "quotes"], w.service._memories["quotes"])
        assert connection in w.service._directory.values()
        assert client.close_code is None


def codes(subscription: ClientSubscription) -> list[tuple[str, str]]:
    return [(error["extensions"]["code"], error["message"]) for error in subscription.errors]


async def test_a_source_is_added(postgres: Database, tmp_path: Path) -> None:
    async with world(postgres, tmp_path) as w, undisturbed(w) as client:
        refused = await client.subscribe(ORDERS_QUERY)
        await client.until(lambda: refused.errors)
        await w.serve(TRADES, QUOTES, ORDERS)
        orders = await client.subscribe(ORDERS_QUERY)  # on the same socket
        await client.until(lambda: orders.rows == {(1,): {"id": 1, "amount": 10}})
        await w.database.run("UPDATE orders SET amount = 11")
        await client.until(lambda: orders.rows == {(1,): {"id": 1, "amount": 11}})
        assert (await w.shown("{ orders { amount } }"))["orders"] == [{"amount": 11}]
        assert [source.name for source in w.service.status().sources] == ["trades", "quotes", "orders"]


async def test_a_source_is_removed(postgres: Database, tmp_path: Path) -> None:
    async with world(postgres, tmp_path) as w, undisturbed(w) as client:
        trades = await client.subscribe(TRADES_QUERY)
        await client.until(lambda: len(trades.rows) == 4)
        await w.serve(QUOTES)
        await client.until(lambda: trades.errors)
        assert codes(trades) == [("SOURCE_REMOVED", "there is no source trades any more")]
        ((_place, connection),) = (
            (place, ref) for place, ref in w.service._directory.items() if place[0] == "connection"
        )
        followed = loop_actor(connection)._outlet._channels  # type: ignore[union-attr]
        assert {source.name for source in followed} == {"quotes"}, "it does not hold on to others who followed trades"
        again = await client.subscribe(TRADES_QUERY)
        await client.until(lambda: again.errors)
        assert codes(again)[0][0] == "GRAPHQL_VALIDATION_FAILED"
        assert ("source", "trades") not in w.service._directory
        assert [source.name for source in w.service.status().sources] == ["quotes"]
        listed = await w.service.actors("source")
        assert [one["name"] for one in listed] == ["quotes"]
        await w.database.until("SELECT tablename FROM pg_publication_tables", [("quotes",)])


async def test_a_source_changes_and_its_clients_come_back_at_once(postgres: Database, tmp_path: Path) -> None:
    async with world(postgres, tmp_path) as w, undisturbed(w) as client:
        trades = await client.subscribe(TRADES_QUERY)
        await client.until(lambda: len(trades.rows) == 4)
        come_back: list[asyncio.Task[ClientSubscription]] = []
        heard = trades.hear

        def hear(message: dict[str, Any]) -> None:
            heard(message)
            come_back.append(asyncio.ensure_future(client.subscribe(NOTES_QUERY)))

        trades.hear = hear  # type: ignore[method-assign]
        await w.serve(MORE_TRADES, QUOTES)
        await client.until(lambda: trades.errors)
        assert codes(trades) == [("SCHEMA_CHANGED", "source trades is not what it was; subscribe again")]
        (back,) = come_back
        notes = await back
        await client.until(lambda: len(notes.rows) == 4)
        await w.database.run("UPDATE trades SET note = 'eins' WHERE id = 1")
        await client.until(lambda: notes.rows[1,]["note"] == "eins")
        assert len(notes.messages) == 5
        assert (await w.shown("{ trades_by_pk(id: 1) { note } }"))["trades_by_pk"] == {"note": "eins"}


async def test_a_client_that_waits_for_rows_is_told_too(postgres: Database, tmp_path: Path) -> None:
    missing = "  missing: {primary_key: id, columns: {id: Integer}}\n"
    query = "subscription { missing { operation data { id } fields timestamp } }"
    async with world(postgres, tmp_path) as w:
        blocker = w.database.connect()
        await asyncio.to_thread(blocker.cursor().execute, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        await w.serve(TRADES, QUOTES, ORDERS, missing)
        async with connected(w.service.port) as client:
            orders = await client.subscribe(ORDERS_QUERY)
            gone = await client.subscribe(query)
            await client.until(lambda: gone.errors)  # there is no such relation
            assert codes(gone)[0][0] == "SOURCE_UNAVAILABLE"
            await w.serve(TRADES, QUOTES)
            await client.until(lambda: orders.errors)
            assert codes(orders)[0][0] == "SOURCE_REMOVED"
            assert orders.messages == []
        await asyncio.to_thread(blocker.close)


async def test_an_enum_is_extended(postgres: Database, tmp_path: Path) -> None:
    query = "subscription { trades(where: {side: {_gt: %s}}) { operation data { id side } fields timestamp } }"
    async with world(postgres, tmp_path) as w, undisturbed(w) as client:
        trades = await client.subscribe(query % "buy")
        unknown = await client.subscribe(query % "sell_short")
        await client.until(lambda: trades.rows and unknown.errors)
        await w.serve(TRADES, QUOTES, enums=ENUMS.replace("[buy, sell]", "[buy, sell, sell_short]"))
        await client.until(lambda: trades.errors)
        assert codes(trades)[0][0] == "SCHEMA_CHANGED"
        known = await client.subscribe(query % "sell")
        await w.database.run("UPDATE trades SET side = 'sell_short' WHERE id = 4")
        await client.until(lambda: known.rows == {(4,): {"id": 4, "side": "sell_short"}})


async def test_a_description_alone_disturbs_nobody_and_is_shown(postgres: Database, tmp_path: Path) -> None:
    described = QUOTES.replace("{primary_key", "{description: Asked and bid., primary_key").replace(
        "bid: Integer", "bid: {type: Integer, description: What is paid.}"
    )
    query = '{ __type(name: "quotes") { description fields { name description } } }'
    async with world(postgres, tmp_path) as w, undisturbed(w) as client:
        trades = await client.subscribe(TRADES_QUERY)
        await client.until(lambda: len(trades.rows) == 4)
        await w.serve(TRADES, described)
        shown = (await w.shown(query))["__type"]
        assert shown["description"] == "Asked and bid."
        assert {"name": "bid", "description": "What is paid."} in shown["fields"]
        later = await client.subscribe(MOODS_QUERY, ("symbol",))  # planned on what is described anew
        await client.until(lambda: len(later.rows) == 2)
        assert (len(trades.messages), trades.errors) == (4, [])


async def test_a_broken_file_leaves_everything_as_it_is(
    postgres: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(postgres, tmp_path) as w, undisturbed(w) as client:
        trades = await client.subscribe(TRADES_QUERY)
        await client.until(lambda: len(trades.rows) == 4)
        before = (await health(w))["schema"]
        assert before["error"] is None
        w.path.write_text(SCHEMA.replace("Float", "Floot").replace("primary_key: symbol", "primary_key: symbl"))
        await w.reloader.reload()
        broken = (await health(w))["schema"]
        assert broken["loaded_at"] == before["loaded_at"]
        places = [line.split(":")[:2] for line in broken["error"].splitlines()]
        assert [(Path(name).name, line) for name, line in places] == [("schema.yaml", "3"), ("schema.yaml", "4")]
        assert "did you mean Float?" in broken["error"]
        assert "did you mean symbol?" in broken["error"]
        assert broken["error"].splitlines()[0] in caplog.text
        assert (await w.shown("{ trades { id } }"))["trades"]
        await w.serve(TRADES, QUOTES, ORDERS)
        mended = (await health(w))["schema"]
        assert mended["error"] is None
        assert mended["loaded_at"] > before["loaded_at"]
        assert (await w.shown("{ orders { id } }"))["orders"] == [{"id": 1}]
        assert (len(trades.messages), trades.errors) == (4, [])


async def health(w: World) -> dict[str, Any]:
    return (await Process(None, w.service.port).get("/health"))[1]  # type: ignore[arg-type]


async def test_introspection_shows_the_schema_that_is_served(postgres: Database, tmp_path: Path) -> None:
    query = '{ __schema { queryType { fields { name } } } __type(name: "trades") { fields { name } } }'
    async with world(postgres, tmp_path) as w:
        assert "orders" not in json.dumps(await w.shown(query))
        await w.serve(MORE_TRADES, ORDERS)
        shown = await w.shown(query)
        assert [field["name"] for field in shown["__type"]["fields"]] == ["id", "side", "price", "note"]
        names = {field["name"] for field in shown["__schema"]["queryType"]["fields"]}
        assert {"orders", "orders_by_pk", "orders_triggers", "trades"} <= names
        assert not {name for name in names if name.startswith("quotes")}


async def test_what_was_prepared_for_a_source_that_is_no_more_comes_too_late(
    postgres: Database, tmp_path: Path
) -> None:
    queries = ("{ trades { id side } quotes { symbol } }", 'mutation { delete_trades_trigger(name: "dear") { name } }')
    async with world(postgres, tmp_path) as w:
        prepared = [w.service._engine.prepare(query, None, None) for query in queries]
        await w.serve(MORE_TRADES, QUOTES)
        for one, code in zip(prepared, ("SOURCE_UNAVAILABLE", "UNAVAILABLE"), strict=True):
            assert isinstance(one, PreparedQuery)
            answer: Any = await w.service._engine.execute(one)
            (error,) = answer["errors"]
            assert error["extensions"]["code"] == code
            assert error["message"] == "source trades has changed meanwhile; ask again"


# Triggers


def heard(receiver: Receiver) -> list[tuple[str, Any]]:
    return [(body["event_type"], body["data"]["id"]) for body in map(json.loads, receiver.bodies)]


async def test_triggers_of_what_did_not_change_go_on(postgres: Database, tmp_path: Path) -> None:
    async with world(postgres, tmp_path) as w, receiving() as receiver:
        await w.create(receiver)
        actor = w.service._directory["trigger", "trades/dear"]
        await w.serve(TRADES, QUOTES, ORDERS)
        assert w.service._directory["trigger", "trades/dear"] is actor
        await w.database.run("UPDATE trades SET price = 1 WHERE id = 1")
        await receiver.until(1)
        assert heard(receiver) == [("CLEAR", 1)]


async def test_triggers_of_a_changed_source_go_on_from_where_they_were(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(postgres, tmp_path) as w, receiving() as receiver:
        await w.create(receiver, on_create="FIRE_EXISTING")
        await receiver.until(3)
        start = w.service._start_source

        async def changed_meanwhile(source: Source) -> None:  # while nobody follows the table
            await w.database.run("UPDATE trades SET price = 1 WHERE id = 1")
            await w.database.run("DELETE FROM trades WHERE id = 2")
            await w.database.run("UPDATE trades SET price = 200 WHERE id = 3")
            await start(source)

        monkeypatch.setattr(w.service, "_start_source", changed_meanwhile)
        await w.serve(MORE_TRADES, QUOTES)
        await receiver.until(6)
        assert sorted(heard(receiver)[3:]) == [("CLEAR", 1), ("CLEAR", 2), ("FIRE", 3)]
        bodies = {body["data"]["id"]: body["data"] for body in map(json.loads, receiver.bodies[3:])}
        assert bodies[1] == {"id": 1, "side": "buy", "price": 1.0, "note": "one"}
        assert bodies[2] == {"id": 2, "side": None, "price": None, "note": None}
        await w.database.run("UPDATE trades SET price = 1 WHERE id = 4")
        await receiver.until(7)
        assert heard(receiver)[6:] == [("CLEAR", 4)]
        shown = await w.shown('{ t: trades_trigger(name: "dear") { fired cleared delivered fired_rows watching } }')
        assert shown["t"] == {
            "fired": 4, "cleared": 3, "delivered": 7, "fired_rows": ['{"id":3}'], "watching": True,
        }  # fmt: skip


async def test_what_crossed_in_the_last_turn_of_a_source_is_told_by_the_next(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard_change: list[ActorRef[Any]] = []

    async def stop_upon_a_change(ref: ActorRef[Any]) -> None:
        actor = loop_actor(ref)
        if isinstance(actor, SourceActor):  # it hears both in one turn, and so does not come to tell of the first
            change = Changes((actor._cache.timestamp or 0) + 1, [("1", ("1", "buy", "1"))])
            assert actor._run.intake is not None
            actor._run.intake.emit(change)
            heard_change.append(ref)
        await stop_actor(ref)

    async with world(postgres, tmp_path) as w, receiving() as receiver:
        await w.create(receiver, on_create="FIRE_EXISTING")
        await receiver.until(3)
        start = w.service._start_source

        async def changed_meanwhile(source: Source) -> None:
            await w.database.run("UPDATE trades SET price = 1 WHERE id = 1")
            await start(source)

        monkeypatch.setattr(w.service, "_start_source", changed_meanwhile)
        with monkeypatch.context() as patch:
            patch.setattr("actors.supervisor.stop_actor", stop_upon_a_change)
            await w.serve(MORE_TRADES, QUOTES)
        assert len(heard_change) == 1
        await w.database.run("UPDATE trades SET price = 1 WHERE id = 2")
        await receiver.until(5)
        assert sorted(heard(receiver)[3:]) == [("CLEAR", 1), ("CLEAR", 2)]


async def test_with_another_key_a_trigger_begins_anew(postgres: Database, tmp_path: Path) -> None:
    other_key = MORE_TRADES.replace("primary_key: id", "primary_key: [id, note]")
    async with world(postgres, tmp_path) as w, receiving() as receiver:
        await w.create(receiver, on_create="FIRE_EXISTING")
        await receiver.until(3)
        await w.serve(other_key, QUOTES)
        await w.database.run("ALTER TABLE trades DROP CONSTRAINT trades_pkey, ADD PRIMARY KEY (id, note)")
        async with asyncio.timeout(20):
            while not (await w.shown('{ t: trades_trigger(name: "dear") { watching } }'))["t"]["watching"]:
                await asyncio.sleep(0.01)
        await w.database.run("UPDATE trades SET price = 1 WHERE id = 1")
        await receiver.until(4)
        assert heard(receiver)[3:] == [("CLEAR", 1)]


async def test_triggers_that_do_not_fit_any_more_end(
    postgres: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fewer = MORE_TRADES.replace("side: side, ", "").replace("price: Float", "price: String")
    moody = {"derive_mood": [{"state": "wild", "when": {"bid": {"_gt": 10}}}], "fire": {"mood": {"_eq": "wild"}}}
    async with world(postgres, tmp_path) as w, receiving() as receiver:
        await w.create(receiver, name="cheap", fire={"price": {"_lt": 0}})
        await w.create(receiver, name="sells", fire={"side": {"_eq": "sell"}})
        await w.create(receiver, name="first", fire={"id": {"_eq": 1}}, fields=["id", "side"])
        await w.create(receiver, name="kept", fire={"id": {"_lt": 0}})
        await w.create(receiver, "quotes", name="wild", **moody)
        await w.create(receiver, "quotes", name="calm", **moody)
        caplog.set_level("WARNING", "tycostream.trigger")
        await w.serve(fewer, QUOTES, enums=ENUMS.replace("[calm, wild]", "[calm, mad]"))
        shown = await w.shown("{ trades_triggers { name } quotes_triggers { name } }")
        assert shown == {"trades_triggers": [{"name": "kept"}], "quotes_triggers": []}
        ended = [record.getMessage() for record in caplog.records if " ends: " in record.getMessage()]
        assert [text.split(": ", 1)[0] for text in ended] == [
            "trigger trades/cheap ends", "trigger trades/sells ends", "trigger trades/first ends",
            "trigger quotes/wild ends", "trigger quotes/calm ends",
        ]  # fmt: skip
        assert "0 is not a text" in ended[0]
        assert "trades has no column" in ended[1]
        assert '"wild" is no value of mood' in ended[3]
        assert {name for kind, name in w.service._directory if kind == "trigger"} == {"trades/kept"}
        await w.serve(QUOTES, enums=ENUMS.replace("[calm, wild]", "[calm, mad]"))
        assert not [name for kind, name in w.service._directory if kind == "trigger"]
        assert w.service._triggers._total == 0


# The process


@asynccontextmanager
async def process(
    database: Database, folder: Path, *arguments: str, schema: str = SCHEMA, **environ: str
) -> AsyncIterator[Process]:
    database.execute(TABLES)
    async with running(folder, database.environ | environ, *arguments, schema=schema) as service:
        await service.get("/ready")
        yield service


async def until_served(service: Process, name: str) -> None:
    """Until there is a source of this name."""
    async with asyncio.timeout(20):
        while name not in (await service.get("/health"))[1]["sources"]:
            await asyncio.sleep(0.02)


async def until_broken(service: Process) -> None:
    async with asyncio.timeout(20):
        while (await service.get("/health"))[1]["schema"]["error"] is None:
            await asyncio.sleep(0.02)


async def test_sighup_reads_the_file_again(postgres: Database, tmp_path: Path) -> None:
    async with process(postgres, tmp_path) as service, connected(service.port) as client:
        quotes = await client.subscribe(QUOTES_QUERY, ("symbol",))
        await client.until(lambda: len(quotes.rows) == 2)
        (tmp_path / "schema.yaml").write_text("sources: []")
        service.process.send_signal(signal.SIGHUP)
        await until_broken(service)
        (tmp_path / "schema.yaml").write_text(SCHEMA + ORDERS)
        service.process.send_signal(signal.SIGHUP)
        await until_served(service, "orders")
        orders = await client.subscribe(ORDERS_QUERY)
        await client.until(lambda: orders.rows)
        assert (len(quotes.messages), quotes.errors) == (2, [])
        service.process.send_signal(signal.SIGTERM)
        assert (await client.closed())[0] == 1001
        code, output = await service.ended()
    assert code == 0
    assert "schema file read: added orders" in output
    assert "schema.yaml:1:" in output
    assert "Traceback" not in output


async def test_a_terminal_that_goes_away_ends_what_was_started_in_it(postgres: Database, tmp_path: Path) -> None:
    setsid = shutil.which("setsid")
    if setsid is None:
        pytest.skip("needs setsid of util-linux")
    postgres.execute(TABLES)
    ours, theirs = os.openpty()
    environ = postgres.environ
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    started = await asyncio.create_subprocess_exec(
        setsid, "--ctty", sys.executable, "-m", "tycostream",
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "GRAPHQL_PORT": "0", "GRAPHQL_HOST": "127.0.0.1"} | environ,
        stdin=theirs, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    try:
        assert started.stderr is not None
        async with asyncio.timeout(20):
            while b"serving" not in await started.stderr.readline():
                pass
            os.close(ours)
            rest = await started.stderr.read()
            assert await started.wait() == 0
        assert b"stopping" in rest
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def test_a_file_that_is_watched_is_read_when_its_link_is_pointed_elsewhere(
    postgres: Database, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"  # as Kubernetes mounts a ConfigMap
    for name, text in (("..1", SCHEMA), ("..2", SCHEMA + ORDERS)):
        (mount / name).mkdir(parents=True)
        (mount / name / "schema.yaml").write_text(text)
    (mount / "..data").symlink_to("..1")
    (mount / "schema.yaml").symlink_to("..data/schema.yaml")
    path = str(mount / "schema.yaml")
    async with process(postgres, tmp_path, "--reload", SCHEMA_PATH=path) as service, connected(service.port) as client:
        quotes = await client.subscribe(QUOTES_QUERY, ("symbol",))
        await client.until(lambda: len(quotes.rows) == 2)
        (mount / "..new").symlink_to("..2")
        (mount / "..new").rename(mount / "..data")
        await until_served(service, "orders")
        assert (len(quotes.messages), quotes.errors) == (2, [])
        service.process.send_signal(signal.SIGTERM)
        assert (await service.ended())[0] == 0


async def test_changed_code_starts_the_process_again_and_broken_code_does_not(
    postgres: Database, tmp_path: Path
) -> None:
    home = Path(tycostream.__file__).parents[1]
    for package in ("tycostream", "actors"):
        shutil.copytree(home / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "tycostream" / "logs.py"
    text = module.read_text()
    # The folder in which Python is started comes first among those that it imports from
    async with process(postgres, tmp_path, "--reload", LOG_LEVEL="info") as service:
        pid = service.process.pid
        async with connected(service.port) as client:
            quotes = await client.subscribe(QUOTES_QUERY, ("symbol",))
            await client.until(lambda: len(quotes.rows) == 2)
            module.write_text("def broken(:\n")
            assert service.process.stdout is not None
            async with asyncio.timeout(30):
                seen = ""
                while "SyntaxError" not in seen:
                    seen += (await service.process.stdout.readline()).decode()
            assert "the code has changed, but does not start; the old code goes on running" in seen
            await postgres.run("UPDATE quotes SET bid = 5 WHERE symbol = 'A'")
            await client.until(lambda: quotes.rows["A",]["bid"] == 5)
            module.write_text(text + '\nprint("the new code runs", flush=True)\n')
            assert (await client.closed())[0] == 1012
        async with asyncio.timeout(30):
            while "the new code runs" not in (seen := (await service.process.stdout.readline()).decode()):
                assert seen, "the process has ended"
        await service.get("/ready")
        assert service.process.pid == pid
        async with connected(service.port) as client:
            quotes = await client.subscribe(QUOTES_QUERY, ("symbol",))
            await client.until(lambda: len(quotes.rows) == 2)
        service.process.send_signal(signal.SIGTERM)
        code, output = await service.ended()
    assert code == 0
    assert "Traceback" not in output
