"""How the service ends: announced, staggered, with what waits delivered; at once where it is told twice; and by itself with
a code of its own where nothing inside could mend it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from actors import drain as drain_module
from tests.end_to_end.test_process import QUERY, SCHEMA, TABLE, connected_when_up, running
from tests.end_to_end.test_queries import http
from tests.support.client import BOTH, connected
from tests.support.postgres import Database
from tests.support.receiver import Answer, receiving
from tests.support.service import serving

CREATE = """mutation ($url: String!) { create_trades_trigger(input: {
    name: "one", webhook: $url, fire: {id: {_gt: 1}}
}) { watching } }"""


async def ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The status of /ready, over a connection that stays open."""
    writer.write(b"GET /ready HTTP/1.1\r\nHost: test\r\n\r\n")
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    (length,) = [int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length")]
    await reader.readexactly(length)
    return int(head.split()[1])


@pytest.mark.parametrize(("restart", "code", "reason"), [
    (False, 1001, "the server is being stopped"), (True, 1012, "the service is being restarted"),
])  # fmt: skip
@pytest.mark.parametrize("protocol", BOTH)
async def test_clients_are_sent_away_one_after_the_other(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, restart: bool, code: int, reason: str
) -> None:  # fmt: skip
    monkeypatch.setattr(drain_module, "CLIENTS_PER_SECOND", 20.0)
    postgres.execute(TABLE)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        service = await enter(serving(tmp_path, SCHEMA, postgres.environ | {"DRAIN_SECONDS": "0.5"}))
        clients = [await enter(connected(service.port, protocol=protocol)) for _ in range(20)]
        followed = [await client.subscribe(QUERY) for client in clients]
        for client, trades in zip(clients, followed, strict=True):
            await client.until(lambda trades=trades: trades.rows)
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        assert await ready(reader, writer) == 200
        began = loop.time()
        stopping = asyncio.ensure_future(service.stop(restart=restart))
        closed: list[float] = []

        async def gone(number: int) -> tuple[int | None, str | None]:
            found = await clients[number].closed()
            closed.append(loop.time() - began)
            return found

        leaving = [asyncio.ensure_future(gone(number)) for number in range(20)]
        assert await ready(reader, writer) == 503
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", service.port)
        assert not stopping.done()
        assert set(await asyncio.gather(*leaving)) == {(code, reason)}
        await asyncio.wait_for(stopping, 5)
        writer.close()
        assert not any(trades.completed or trades.errors for trades in followed), "it is not over, it goes on elsewhere"
        assert closed[0] < 0.25
        assert closed[-1] > 0.4
        early = sum(moment < 0.25 for moment in closed)
        assert 3 <= early <= 17, "neither all at the beginning nor all at the end"


async def test_webhooks_that_wait_are_called_before_the_end(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    gate = asyncio.Event()
    environ = postgres.environ | {"SHUTDOWN_SECONDS": "20", "WEBHOOK_CONCURRENCY": "1"}
    async with (
        receiving(lambda _request: Answer(gate=gate)) as receiver,
        serving(tmp_path, SCHEMA, environ) as service,
        connected(service.port) as client,
    ):
        async with http(service.port) as ask:
            assert (await ask(CREATE, {"url": receiver.url()}))["data"]
        await postgres.run("INSERT INTO trades VALUES (2, 'A'), (3, 'B')")
        await receiver.until(1)
        stopping = asyncio.ensure_future(service.stop())
        assert (await client.closed())[0] == 1001
        courier = service._courier
        assert courier is not None
        async with asyncio.timeout(10):
            while not courier._closing:  # nothing but webhooks is left to wait for
                await asyncio.sleep(0)
        gate.set()
        await asyncio.wait_for(stopping, 10)
        assert sorted(json.loads(body)["data"]["id"] for body in receiver.bodies) == [2, 3]


async def test_a_signal_announces_a_restart(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    async with running(tmp_path, postgres.environ) as service, connected_when_up(service) as client:
        trades = await client.subscribe(QUERY)
        await client.until(lambda: trades.rows)
        service.process.send_signal(signal.SIGUSR1)
        assert await client.closed() == (1012, "the service is being restarted")
        code, output = await service.ended()
        assert code == 0
        assert "stopping, to be restarted" in output


async def test_told_twice_it_ends_at_once(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    gate = asyncio.Event()
    environ = postgres.environ | {"SHUTDOWN_SECONDS": "3600", "WEBHOOK_TIMEOUT_SECONDS": "3600"}
    async with (
        receiving(lambda _request: Answer(gate=gate)) as receiver,
        running(tmp_path, environ) as service,
        connected_when_up(service) as client,
    ):
        async with http(service.port) as ask:
            assert (await ask(CREATE, {"url": receiver.url()}))["data"]
        await postgres.run("INSERT INTO trades VALUES (2, 'A')")
        await receiver.until(1)
        service.process.send_signal(signal.SIGTERM)
        assert (await client.closed())[0] == 1001
        assert service.process.returncode is None, "the webhook has not answered"
        service.process.send_signal(signal.SIGTERM)
        code, output = await service.ended()
        assert code == 128 + signal.SIGTERM
        assert "ending at once" in output
        gate.set()


CRASH = """
import asyncio, os, sys
from pathlib import Path
from actors.supervisor import StartChild
from tycostream.app import Service
from tycostream.serving import serve
from tycostream.settings import load_configuration

async def crash(service: Service) -> None:
    print("PORT", service.port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    service._supervisor.tell(StartChild("poison", "one", lambda _supervisor: 1 / 0))
    await asyncio.Event().wait()

settings, catalog = load_configuration(os.environ, Path.cwd())
sys.exit(asyncio.run(serve(settings, catalog, started=crash)))
"""


async def test_a_supervisor_that_fails_ends_the_process_with_code_70(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASH, cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "GRAPHQL_PORT": "0", "GRAPHQL_HOST": "127.0.0.1"}
        | postgres.environ,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        port = int((await asyncio.wait_for(process.stdout.readline(), 20)).split()[1])
        async with connected(port) as client:
            trades = await client.subscribe(QUERY)
            await client.until(lambda: trades.rows)
            process.stdin.write(b"now\n")
            assert await client.closed() == (1012, "the service is being restarted")
        _, output = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 70
        assert "the supervisor failed, and so the process ends: ZeroDivisionError" in output.decode()
        assert "[SUPERVISOR_FAILED]" in output.decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await postgres.until("SELECT count(*) FROM pg_publication", [(0,)])
