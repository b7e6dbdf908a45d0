"""Several processes that serve clients: real ones, on one port, with what becomes of them when one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors import relay
from tests.end_to_end.test_process import SLOTS, Process, running
from tests.end_to_end.test_queries import http
from tests.end_to_end.test_resuming import Follower
from tests.support.client import ClientSubscription, GraphQLClient, connected
from tests.support.postgres import Database
from tests.support.receiver import receiving
from tests.support.service import serving

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""
TABLE = "CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8); INSERT INTO trades VALUES (1, 'A', 1), (2, 'B', 2)"
QUERY = "subscription { trades { operation data { id symbol price } fields timestamp } }"
CREATE = """mutation ($name: String!, $url: String!) { create_trades_trigger(input: {
    name: $name, webhook: $url, fire: {price: {_gt: 100}}}) { name watching } }"""


@asynccontextmanager
async def workers(
    postgres: Database, folder: Path, *arguments: str, schema: str = SCHEMA, **environ: str
) -> AsyncIterator[Process]:
    """The service with two workers, all of which serve."""
    await postgres.run(TABLE)
    async with running(folder, postgres.environ | {"WORKERS": "2"} | environ, *arguments, schema=schema) as service:
        await all_run(service)
        yield service


async def all_run(service: Process) -> list[dict[str, Any]]:
    """The workers, once all run."""
    body = await service.until_health("ok")
    found: list[dict[str, Any]] = body["workers"]
    assert {one["state"] for one in found} == {"running"}
    return found


async def actors(service: Process, kind: str) -> list[dict[str, Any]]:
    _, body = await service.get(f"/debug/actors?kind={kind}")
    found: list[dict[str, Any]] = body["actors"]
    return found


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def connections(service: Process) -> dict[str, int]:
    """How many clients each worker has."""
    counts: dict[str, int] = {}
    for one in await actors(service, "connection"):
        counts[one["process"]] = counts.get(one["process"], 0) + 1
    return counts


async def on_both(service: Process, stack: AsyncExitStack) -> dict[str, GraphQLClient]:
    """A client of each worker, by the worker's name."""
    found: dict[str, GraphQLClient] = {}
    before = await connections(service)
    async with asyncio.timeout(20):
        while len(found) < 2:
            client = await stack.enter_async_context(connected(service.port))
            now = await connections(service)
            (process,) = [name for name, count in now.items() if count != before.get(name, 0)]
            before = now
            found.setdefault(process, client)
    return found


def prices(trades: ClientSubscription) -> dict[Any, float]:
    return {key: row["price"] for key, row in trades.rows.items()}


async def test_clients_of_all_workers_end_with_the_tables_rows(postgres: Database, tmp_path: Path) -> None:
    chance = random.Random(7)
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(service.port)) for _ in range(14)]
        followed = [await client.subscribe(QUERY, keep_states=True) for client in clients]
        counts = await connections(service)
        assert set(counts) == {"worker 1", "worker 2"}, "so many connections do not fall to one process by chance"
        assert sum(counts.values()) == 14

        async def storm() -> None:
            for number in range(60):
                low = chance.randrange(1, 100)
                await postgres.transaction(
                    [
                        (
                            f"INSERT INTO trades SELECT n, 'S' || n, {number} FROM generate_series({low}, {low} + 40) n"
                            f" ON CONFLICT (id) DO UPDATE SET price = {number}"
                        ),
                        f"DELETE FROM trades WHERE id % 11 = {number % 11}",
                    ]
                )

        await storm()
        expected = {(row[0],): row[2] for row in await postgres.run("SELECT id, symbol, price FROM trades")}
        for client, trades in zip(clients, followed, strict=True):
            with suppress(TimeoutError):
                await client.until(lambda trades=trades: prices(trades) == expected)
            assert prices(trades) == expected
        timestamps = {trades.timestamp for trades in followed}
        assert len(timestamps) == 1, "timestamps are the same in all processes"
        states: dict[int, Any] = {}
        for trades in followed:
            for timestamp, rows in trades.states:
                assert states.setdefault(timestamp, rows) == rows, "half a transaction, or two histories"


