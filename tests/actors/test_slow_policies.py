"""What becomes of a client that is slow is what its subscription asks for, or what the service is set to."""

from __future__ import annotations

from typing import Any

import pytest

from actors.connection import SocketDrained
from actors.runtime import Describe
from tests.actors.support import ScriptedDriver, World, until, world
from tests.actors.test_connection import Connected, connection, words
from tests.support.client import Words
from tycostream.views.pace import SlowPolicy

__all__ = ["words"]  # the fixture


def query(policy: str | None) -> str:
    chosen = f"(on_slow: {policy})" if policy else ""
    return f"subscription {{ trades{chosen} {{ operation data {{ id symbol price }} fields timestamp }} }}"


async def stuck(made: World, client: Connected, policy: str | None) -> ScriptedDriver:
    """The client has its snapshot, then a change that its socket does not take."""
    client.say("connection_init")
    client.start("a", query(policy))
    driver = await made.run(1)
    driver.snapshot(1, ("0", "X", "0"))
    await until(client.transport.updates)
    client.transport.stuck = True
    driver.change(2, ("0", ("0", "X", "2")))
    await until(lambda: client.transport.pending)
    return driver


async def changed(made: World, client: Connected, driver: ScriptedDriver, first: int, count: int) -> None:
    for timestamp in range(first, first + count):
        driver.change(timestamp, ("0", ("0", "X", str(timestamp))))
    await until(lambda: made.memory.cache.timestamp == first + count - 1)
    await client.ref.ask(Describe(), block=False)  # it has put them into its outbox


def dropped(client: Connected) -> list[int]:
    messages = client.of_type(client.words.result)
    return [one["payload"]["extensions"]["dropped"] for one in messages if "extensions" in one["payload"]]


ASKED_OR_SET: dict[str, tuple[str | None, SlowPolicy]] = {
    "asked for": ("DROP_OLDEST", SlowPolicy.CONFLATE),
    "set": (None, SlowPolicy.DROP_OLDEST),
}


@pytest.mark.parametrize("how", ASKED_OR_SET)
async def test_drop_oldest_skips_steps_and_says_how_many(words: Words, how: str) -> None:
    asked, default = ASKED_OR_SET[how]
    async with world() as made, connection(made, words, drop_rows=10, slow=default) as client:
        driver = await stuck(made, client, asked)
        await changed(made, client, driver, 3, 100)
        client.transport.stuck, client.transport.pending = False, 0
        client.ref.tell(SocketDrained())
        await until(lambda: client.transport.replayed() == made.memory.cache.rows)
        timestamps = [int(update["timestamp"]) for update in client.transport.updates()]
        assert timestamps == [1, 2, *range(93, 103)]
        assert dropped(client) == [90]
        driver.change(103, ("0", ("0", "X", "103")))
        await until(lambda: client.transport.replayed() == made.memory.cache.rows)
        assert dropped(client) == [90]


@pytest.mark.parametrize("default", [SlowPolicy.CONFLATE, SlowPolicy.DISCONNECT])
async def test_disconnect_closes_with_1013_and_a_reason(words: Words, default: SlowPolicy) -> None:
    asked = "DISCONNECT" if default is SlowPolicy.CONFLATE else None
    async with (
        world() as made,
        connection(made, words, hold_rows=10, slow=default) as client,
        connection(made, words) as other,
    ):
        other.say("connection_init")
        other.start()
        driver = await stuck(made, client, asked)
        await changed(made, client, driver, 3, 10)
        assert client.transport.closed is None
        await changed(made, client, driver, 13, 2)
        await until(lambda: client.transport.closed)
        assert client.transport.closed == (1013, "too slow: more than 10 changes wait that are not to be merged")
        await until(lambda: other.transport.replayed() == made.memory.cache.rows)
        assert other.transport.closed is None


async def test_the_client_says_conflate_where_the_service_is_set_to_something_else(words: Words) -> None:
    config: dict[str, Any] = {"hold_rows": 10, "slow": SlowPolicy.DISCONNECT}
    async with world() as made, connection(made, words, **config) as client:
        driver = await stuck(made, client, "CONFLATE")
        await changed(made, client, driver, 3, 100)
        client.transport.stuck, client.transport.pending = False, 0
        client.ref.tell(SocketDrained())
        await until(lambda: client.transport.replayed() == made.memory.cache.rows)
        assert len(client.transport.updates()) < 10
        assert client.transport.closed is None
