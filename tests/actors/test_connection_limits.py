"""What one client may do and use, under either protocol."""

from __future__ import annotations

import pytest

from actors.connection import SocketClosed, SocketDrained
from actors.connection_limits import SharedLimits
from tests.actors.support import until, world
from tests.actors.test_connection import QUERY, connection, words
from tests.support.client import Words
from tycostream.limits import Backlog, NearLimits

__all__ = ["words"]  # the fixture


async def test_operations_beyond_the_rate_are_refused_and_those_that_run_go_on(words: Words) -> None:
    limits = {"operations_per_second": 0.001, "operations_burst": 2}
    async with world() as made, connection(made, words, **limits) as client:
        client.say("connection_init")
        for operation_id in "abc":
            client.start(operation_id)
        driver = await made.run(1)
        driver.snapshot(1, ("1", "X", "1"))
        await until(lambda: len(client.transport.updates()) == 2)
        error = client.error()
        assert error["id"] == "c"
        assert error["extensions"] == {"code": "RATE_LIMITED"}
        assert error["message"] == "this connection starts more than 0.001 operations a second; wait a little"
        driver.change(2, ("1", ("1", "X", "2")))
        await until(lambda: len(client.transport.updates()) == 4)
        assert client.transport.closed is None


async def test_a_flood_of_operations_closes_with_1008(words: Words) -> None:
    limits = {"operations_per_second": 0.001, "operations_burst": 3}
    async with world() as made, connection(made, words, **limits) as client:
        client.say("connection_init")
        for number in range(8):
            client.start(f"{number}", "{ nothing }")
        await until(lambda: client.transport.closed)
        assert client.transport.closed == (
            1008, "too many operations: more than 0.001 operations a second for too long"
        )  # fmt: skip
        codes = [str(message).count("RATE_LIMITED") for message in client.of_type("error")]
        assert codes == [0, 0, 0, 1, 1, 1]


async def test_a_client_without_an_operation_is_closed_with_1000_once_it_is_idle(words: Words) -> None:
    async with world() as made, connection(made, words, idle=0.05) as client:
        client.say("connection_init")
        client.start("a")
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(client.transport.updates)
        loop = client.ref._actor_weakref().dispatcher.loop
        began = loop.time()
        await until(lambda: loop.time() > began + 0.12)
        assert client.transport.closed is None, "a subscription that is silent is none the less one"
        client.stop("a")
        stopped = loop.time()
        await until(lambda: client.transport.closed)
        assert client.transport.closed == (1000, "idle: no operation for 0.05 s")
        assert loop.time() - stopped >= 0.049
        client.ref.tell(SocketClosed(1000, None))
        await until(lambda: not client.ref.is_alive())


@pytest.mark.parametrize(("idle", "more"), [(0.0, 0), (9.0, 1)])
async def test_without_a_limit_nobody_is_idle(words: Words, idle: float, more: int) -> None:
    async with world() as made, connection(made, words, idle=idle, ping=0.0) as client:
        client.say("connection_init")
        await until(lambda: client.of_type("connection_ack"))
        assert len(client.ref._actor_weakref()._timers) == 1 + more, "one of them awaits the client's beginning"


async def test_when_too_much_waits_for_all_the_slowest_is_closed_and_the_others_are_served(words: Words) -> None:
    near = NearLimits()
    shared = SharedLimits(near, Backlog(1_000_000, near))
    async with world() as made, connection(made, words, shared) as slow, connection(made, words, shared) as quick:
        for client in (slow, quick):
            client.say("connection_init")
            client.start()
        driver = await made.run(1)
        driver.snapshot(1, ("0", "X", "0"))
        await until(lambda: slow.transport.updates() and quick.transport.updates())
        slow.transport.stuck = True
        timestamp = 1
        while slow.transport.closed is None:
            timestamp += 1
            driver.change(timestamp, *((str(number), (str(number), "Y", str(timestamp))) for number in range(500)))
            expected = 1 + 500 * (timestamp - 1)
            await until(lambda expected=expected: len(quick.transport.updates()) == expected)
            assert shared.backlog.total <= 1_000_000
            assert timestamp < 50
        assert slow.transport.closed[0] == 1013
        assert slow.transport.closed[1].startswith("too slow: more waits for all clients than is kept")
        assert quick.transport.closed is None
        assert shared.backlog.total == 0, "what was kept for it is given back"
        assert quick.transport.replayed() == made.memory.cache.rows


async def test_what_waits_is_accounted_for_and_given_back_when_the_client_reads_or_leaves(words: Words) -> None:
    shared = SharedLimits()
    async with world() as made:
        for leaves in (False, True):
            async with connection(made, words, shared) as client:
                client.say("connection_init")
                client.start()
                driver = await made.run(1)
                if not leaves:
                    driver.snapshot(1, ("0", "X", "0"))
                await until(client.transport.updates)
                client.transport.stuck = True
                first = made.memory.cache.timestamp or 0
                driver.change(first + 1, ("0", ("0", "Z", "1")))
                await until(lambda: client.transport.pending)
                for timestamp in range(first + 2, first + 100):
                    driver.change(timestamp, ("0", ("0", "X" * 100, str(timestamp))))
                await until(lambda: made.memory.cache.timestamp == first + 99)  # noqa: B023
                await until(lambda: shared.backlog.total > 97 * 300)
                if leaves:
                    continue
                client.transport.stuck, client.transport.pending = False, 0
                client.ref.tell(SocketDrained())
                await until(lambda: client.transport.replayed() == made.memory.cache.rows)
                await until(lambda: shared.backlog.total == 0)
        assert shared.backlog.total == 0


async def test_limits_that_are_nearly_reached_are_logged(words: Words, caplog: pytest.LogCaptureFixture) -> None:
    config = {"max_subscriptions": 5, "operations_per_second": 0.001, "operations_burst": 5}
    async with world() as made, connection(made, words, **config) as client:
        client.say("connection_init")
        for number in range(4):
            client.start(f"{number}", QUERY)
        (await made.run(1)).snapshot(1, ("1", "X", "1"))
        await until(lambda: len(client.transport.updates()) == 4)
        assert [message for message in caplog.messages if "reached" in message] == [
            "OPERATIONS_BURST is nearly reached: 4 of 5 by 127.0.0.1",
            "MAX_SUBSCRIPTIONS_PER_CONNECTION is nearly reached: 4 of 5 by 127.0.0.1",
        ]
