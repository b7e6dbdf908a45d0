"""`/metrics` of services with real databases and clients: a number moves when what it counts happens, and only then."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from actors.runtime import tell
from actors.source_messages import Attach
from benchmarks.harness import serving as fed
from benchmarks.slow import HELD, feed, query, slow_reader
from tests.end_to_end.test_queries import http, older_websocket
from tests.end_to_end.test_workers import all_run, connections, on_both, workers
from tests.support.client import connected
from tests.support.metrics import OPENMETRICS, Scrape, read_openmetrics, read_text, scrape, scraped
from tests.support.postgres import Database
from tests.support.receiver import Answer, receiving
from tests.support.service import serving
from tests.web.support import raw
from tycostream import __version__
from tycostream.metrics.families import FAMILIES

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
  quotes:
    primary_key: symbol
    columns: {symbol: String, bid: Float}
"""
TABLES = """
CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8);
INSERT INTO trades SELECT n, 'S' || n, n FROM generate_series(1, 5) n;
CREATE TABLE quotes (symbol text PRIMARY KEY, bid float8);
"""
QUERY = "subscription { trades { operation data { id symbol price } fields timestamp } }"
DEAR = QUERY.replace("trades {", "trades(where: {price: {_gt: 100}}) {", 1)
CREATE = """mutation ($name: String!, $url: String!) { create_trades_trigger(input: {
    name: $name, webhook: $url, fire: {price: {_gt: 100}}, clear: {price: {_lt: 50}}}) { name } }"""
DELETE = 'mutation { delete_trades_trigger(name: "dear") { name } }'


async def of_source(port: int, condition: str, value: float, source: str = "trades") -> Scrape:
    return await scraped(port, lambda one: one.value(f"tycostream_source_{condition}", source=source) == value)