async def test_one_port_one_database_connection_and_no_secrets_for_workers(postgres: Database, tmp_path: Path) -> None:
    async with (
        workers(postgres, tmp_path, DATABASE_PASSWORD="hush-hush", PGPASSFILE="/hush-hush") as service,
        connected(service.port) as client,
    ):
        trades = await client.subscribe(QUERY)
        await client.until(lambda: len(trades.rows) == 2)
        ((following,),) = await postgres.run(SLOTS)
        assert following == 1
        for one in await all_run(service):
            process = psutil.Process(one["pid"])
            assert process.ppid() == service.process.pid
            assert "hush-hush" not in " ".join([*process.cmdline(), *process.environ().values()])
            assert not [name for name in process.environ() if name.startswith(("DATABASE_", "PG"))]


async def test_any_worker_answers_for_all_processes(postgres: Database, tmp_path: Path) -> None:
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = await on_both(service, stack)
        trades = await clients["worker 1"].subscribe(QUERY)
        await clients["worker 1"].until(lambda: trades.rows)
        for number in range(12):  # each by a connection of its own, so of either worker
            _, body = await service.get("/debug/actors")
            listed = body["actors"]
            assert {one["process"] for one in listed} == {"ingest", "worker 1", "worker 2"}
            by_kind = {(one["process"], one["kind"]) for one in listed}
            assert {("ingest", "worker"), ("ingest", "relay"), ("ingest", "feed"), ("worker 2", "source")} <= by_kind
            sources = {one["process"]: one["details"]["state"] for one in listed if one["kind"] == "source"}
            if number == 0:  # nobody has asked the other worker for it
                assert sources == {"ingest": "LIVE", "worker 1": "LIVE", "worker 2": "IDLE"}
            code, health = await service.get("/health")
            assert (code, health["status"], health["sources"]["trades"]["state"]) == (200, "ok", "LIVE")
            assert await service.get("/ready") == (200, {"ready": True})
            async with http(service.port) as ask:
                status = (await ask("{ source_status { state } trades(order_by: {id: asc}) { id } }", None))["data"]
                assert status == {"source_status": [{"state": "LIVE"}], "trades": [{"id": 1}, {"id": 2}]}
        urn = next(one["urn"] for one in listed if one["kind"] == "connection")
        code, found = await service.get(f"/debug/actors/{urn}")
        assert (code, found["urn"]) == (200, urn)


async def test_a_trigger_fires_once_whoever_created_it(postgres: Database, tmp_path: Path) -> None:
    async with workers(postgres, tmp_path) as service, receiving() as receiver:
        for number in range(6):
            async with http(service.port) as ask:
                answer = await ask(CREATE, {"name": f"t{number}", "url": receiver.url(f"/{number}")})
                assert answer == {"data": {"create_trades_trigger": {"name": f"t{number}", "watching": True}}}
                answer = await ask(CREATE, {"name": f"t{number}", "url": receiver.url()})
                assert answer["errors"][0]["extensions"]["code"] == "TRIGGER_EXISTS"
        await postgres.run("UPDATE trades SET price = 200 WHERE id = 1")
        await receiver.until(6)
        await postgres.run("UPDATE trades SET price = 1 WHERE id = 1")
        await receiver.until(12)
        bodies = [json.loads(body) for body in receiver.bodies]
        told = sorted((one["trigger_name"], one["event_type"]) for one in bodies)
        assert told == sorted((f"t{number}", event) for number in range(6) for event in ("FIRE", "CLEAR"))
        for _ in range(6):
            async with http(service.port) as ask:
                shown = (await ask("{ trades_triggers { name fired } trades { id } __typename }", None))["data"]
                assert [one["fired"] for one in shown["trades_triggers"]] == [1] * 6
                assert ([row["id"] for row in shown["trades"]], shown["__typename"]) == ([1, 2], "Query")
                gone = await ask('mutation { delete_trades_trigger(name: "nobody") { name } }', None)
                assert gone["errors"][0]["extensions"]["code"] == "TRIGGER_NOT_FOUND"


