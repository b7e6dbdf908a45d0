"""The service's own process is killed, told to end, and started again, while rows change; and it has a client that hardly
reads. Clients come back by themselves, with their cursors, and end in the database's state."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.test_any_history import SCHEMA, TABLES
from tests.end_to_end.test_process import running
from tests.faults.support import QUICK, follow, returning, rounds, settle
from tests.faults.test_client_link import ACCOUNTS, SOME, TOTALS
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.faults import HOST, proxying
from tests.support.postgres import Database


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_service_that_is_started_again_finds_its_clients_again(
    database: AnyDatabase, tmp_path: Path, number: signal.Signals
) -> None:
    """Whether a cursor is good for the new process is the service's affair: the rows are right in any case."""
    await database.run(TABLES)
    written = 0

    async def write() -> None:
        nonlocal written
        written += 1
        change = f"INSERT INTO accounts SELECT n, 'a', {written}, '' FROM generate_series({written}, {written} + 3) n"
        conflict = f"ON CONFLICT (id) DO UPDATE SET amount = {written}"
        await database.transaction(
            [f"{change} {conflict}", f"DELETE FROM accounts WHERE id % 5 = {written % 5}", "UPDATE clock SET tick = tick + 1"]
        )  # fmt: skip

    environ = database.environ | QUICK
    async with proxying((HOST, 1)) as proxy, returning(proxy.port, ACCOUNTS, SOME, TOTALS) as clients:
        for _ in range(rounds(2, 20)):
            async with running(tmp_path, environ, schema=SCHEMA) as service:
                proxy.target = (HOST, service.port)
                await service.get("/ready")
                await write()
                for one in clients:
                    await one.settle_alone(database)
                writing = asyncio.ensure_future(write())
                service.process.send_signal(number)
                await asyncio.wait_for(service.process.communicate(), 20)
                await writing
                await write()
        async with running(tmp_path, environ, schema=SCHEMA) as service:
            proxy.target = (HOST, service.port)
            for one in clients:
                await one.settle_alone(database)
            assert all(one.visits > 2 for one in clients)


async def test_a_client_that_hardly_reads_costs_bounded_memory(postgres: Database, tmp_path: Path) -> None:
    """It reads 1 kB a second of 20,000 updates a second. What it costs does not grow with what it misses."""
    rows, step = 2000, rounds(12, 600)
    await postgres.run(TABLES)
    await postgres.run(f"INSERT INTO accounts SELECT n, 'a', n, repeat('n', 50) FROM generate_series(1, {rows}) n")
    async with (
        running(tmp_path, postgres.environ | QUICK, schema=SCHEMA) as service,
        proxying((HOST, service.port)) as proxy,
    ):
        await service.get("/ready")
        process = psutil.Process(service.process.pid)
        async with connected(service.port) as other, connected(proxy.port) as slow:
            seen, behind = await follow(other, "accounts"), await follow(slow, "accounts")
            await settle(slow, postgres, behind)
            proxy.slow(1000)

            async def change(times: int) -> int:
                """So many updates of every row; the bytes that the process has taken in the end."""
                for _ in range(times):
                    await postgres.transaction(["UPDATE accounts SET amount = amount + 1"])
                await settle(other, postgres, seen)
                return process.memory_info().rss

            before = await change(step)
            after = await change(2 * step)
            assert after - before < 12_000_000
            assert len(behind.subscription.messages) < len(seen.subscription.messages) / 2, "it is behind"
            proxy.restore()
            await settle(slow, postgres, behind)