async def test_either_format_names_every_family_of_the_table(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, connected(service.port) as client:
        trades = await client.subscribe(QUERY)
        await client.until(lambda: len(trades.rows) == 5)
        await postgres.run("UPDATE trades SET price = 7 WHERE id = 1")  # from then on there is a lag
        await client.until(lambda: trades.rows[1,]["price"] == 7)
        strict = await scrape(service.port)
        url = f"http://127.0.0.1:{service.port}/metrics"
        text = await AsyncHTTPClient().fetch(url)
        head = await AsyncHTTPClient().fetch(url, method="HEAD")
    only_with_workers = {name for name in FAMILIES if name.startswith(("tycostream_worker_", "tycostream_relay_"))}
    for found in (strict, read_text(text.body.decode())):
        told = {one.name.removesuffix("_bucket") for one in found.samples if not one.name.endswith(("_sum", "_count"))}
        assert told == set(FAMILIES) - only_with_workers
        assert {one.labels["process"] for one in found.samples} == {"service"}
        assert found.value("tycostream_up") == 1
        assert found.labels("tycostream_info", "version") == {__version__}
        assert found.labels("tycostream_info", "database") == {"postgres"}
        resident = found.value("tycostream_process_resident_memory_bytes")
        assert 20e6 < resident < found.value("tycostream_process_virtual_memory_bytes")
        assert found.value("tycostream_process_cpu_seconds_total") > 0.1
        assert 10 < found.value("tycostream_process_open_fds") < found.value("tycostream_process_max_fds")
    assert text.headers["Content-Type"].startswith("text/plain; version=")
    assert text.headers["Cache-Control"] == "no-store"
    assert (head.code, head.body, head.headers["Content-Type"]) == (200, b"", text.headers["Content-Type"])


async def test_sources_and_their_subscriptions(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, connected(service.port) as client:
        before = await scrape(service.port)
        assert before.value("tycostream_source_state", source="trades", state="IDLE") == 1
        assert before.value("tycostream_source_state", source="trades") == 1, "one state holds"
        assert before.value("tycostream_feed_connected") == 0
        assert not before.labels("tycostream_source_lag_seconds", "source"), "nothing is known of it"
        followed = [await client.subscribe(one) for one in (QUERY, QUERY, DEAR)]
        await client.until(lambda: len(followed[1].rows) == 5)
        now = await scraped(service.port, lambda one: one.value("tycostream_source_subscriptions") == 3)
        assert now.value("tycostream_source_state", source="trades", state="LIVE") == 1
        assert now.value("tycostream_source_state", source="quotes", state="IDLE") == 1
        assert now.value("tycostream_source_state_timestamp_seconds", source="trades") > before.value(
            "tycostream_source_state_timestamp_seconds", source="trades"
        )
        assert now.value("tycostream_source_views", source="trades") == 2
        assert now.value("tycostream_source_rows", source="trades") == 5
        assert now.value("tycostream_source_snapshots_total", source="trades") == 1
        assert now.value("tycostream_feed_connected") == now.value("tycostream_feed_streams_total") == 1
        changes = now.value("tycostream_source_changes_total", source="trades")
        await postgres.run("UPDATE trades SET price = price + 1 WHERE id < 4")
        await client.until(lambda: followed[0].rows[3,]["price"] == 4)
        now = await of_source(service.port, "changes_total", changes + 3)
        assert now.value("tycostream_source_changes_total", source="quotes") == 0
        assert now.value("tycostream_feed_transactions_total") >= 1
        assert 0 <= now.value("tycostream_source_lag_seconds", source="trades") < 60
        await client.complete(followed[0])
        await of_source(service.port, "subscriptions", 2)
        await client.complete(followed[2])
        now = await of_source(service.port, "subscriptions", 1)
        assert now.value("tycostream_source_views", source="trades") == 1


async def test_counts_of_a_source_outlive_its_actor_and_its_stream(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)
    environ = postgres.environ | {"LOG_LEVEL": "error", "RECONNECT_MIN_MS": "1"}
    async with serving(tmp_path, SCHEMA, environ) as service, connected(service.port) as client:
        trades = await client.subscribe(QUERY)
        await client.until(lambda: len(trades.rows) == 5)
        await postgres.run("UPDATE trades SET price = 100")
        before = await of_source(service.port, "changes_total", 5)
        tell(service._directory["source", "trades"], Attach(None))  # type: ignore[arg-type]
        after = await scraped(
            service.port, lambda one: one.value("tycostream_actor_restarts_total", kind="source") == 1
        )
        assert after.value("tycostream_actor_failures_total", kind="source") == 1
        assert after.value("tycostream_source_changes_total", source="trades") >= 5
        await of_source(service.port, "snapshots_total", 2)
        transactions = before.value("tycostream_feed_transactions_total")
        assert transactions >= 1
        await postgres.run(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL"
        )
        after = await scraped(service.port, lambda one: one.value("tycostream_feed_streams_total") == 2)
        assert after.value("tycostream_feed_transactions_total") >= transactions
        after = await of_source(service.port, "snapshots_total", 3)
        assert after.value("tycostream_source_failures_total", source="trades") >= 1
        assert after.value("tycostream_source_subscriptions", source="trades") == 1


async def test_a_source_that_goes_on_and_one_that_can_not(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES + "DROP TABLE quotes")
    environ = postgres.environ | {"LOG_LEVEL": "error", "RECONNECT_MIN_MS": "1", "REPLICATION_SLOT": postgres.slot}
    async with serving(tmp_path, SCHEMA, environ) as service, connected(service.port) as client:
        trades = await client.subscribe(QUERY)
        await client.until(lambda: len(trades.rows) == 5)
        await postgres.run(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL"
        )
        now = await of_source(service.port, "resumptions_total", 1)
        assert now.value("tycostream_source_snapshots_total", source="trades") == 1
        assert now.value("tycostream_source_circuit_open") == 0
        quotes = await client.subscribe("subscription { quotes { operation data { symbol } fields timestamp } }")
        await client.until(lambda: quotes.errors)
        now = await of_source(service.port, "circuit_open", 1, "quotes")
        assert now.value("tycostream_source_circuit_open") == 1
        assert now.value("tycostream_source_state", source="quotes", state="FAILED") == 1
        assert now.value("tycostream_source_failures_total", source="quotes") >= 1
        assert now.value("tycostream_errors_total", code="SOURCE_UNAVAILABLE", transport="websocket") == 1


async def test_connections_operations_and_errors(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)
    environ = postgres.environ | {"MAX_CONNECTIONS": "2"}
    async with serving(tmp_path, SCHEMA, environ) as service:
        assert (await scrape(service.port)).value("tycostream_connections") == 0
        async with connected(service.port) as one, older_websocket(service.port) as ask, http(service.port) as post:
            trades = await one.subscribe(QUERY)
            await one.until(lambda: len(trades.rows) == 5)
            wrong = await one.subscribe("subscription { nothing { operation } }")
            await one.until(lambda: wrong.errors)
            assert "errors" in await ask("{ nothing }", None)
            assert "data" in await ask("{ trades { id } }", None)
            assert "data" in await post("{ trades { id } quotes { bid } }", None)
            assert "errors" in await post(DELETE, None)
            with pytest.raises(HTTPClientError):
                async with connected(service.port):
                    pass
            with pytest.raises(HTTPClientError):
                await AsyncHTTPClient().fetch(f"http://127.0.0.1:{service.port}/nothing")
            now = await scrape(service.port)
            opened, limit = now.value("tycostream_connections"), now.value("tycostream_connections_limit")
            assert (opened, limit) == (2, 2)
            assert now.value("tycostream_connections_opened_total") == 2
            assert now.value("tycostream_connections_closed_total") == 0
            assert now.value("tycostream_connections_refused_total", code="TOO_MANY_CONNECTIONS") == 1
            assert now.value("tycostream_connections_refused_total") == 1
            operations = {
                (kind, transport): now.value("tycostream_operations_total", kind=kind, transport=transport)
                for kind, transport in [("subscription", "websocket"), ("query", "websocket"), ("query", "http"),
                                        ("mutation", "http"), ("mutation", "websocket")]
            }  # fmt: skip
            assert list(operations.values()) == [1, 1, 1, 1, 0]
            invalid = {"code": "GRAPHQL_VALIDATION_FAILED"}
            assert now.value("tycostream_errors_total", transport="websocket", **invalid) == 2
            assert now.value("tycostream_errors_total", code="TRIGGER_NOT_FOUND", transport="http") == 1
            assert now.value("tycostream_errors_total", code="TOO_MANY_CONNECTIONS") == 1
            assert now.value("tycostream_errors_total", code="NOT_FOUND") == 1
            assert now.value("tycostream_errors_total") == 5, "nothing is counted twice"
            assert now.value("tycostream_actors", kind="connection") == 2
            sent = now.value("tycostream_connection_sent_bytes_total")
            assert sent > 5 * len('{"id":1,"symbol":"S1","price":1.0}')
        gone = await scraped(service.port, lambda found: found.value("tycostream_connections") == 0)
        assert (
            gone.value("tycostream_connections_opened_total") == gone.value("tycostream_connections_closed_total") == 2
        )
        assert gone.value("tycostream_connection_sent_bytes_total") >= sent, "those who have left count"
        await scraped(service.port, lambda found: found.value("tycostream_actors", kind="connection") == 0)


async def test_how_connections_end(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)

    def ended(found: Scrape) -> dict[tuple[str, str], float]:
        name = "tycostream_connections_closed_total"
        return {
            (one.labels["close_code"], one.labels["by"]): one.value
            for one in found.samples
            if one.name == name and one.value
        }

    async with serving(tmp_path, SCHEMA, postgres.environ | {"IDLE_SECONDS": "0.05"}) as service:
        async with connected(service.port) as idle:
            assert (await idle.closed())[0] == 1000
        async with raw(service.port) as client:
            client.text('{"type":"nonsense"}')
            assert (await client.frame()).close[0] == 4400
        expected = {("1000", "service"): 1.0, ("4400", "service"): 1.0}
        await scraped(service.port, lambda found: ended(found) == expected)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        for code in (1001, 3000, 4999, None):
            async with raw(service.port) as client:
                client.send(8, b"" if code is None else code.to_bytes(2, "big"))
                await client.frame()
        async with raw(service.port) as client:
            client.text('{"type":"connection_init"}')
            await client.frame()  # and then it is gone without a word
        async with raw(service.port, protocol="other"):
            pass
        expected = {("1001", "client"): 1, ("other", "client"): 2, ("1005", "client"): 1, ("1006", "client"): 1,
                    ("4406", "service"): 1}  # fmt: skip
        await scraped(service.port, lambda found: ended(found) == expected)


async def test_triggers_and_their_webhooks(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)
    answers = iter([Answer(500), Answer(200), Answer(400)])
    environ = postgres.environ | {"WEBHOOK_RETRY_MIN_MS": "1", "LOG_LEVEL": "error"}
    async with (
        serving(tmp_path, SCHEMA, environ) as service,
        receiving(lambda _request: next(answers)) as receiver,
        http(service.port) as ask,
    ):
        await ask(CREATE, {"name": "dear", "url": receiver.url()})
        assert (await scrape(service.port)).value("tycostream_triggers", source="trades") == 1
        await postgres.run("UPDATE trades SET price = 500 WHERE id = 1")
        now = await scraped(service.port, lambda one: one.value("tycostream_webhook_events_total", outcome="delivered"))
        assert now.value("tycostream_trigger_events_total", source="trades", event="fire") == 1
        assert now.value("tycostream_webhook_retries_total") == 1
        await postgres.run("UPDATE trades SET price = 5 WHERE id = 1")
        await scraped(service.port, lambda one: one.value("tycostream_webhook_events_total", outcome="failed") == 1)
        await ask(DELETE, None)
        now = await scrape(service.port)
        assert now.value("tycostream_triggers") == 0
        assert now.value("tycostream_trigger_events_total", source="trades", event="fire") == 1, (
            "it outlives the trigger"
        )
        assert now.value("tycostream_trigger_events_total", event="clear") == 1
        assert now.value("tycostream_webhook_events_total") == 2
        assert now.value("tycostream_webhook_calls_in_flight") == now.value("tycostream_webhook_events_waiting") == 0


async def test_slow_clients() -> None:
    async with fed(HELD) as service, slow_reader(service.port, query("DROP_OLDEST")) as one:
        await feed(service, 2, 2 * HELD)
        now = await scrape(service.port)
        assert now.value("tycostream_connections_behind") == 1
        assert 0 < now.value("tycostream_connection_waiting_changes") <= 1000
        assert now.value("tycostream_connection_waiting_bytes") > 0
        async with asyncio.timeout(60):
            while one.updates + one.dropped < 3 * HELD:
                await one.read(1 << 20)
        now = await scraped(service.port, lambda found: found.value("tycostream_connections_behind") == 0)
        assert now.value("tycostream_connection_changes_dropped_total") == one.dropped > 0
        assert now.value("tycostream_connection_waiting_changes") == 0
    async with fed(HELD) as service:
        async with slow_reader(service.port, query("CONFLATE")) as one:
            async with asyncio.timeout(60):
                while one.updates < HELD:  # what comes behind a snapshot is merged only once that is sent
                    await one.read(1 << 20)
            await feed(service, 2, 2 * HELD)
            now = await scrape(service.port)
            assert now.value("tycostream_connections_merging") == 1
            assert now.value("tycostream_connection_changes_dropped_total") == 0
        gone = await scraped(service.port, lambda found: found.value("tycostream_connections_behind") == 0)
        assert gone.value("tycostream_connections_merging") == gone.value("tycostream_connection_waiting_bytes") == 0


async def test_the_loops_delay(postgres: Database, tmp_path: Path) -> None:
    await postgres.run(TABLES)
    name = "tycostream_loop_delay_seconds"
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        before = await scraped(service.port, lambda one: one.value(f"{name}_count") >= 1)
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.2
        while loop.time() < until:  # nobody else has a turn, and at least one timer comes due
            pass
        after = await scraped(service.port, lambda one: one.value(f"{name}_count") > before.value(f"{name}_count"))
        assert 0.5 < after.value("tycostream_loop_delay_highest_seconds") < 10
        assert after.value(f"{name}_sum") >= after.value("tycostream_loop_delay_highest_seconds")
        beyond = after.value(f"{name}_bucket", le="+Inf") - after.value(f"{name}_bucket", le="0.5")
        assert beyond == 1 + before.value(f"{name}_bucket", le="+Inf") - before.value(f"{name}_bucket", le="0.5")


# Several processes


async def test_any_process_answers_for_all(postgres: Database, tmp_path: Path) -> None:
    async with workers(postgres, tmp_path) as service, AsyncExitStack() as stack:
        clients = await on_both(service, stack)
        opened = sum((await connections(service)).values())
        trades = await clients["worker 1"].subscribe(QUERY)
        await clients["worker 1"].until(lambda: len(trades.rows) == 2)
        await postgres.run("UPDATE trades SET price = 50")
        await clients["worker 1"].until(lambda: trades.rows[1,]["price"] == 50)
        for _ in range(10):  # each by a connection of its own, so of either worker
            now = await scraped(service.port, lambda one: one.value("tycostream_source_subscriptions") == 1)
            assert now.labels("tycostream_up", "process") == {"ingest", "worker 1", "worker 2"}
            assert now.value("tycostream_up") == 3
            assert now.value("tycostream_connections") == opened
            assert now.value("tycostream_source_subscriptions", process="worker 1", source="trades") == 1
            assert now.value("tycostream_source_rows", process="ingest", source="trades") == 2
            assert now.value("tycostream_source_rows", process="worker 2", source="trades") == 0
            assert now.value("tycostream_source_changes_total", process="ingest") == 2
            assert now.value("tycostream_source_changes_total", process="worker 1") == 2
            assert now.value("tycostream_operations_total", process="worker 1", kind="subscription") == 1
            assert now.value("tycostream_worker_state", state="running", process="ingest") == 2
            assert now.value("tycostream_relay_sent_bytes_total", worker="1") > 0
            assert now.labels("tycostream_info", "database") == {"postgres", ""}
            assert not now.labels("tycostream_connections", "process") & {"ingest"}, "it serves nobody"
            pids = {one.labels["process"]: one.value for one in now.samples
                    if one.name == "tycostream_process_resident_memory_bytes"}  # fmt: skip
            assert len(pids) == 3


async def test_a_worker_answers_for_itself_while_the_process_behind_it_is_silent(
    postgres: Database, tmp_path: Path
) -> None:
    async with workers(postgres, tmp_path, LOG_LEVEL="error") as service:
        service.process.send_signal(signal.SIGSTOP)
        try:
            found = await scrape(service.port)
        finally:
            service.process.send_signal(signal.SIGCONT)
        (answered,) = found.labels("tycostream_connections", "process")
        assert answered in ("worker 1", "worker 2")
        assert found.value("tycostream_up", process=answered) == found.value("tycostream_up") == 1
        assert found.labels("tycostream_up", "process") == {"ingest", "worker 1", "worker 2"}
        await scraped(service.port, lambda one: one.value("tycostream_up") == 3)


def peers(pid: int) -> list[tuple[str, int]]:
    """Who is connected to the process."""
    return [tuple(one.raddr) for one in psutil.Process(pid).net_connections("tcp") if one.raddr]


async def test_a_worker_that_is_gone_or_silent_is_left_out(postgres: Database, tmp_path: Path) -> None:
    async with workers(postgres, tmp_path, LOG_LEVEL="error") as service:
        pids = {f"worker {one['name']}": one["pid"] for one in await all_run(service)}
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        own = writer.get_extra_info("sockname")
        async with asyncio.timeout(20):
            while not (asked := [name for name, pid in pids.items() if own in peers(pid)]):
                await asyncio.sleep(0.01)
        (other,) = pids.keys() - set(asked)
        os.kill(pids[other], signal.SIGSTOP)
        try:
            writer.write(f"GET /metrics HTTP/1.0\r\nAccept: {OPENMETRICS}\r\n\r\n".encode())
            _, _, body = (await asyncio.wait_for(reader.read(-1), 20)).partition(b"\r\n\r\n")
        finally:
            os.kill(pids[other], signal.SIGCONT)
            writer.close()
        silent = read_openmetrics(body.decode())
        assert silent.value("tycostream_up", process=other) == 0
        assert silent.value("tycostream_up") == 2
        assert silent.labels("tycostream_connections", "process") == set(asked)
        await scraped(service.port, lambda one: one.value("tycostream_up") == 3)
        killed = psutil.Process(pids[other])
        killed.kill()
        async with asyncio.timeout(20):
            while killed.is_running() and killed.status() != psutil.STATUS_ZOMBIE:  # until it accepts nobody any more
                await asyncio.sleep(0.01)
        again = await scraped(
            service.port,
            lambda one: one.value("tycostream_up") == 3 and one.value("tycostream_worker_restarts_total") == 1,
        )
        assert again.value("tycostream_worker_restarts_total", worker=other.removeprefix("worker ")) == 1
