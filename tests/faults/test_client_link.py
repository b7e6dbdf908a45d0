"""Between clients and service: whoever is cut, reset, stalled or slow costs the others nothing, leaves nothing behind, and
comes back to the database's state."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.faults.support import follow, returning, rounds, scene, settle
from tests.faults.test_database_link import write
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.faults import HOST, Way, proxying
from tests.support.postgres import Database

ACCOUNTS = ("accounts", "id", "id kind amount note", None, "true")
SOME = ("accounts", "id", "id amount", {"amount": {"_gt": 1}}, "amount > 1")
TOTALS = ("totals", "kind", "kind total", None, "true")


@pytest.mark.parametrize("reset", [False, True])
async def test_clients_that_are_cut_at_any_byte_go_on_where_they_were(
    database: AnyDatabase, tmp_path: Path, reset: bool
) -> None:
    dice = random.Random(f"clients {reset}")
    async with (
        scene(database, tmp_path) as s,
        connected(s.service.port) as witness,
        AsyncExitStack() as stack,
    ):
        await write(s, 0)
        seen = [await follow(witness, source) for source in ("accounts", "clock", "totals")]
        clients = await stack.enter_async_context(returning(s.port, ACCOUNTS, SOME, TOTALS))
        for client in clients:
            await client.settle_alone(s.database)
        for number in range(1, rounds(15, 500)):
            for link in s.to_service.links:
                link.cut_after(int(10 ** dice.uniform(0, 4)), dice.choice(list(Way)), reset=reset)
            for transaction in range(dice.randrange(1, 4)):
                await write(s, number * 10 + transaction)
            if dice.random() < 0.3:
                s.to_service.cut(reset=reset)
        s.to_service.restore()
        for client in clients:
            await client.settle_alone(s.database)
        assert sum(client.visits for client in clients) > len(clients), "somebody was cut"
        await settle(witness, s.database, *seen)
        await stack.aclose()
        await s.until_subscriptions({"accounts": 1, "clock": 1, "totals": 1, "unkeyed": 0, "connection 0": 3})


async def test_clients_that_have_vanished_without_a_word_are_forgotten(postgres: Database, tmp_path: Path) -> None:
    """Their sockets stay open, and nobody answers there or is heard: pings find it out."""
    stalled: list[tuple[Way, ...]] = [(Way.TO_CLIENT,), (Way.TO_SERVER,), tuple(Way)]
    async with (
        scene(postgres, tmp_path, {"PING_SECONDS": "0.5"}) as s,
        connected(s.service.port) as witness,
        AsyncExitStack() as stack,
    ):
        await write(s, 0)
        seen = [await follow(witness, source) for source in ("accounts", "clock")]
        proxies = [await stack.enter_async_context(proxying((HOST, s.service.port))) for _ in stalled]
        for proxy, ways in zip(proxies, stalled, strict=True):
            vanished = await stack.enter_async_context(connected(proxy.port))
            await settle(vanished, s.database, await follow(vanished, "accounts"), await follow(vanished, "unkeyed"))
            proxy.stall(*ways)
        for number in range(1, 10):
            await write(s, number)
        await settle(witness, s.database, *seen)
        await s.until_subscriptions({"accounts": 1, "clock": 1, "totals": 0, "unkeyed": 0, "connection 0": 2})
        for proxy in proxies:
            proxy.cut()


async def test_a_slow_client_costs_the_others_nothing_and_ends_in_the_databases_state(
    database: AnyDatabase, tmp_path: Path
) -> None:
    """It reads far more slowly than rows change; what waits for it is merged."""
    async with (
        scene(database, tmp_path, {"OUTBOX_ROWS": "50"}) as s,
        connected(s.service.port) as witness,
        connected(s.port) as slow,
    ):
        await s.database.run("INSERT INTO accounts SELECT n, 'a', n, repeat('n', 1000) FROM generate_series(1, 300) n")
        seen = [await follow(witness, source) for source in ("accounts", "clock")]
        of_slow = [await follow(slow, source) for source in ("accounts", "clock")]
        await settle(slow, s.database, *of_slow)
        s.to_service.slow(1000)
        for number in range(rounds(30, 1000)):
            change = f"UPDATE accounts SET amount = amount + 1, note = repeat('m', 1000 + {number % 7}) WHERE id % 3 = {number % 3}"
            await s.database.transaction([change, "UPDATE clock SET tick = tick + 1"])
        await settle(witness, s.database, *seen)
        assert len(of_slow[0].subscription.messages) < len(seen[0].subscription.messages), "it is behind"
        s.to_service.restore()
        await settle(slow, s.database, *of_slow)
        assert len(of_slow[0].subscription.messages) < len(seen[0].subscription.messages), "changes were merged"