async def test_a_client_goes_on_at_another_worker_and_at_one_that_was_started_again(
    postgres: Database, tmp_path: Path
) -> None:
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = await on_both(service, stack)
        follower = Follower("trades", "id", "id symbol price", None, "true")
        await follower.subscribe(clients["worker 1"], "1")
        await follower.settle(clients["worker 1"], postgres)
        clients["worker 1"].on_message("1", lambda _message: None)
        other = Follower("trades", "id", "id symbol price", None, "true")
        await other.subscribe(clients["worker 1"], "2")
        await other.settle(clients["worker 1"], postgres)
        await postgres.run("UPDATE trades SET price = 9 WHERE id = 1")
        await postgres.run("DELETE FROM trades WHERE id = 2")
        await other.settle(clients["worker 1"], postgres)
        await follower.subscribe(clients["worker 2"], "1")  # which has not followed the source until now
        await follower.settle(clients["worker 2"], postgres)
        assert [(one["operation"], one["snapshot"]) for one in follower.heard] == [("UPDATE", None), ("DELETE", None)]
        (pid,) = [one["pid"] for one in await all_run(service) if one["name"] == "2"]
        os.kill(pid, signal.SIGKILL)
        assert (await clients["worker 2"].closed())[0] is None
        await postgres.run("INSERT INTO trades VALUES (3, 'C', 3)")
        await until(lambda: restarted(service, pid))
        again = await on_both(service, stack)
        await follower.subscribe(again["worker 2"], "1")
        await follower.settle(again["worker 2"], postgres)
        assert [(one["operation"], one["snapshot"]) for one in follower.heard] == [("INSERT", None)]


async def health(service: Process) -> dict[str, Any]:
    """What /health says; of a worker that is killed before it answers, that nothing is well."""
    try:
        _, body = await service.get("/health")
    except OSError:
        return {"status": "gone", "workers": [], "schema": {"error": None}}
    return body


async def restarted(service: Process, pid: int) -> bool:
    body = await health(service)
    return body["status"] == "ok" and pid not in [one["pid"] for one in body["workers"]]


async def test_a_worker_that_is_killed_is_started_again_and_the_others_go_on(
    postgres: Database, tmp_path: Path
) -> None:
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = await on_both(service, stack)
        followed = {name: await client.subscribe(QUERY) for name, client in clients.items()}
        for name, client in clients.items():
            await client.until(lambda name=name: followed[name].rows)
        (victim,) = [one for one in await all_run(service) if one["name"] == "1"]
        os.kill(victim["pid"], signal.SIGKILL)
        assert (await clients["worker 1"].closed())[0] is None
        await postgres.run("INSERT INTO trades VALUES (3, 'C', 3)")
        await clients["worker 2"].until(lambda: len(followed["worker 2"].rows) == 3)
        await until(lambda: restarted(service, victim["pid"]))
        (again,) = [one for one in await all_run(service) if one["name"] == "1"]
        assert (again["restarts"], again["last_exit"]) == (1, "SIGKILL")
        (shown,) = [one for one in await actors(service, "worker") if one["name"] == "1"]
        assert (shown["details"]["restarts"], shown["details"]["last_exit"]) == (1, "SIGKILL")
        assert shown["details"]["pid"] == again["pid"] != victim["pid"]
        back = await on_both(service, stack)
        trades = await back["worker 1"].subscribe(QUERY)
        await back["worker 1"].until(lambda: len(trades.rows) == 3)
        service.process.send_signal(signal.SIGTERM)
        code, output = await service.ended()
        assert code == 0
        assert "worker 1 has ended: SIGKILL; started again in 0.0 s [WORKER_ENDED]" in output


