"""Subscriptions that are told of changes every so often: merged by row, or many to a message."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from actors.connection import SocketDrained
from actors.source import SourceActor
from actors.source_messages import Attach, Detach
from tests.actors.support import Listener, ScriptedDriver, World, subscription, until, world
from tests.actors.test_connection import connection, words
from tests.support.client import Words
from tests.views.support import happened
from tycostream.model import Changes
from tycostream.views import Subscription, Views
from tycostream.views.pace import Rhythm
from tycostream.views.windows import GRID_SECONDS, window_end

__all__ = ["words"]  # the fixture

ROWS = [(str(number), "X", "0") for number in range(4)]
LONG = Rhythm(1e9)
"""Its windows do not end while a test runs."""

SHORT = Rhythm(0.02)


def follower(listener: Any, rhythm: Rhythm | None, where: dict[str, Any] | None = None) -> Subscription:
    return replace(subscription(where=where, connection=listener), rhythm=rhythm)


async def attached(made: World, listener: Listener, one: Subscription) -> None:
    made.source.tell(Attach(one))
    await until(lambda: one in listener.clients)


async def started(made: World) -> ScriptedDriver:
    ref, listener = made.listener()
    made.source.tell(Attach(follower(ref, None)))
    driver = await made.run(1)
    driver.snapshot(1, *ROWS)
    await until(lambda: listener.clients)
    return driver


async def applied(made: World, driver: ScriptedDriver, first: int, last: int) -> None:
    """One change of row 0 in each transaction."""
    for timestamp in range(first, last + 1):
        driver.change(timestamp, ("0", ("0", "X", str(timestamp))))
    await until(lambda: made.memory.cache.timestamp == last)


def test_windows_end_together_whenever_they_began() -> None:
    ends = {window_end(0.1, 1000.0 + step / 1000) for step in range(1, 99)}
    assert len(ends) == 1
    for wait in (0.001, 0.007, 0.1, 60.0):
        for now in (0.0, 12.3456, 99999.99):
            assert now < window_end(wait, now) <= now + wait + GRID_SECONDS + 1e-6


async def test_changes_of_a_row_within_a_window_come_as_one() -> None:
    async with world() as made:
        driver = await started(made)
        ref, listener = made.listener()
        one = follower(ref, SHORT)
        await attached(made, listener, one)
        for first in range(2, 200, 2):
            await applied(made, driver, first, first + 1)
        await until(lambda: listener.clients[one].rows == made.memory.cache.rows)
        told = listener.clients[one].timestamps[len(ROWS) :]
        assert told == sorted(set(told)), "each window is of one moment"
        assert told[-1] == 199


async def test_nothing_is_told_before_the_window_ends_and_others_need_not_wait() -> None:
    async with world() as made:
        driver = await started(made)
        (ref, waiting), (other_ref, other) = made.listener(), made.listener()
        one, two = follower(ref, LONG), follower(other_ref, None)
        await attached(made, waiting, one)
        await attached(made, other, two)
        await applied(made, driver, 2, 50)
        await until(lambda: other.clients[two].rows == made.memory.cache.rows)
        assert waiting.clients[one].timestamps == [1] * len(ROWS)


async def test_who_comes_in_the_middle_of_a_window_misses_nothing_and_doubles_nothing() -> None:
    async with world() as made:
        driver = await started(made)
        (ref, first), (later_ref, later) = made.listener(), made.listener()
        one = follower(ref, LONG)
        await attached(made, first, one)
        driver.change(2, ("9", ("9", "X", "1")))
        await applied(made, driver, 3, 5)
        two = follower(later_ref, LONG)
        await attached(made, later, two)
        assert first.clients[one].rows == made.memory.cache.rows, "those who were there are told at once"
        assert later.clients[two].rows == made.memory.cache.rows
        await applied(made, driver, 6, 7)
        three = follower(later_ref, LONG)
        await attached(made, later, three)
        assert later.clients[two].rows == later.clients[three].rows == made.memory.cache.rows


async def test_a_window_that_is_open_outlives_a_crash_of_its_source() -> None:
    async with world() as made:
        driver = await started(made)
        ref, listener = made.listener()
        one = follower(ref, Rhythm(0.3))
        await attached(made, listener, one)
        await applied(made, driver, 2, 20)
        driver.emit(Changes(21, [("0", None, "too much")]))  # type: ignore[list-item]
        await until(lambda: len(made.runs) == 2)
        again = await made.run(2)
        again.snapshot(22, ("0", "X", "22"), *ROWS[2:])
        await until(lambda: made.memory.cache.timestamp == 22)
        await until(lambda: listener.clients[one].rows == made.memory.cache.rows)


def test_what_is_taken_back_before_it_is_settled_never_gets_into_a_window() -> None:
    views = Views()
    views.add(follower(None, LONG))
    views.route(happened(2, ("0", None, ("0", "X", "1"), 0)))
    assert list(views.flush()) == []
    views.discard()
    views.settle()
    assert not views.windows
    views.route(happened(2, ("0", None, ("0", "X", "2"), 0)))
    assert list(views.flush()) == []
    views.settle()
    ((_, delivery),) = views.flush_windows(float("inf"))
    assert [change[2] for change in delivery.changes] == [("0", "X", "2")]


async def test_a_source_has_one_timer_for_all_windows() -> None:
    async with world() as made:
        driver = await started(made)
        ref, listener = made.listener()
        for number in range(50):
            rhythm = Rhythm(1e9 + number % 3)
            await attached(made, listener, follower(ref, rhythm, {"id": {"_lt": 100 + number}}))
        await applied(made, driver, 2, 5)
        source = made.source._actor_weakref()
        assert isinstance(source, SourceActor)
        assert len(made.memory.views.windows) == 50
        assert len(source._timers) == 1


async def test_a_shorter_window_does_not_wait_for_a_longer_one() -> None:
    async with world() as made:
        driver = await started(made)
        ref, listener = made.listener()
        one, two = follower(ref, LONG), follower(ref, SHORT, {"id": {"_lt": 100}})
        await attached(made, listener, one)
        await applied(made, driver, 2, 3)
        await attached(made, listener, two)
        await applied(made, driver, 4, 5)
        await until(lambda: listener.clients[two].rows == made.memory.cache.rows)
        assert listener.clients[one].rows != made.memory.cache.rows


async def test_a_window_goes_with_its_last_subscription() -> None:
    async with world() as made:
        driver = await started(made)
        ref, listener = made.listener()
        one = follower(ref, LONG)
        await attached(made, listener, one)
        await applied(made, driver, 2, 3)
        assert made.memory.windows_due is not None
        made.source.tell(Detach(one))
        await until(lambda: made.memory.windows_due is None)


@pytest.mark.parametrize("wait", [0, 60000])
async def test_a_full_batch_does_not_wait_and_a_large_transaction_is_not_cut_by_the_sources_slices(
    words: Words, wait: int
) -> None:
    arguments = f"max_rows: 5000, max_wait_ms: {wait}"
    query = f"subscription {{ trades_batch({arguments}) {{ operation data {{ id }} timestamp }} }}"
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start("a", query)
        driver = await made.run(1)
        driver.snapshot(1)
        await until(lambda: client.of_type(words.result))
        driver.change(2, ("x", ("0", "X", "1")))
        await until(lambda: made.memory.cache.timestamp == 2)
        driver.change(3, *((f"{number}", (f"{number}", "X", "1")) for number in range(1, 5001)))
        await until(lambda: len(client.of_type(words.result)) == 3)
        told = [message["payload"] for message in client.of_type(words.result)]
        assert [len(one["data"]["trades_batch"]) for one in told] == [0, 1, 5000]
        assert not any("extensions" in one for one in told)


async def test_a_batch_comes_when_its_time_is_up_and_to_a_slow_client_too(words: Words) -> None:
    query = "subscription { t: trades_batch(max_rows: 3, max_wait_ms: 20) { operation data { id price } timestamp } }"
    async with world() as made, connection(made, words, hold_rows=5) as client:
        client.say("connection_init")
        client.start("a", query)
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        await until(lambda: len(client.of_type(words.result)) == 2)
        driver.change(2, ("0", ("0", "X", "2")))
        await until(lambda: len(client.of_type(words.result)) == 3)
        client.transport.stuck = True
        for timestamp in range(3, 103):
            driver.change(timestamp, *((str(key), (str(key), "X", str(timestamp))) for key in range(4)))
            await asyncio.sleep(0)
        await until(lambda: client.ref._actor_weakref()._outbox.merging)
        client.transport.stuck, client.transport.pending = False, 0
        client.ref.tell(SocketDrained())

        def prices() -> dict[int, float]:
            payloads = [message["payload"] for message in client.of_type(words.result)]
            assert all(len(one["data"]["t"]) <= 3 for one in payloads)
            return {update["data"]["id"]: update["data"]["price"] for one in payloads for update in one["data"]["t"]}

        await until(lambda: prices() == dict.fromkeys(range(4), 102.0))


@pytest.mark.parametrize("field", ["trades(coalesce_ms: 30)", "trades(coalesce_ms: 30, on_slow: DROP_OLDEST)"])
async def test_a_coalesced_subscription_of_a_client_ends_in_the_rows(words: Words, field: str) -> None:
    query = f"subscription {{ {field} {{ operation data {{ id symbol price }} fields timestamp }} }}"
    async with world() as made, connection(made, words) as client:
        client.say("connection_init")
        client.start("a", query)
        driver = await made.run(1)
        driver.snapshot(1, *ROWS)
        await until(lambda: len(client.transport.updates()) == 4)
        for timestamp in range(2, 100):
            key = str(timestamp % 5)
            driver.change(timestamp, (key, None if timestamp % 7 == 0 else (key, "X", f"{timestamp}.0")))
        await until(lambda: made.memory.cache.timestamp == 99)

        def right() -> bool:
            known = {key: row[:1] for key, row in client.transport.replayed().items()}
            return known == {key: row[:1] for key, row in made.memory.cache.rows.items()}

        await until(right)
        assert len(client.transport.updates()) < 4 + 98 / 2