async def test_a_worker_that_hangs_is_killed_and_started_again(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "PING_SECONDS", 0.05)
    monkeypatch.setattr(relay, "ANSWER_SECONDS", 1.0)
    await postgres.run(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ | {"WORKERS": "1"}) as service:
        (before,) = service.status().workers
        assert before.pid is not None
        os.kill(before.pid, signal.SIGSTOP)

        async def again() -> bool:
            (now,) = service.status().workers
            return now.state == "running" and now.pid != before.pid

        await until(again)
        async with connected(service.port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: len(trades.rows) == 2)


async def test_workers_end_when_the_process_that_started_them_is_killed(postgres: Database, tmp_path: Path) -> None:
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = await on_both(service, stack)
        pids = [one["pid"] for one in await all_run(service)]
        service.process.kill()
        for client in clients.values():
            assert await client.closed() == (1012, "the service is being restarted")

        async def gone() -> bool:
            return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)

        await until(gone)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1001), (signal.SIGUSR1, 1012)])
async def test_a_stop_sends_all_clients_away_and_leaves_no_process(
    postgres: Database, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(service.port)) for _ in range(10)]
        followed = [await client.subscribe(QUERY) for client in clients]
        for client, trades in zip(clients, followed, strict=True):
            await client.until(lambda trades=trades: trades.rows)
        pids = [one["pid"] for one in await all_run(service)]
        began = asyncio.get_running_loop().time()
        service.process.send_signal(number)
        assert {(await client.closed())[0] for client in clients} == {code}
        exit_code, output = await service.ended()
        assert exit_code == 0, output
        assert asyncio.get_running_loop().time() - began < 5
        assert "Traceback" not in output
        assert not any(map(psutil.pid_exists, pids))
    await postgres.until("SELECT count(*) FROM pg_publication", [(0,)])
    await postgres.until(SLOTS, [(0,)])


async def test_the_schema_file_changes_for_all_at_once(postgres: Database, tmp_path: Path) -> None:
    more = SCHEMA + "  quotes:\n    relation: trades\n    primary_key: id\n    columns: {id: Integer, price: Float}\n"
    changed = SCHEMA.replace(", price: Float", "")
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = await on_both(service, stack)
        followed = {name: await client.subscribe(QUERY) for name, client in clients.items()}
        for name, client in clients.items():
            await client.until(lambda name=name: followed[name].rows)
        (tmp_path / "schema.yaml").write_text(more)
        service.process.send_signal(signal.SIGHUP)

        async def knows(field: str, *, error: bool = False) -> bool:
            answers = []
            for client in clients.values():
                heard: list[Any] = []
                client.on_message("q", lambda message, heard=heard: heard.append(message))
                await client.start("q", {"query": "{ __schema { queryType { fields { name } } } }"})
                await client.until(lambda heard=heard: heard and heard[-1]["type"] == "complete")
                names = [one["name"] for one in heard[0]["payload"]["data"]["__schema"]["queryType"]["fields"]]
                answers.append((field in names) is not error)
            return all(answers)

        await until(lambda: knows("quotes"))
        for client in clients.values():
            quotes = await client.subscribe(QUERY.replace("trades", "quotes").replace("symbol ", ""))
            await client.until(lambda quotes=quotes: len(quotes.rows) == 2)
        assert not any(trades.errors for trades in followed.values())
        (tmp_path / "schema.yaml").write_text(changed)
        service.process.send_signal(signal.SIGHUP)
        for name, client in clients.items():
            await client.until(lambda name=name: followed[name].errors)
            assert followed[name].errors[0]["extensions"]["code"] == "SCHEMA_CHANGED"
            trades = await client.subscribe(QUERY.replace(" price", ""))
            await client.until(lambda trades=trades: len(trades.rows) == 2)
        (tmp_path / "schema.yaml").write_text("sources: 7")
        service.process.send_signal(signal.SIGHUP)

        async def complains() -> bool:
            _, body = await service.get("/health")
            return body["schema"]["error"] is not None

        await until(complains)
        pids = {one["pid"] for one in await all_run(service)}
        os.kill(pids.pop(), signal.SIGKILL)
        await until(lambda: restarted_with_error(service, pids))


async def restarted_with_error(service: Process, kept: set[int]) -> bool:
    body = await health(service)
    pids = {one["pid"] for one in body["workers"]}
    return body["status"] == "ok" and len(pids) == 2 and kept < pids and body["schema"]["error"] is not None


async def test_the_database_goes_and_comes_back(postgres: Database, tmp_path: Path) -> None:
    status = "subscription { source_status { source state reason } }"
    async with (
        workers(postgres, tmp_path, RECONNECT_MIN_MS="50", RECONNECT_MAX_MS="100") as service,
        AsyncExitStack() as stack,
    ):
        clients = await on_both(service, stack)
        heard: dict[str, list[tuple[str, str | None]]] = {}
        followed = {}
        for name, client in clients.items():
            followed[name] = await client.subscribe(QUERY)
            await client.until(lambda name=name: followed[name].rows)
            states = heard[name] = []

            def note(message: dict[str, Any], states: list[tuple[str, str | None]] = states) -> None:
                told = message["payload"]["data"]["source_status"]
                states.append((told["state"], told["reason"]))

            client.on_message("s", note)
            await client.start("s", {"query": status})
            await client.until(lambda states=states: states == [("LIVE", None)])
        await postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await postgres.run("UPDATE trades SET price = 77 WHERE id = 1")
        for name, client in clients.items():
            await client.until(lambda name=name: followed[name].rows[1,]["price"] == 77)
            await client.until(lambda name=name: heard[name][-1][0] == "LIVE" and len(heard[name]) > 1)
            assert [state for state, _reason in heard[name]] == ["LIVE", "STALE", "LIVE"]
        assert heard["worker 1"] == heard["worker 2"]


async def test_a_free_port_for_all_and_a_taken_one_for_none(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLE)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with running(first, postgres.environ, "--workers", "2", schema=SCHEMA) as service:
        await all_run(service)
        taken = postgres.environ | {"GRAPHQL_PORT": str(service.port), "WORKERS": "2"}
        async with running(second, taken, schema=SCHEMA) as late:
            code, output = await late.ended()
            assert code == 1
            assert f"can't listen on port {service.port}: Address already in use [START_FAILED]" in output
        async with running(second, taken | {"WORKERS": "0"}, schema=SCHEMA) as single:
            assert (await single.ended())[0] == 1
        await all_run(service)
    async with running(second, postgres.environ | {"GRAPHQL_PORT": "0"}, "--workers", "1", schema=SCHEMA) as free:
        assert free.process.stdout is not None
        async with asyncio.timeout(20):
            while b"serving" not in (line := await free.process.stdout.readline()) or b"http" not in line:
                assert line, "it has ended"
        port = int(line.split(b"localhost:")[1].split(b"/")[0])
        async with connected(port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: len(trades.rows) == 2)


async def test_the_embedded_database_has_workers_too(tmp_path: Path) -> None:
    (tmp_path / "init.sql").write_text(TABLE)
    environ = {"DATABASE_TYPE": "embedded", "EMBEDDED_INIT": "init.sql", "WORKERS": "2"}
    async with running(tmp_path, environ, schema=SCHEMA) as service:
        await all_run(service)
        async with connected(service.port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: len(trades.rows) == 2)
            service.process.send_signal(signal.SIGTERM)
            code, output = await service.ended()
            assert code == 0, output
    assert not (tmp_path / ".tycostream" / "postgres" / "data" / "postmaster.pid").exists()
