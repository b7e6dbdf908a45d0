"""A source behind a relay: it ends with the rows of the one that follows the database, whatever happens on the way, and
says of itself what that one says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors.relay import ask_worker
from actors.source_messages import Attach
from actors.tap import BATCH_ROWS
from tests.actors.relaying import Far, behind, rows_of
from tests.actors.support import World, subscription, until, world
from tests.views.support import SOURCE
from tycostream.databases.driver import DatabaseError
from tycostream.model import (
    Changes,
    Column,
    ColumnType,
    PartialRow,
    Relation,
    Resumed,
    Row,
    SnapshotComplete,
    SnapshotStarted,
    Source,
    Waiting,
)
from tycostream.relay.calls import CallError
from tycostream.relay.channel import Channel, Kind
from tycostream.views.cursor import Cursor

A: Row = ("1", "AAPL", "1")
B: Row = ("2", "MSFT", None)
POISON = ("x", PartialRow((None,) * 3, "nobody"))
"""A change that no source survives."""


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_rows_and_changes_come_as_they_are_and_nobody_follows_who_is_not_asked() -> None:
    async with world() as near, behind(near) as far:
        assert (near.runs, far.told) == ([], [])
        listener = far.follow()
        driver = await near.run(1)
        assert far.state == "CONNECTING"
        driver.snapshot(5, A, B)
        await until(lambda: rows_of(listener) == {"1": A, "2": B})
        driver.change(6, ("1", None), ("3", ("3", "IBM", "3")), ("3", ("3", "IBM", "4")))
        driver.change(7, ("1", A))
        await far.same(7)
        await until(lambda: rows_of(listener) == far.memory.cache.rows)
        (events,) = far.told
        assert kinds(events)[:3] == ["SnapshotStarted", "SnapshotRows", "SnapshotComplete"]
        assert [(one.timestamp, one.changes) for one in events if isinstance(one, Changes)] == [
            (6, [("1", None), ("3", ("3", "IBM", "3")), ("3", ("3", "IBM", "4"))]), (7, [("1", A)]),
        ]  # fmt: skip
        assert far.state == near.state == "LIVE"


async def test_a_large_transaction_comes_whole() -> None:
    async with world() as near, behind(near) as far:
        listener = far.follow()
        driver = await near.run(1)
        driver.snapshot(1, *((str(key), "X", "0") for key in range(7000)))
        await until(lambda: len(rows_of(listener)) == 7000)
        driver.change(2, *((str(key), (str(key), "X", "1")) for key in range(6500)))
        await far.same(2)
        ((changes,),) = [[one for one in events if isinstance(one, Changes)] for events in far.told]
        assert (changes.timestamp, len(changes.changes)) == (2, 6500)


async def test_a_batch_is_written_once_and_has_many_changes_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as near, behind(near) as far, behind(near) as other:
        for one in (far, other):
            one.follow()
        driver = await near.run(1)
        driver.snapshot(1, A)
        await far.same(1)
        await other.same(1)
        sent: list[bytes] = []
        send = Channel.send

        def note(channel: Channel, kind: Kind, stream: int, payload: bytes) -> None:
            if kind is Kind.BATCH:
                sent.append(payload)
            send(channel, kind, stream, payload)

        monkeypatch.setattr(Channel, "send", note)
        for timestamp in range(2, 10 * BATCH_ROWS):
            driver.change(timestamp, ("1", ("1", "X", str(timestamp))))
            await asyncio.sleep(0)
        await far.same(timestamp)
        await other.same(timestamp)
        assert len({id(payload) for payload in sent}) * 2 == len(sent), "each is one object for both"
        assert len(sent) / 2 <= 30, "not one for every change"


async def test_troubles_are_told_as_they_are_and_what_was_missed_follows() -> None:
    async with world() as near, behind(near) as far:
        listener = far.follow()
        driver = await near.run(1)
        driver.snapshot(1, A)
        await until(lambda: rows_of(listener))
        driver.emit(Waiting("it is polled"))
        await until(lambda: (far.state, far.reason) == ("LIVE", "it is polled"))
        driver.fail(DatabaseError("the cable is cut", hint="splice it", private=True))
        await until(lambda: (far.state, far.reason) == ("STALE", "the cable is cut (splice it)"))
        assert far.board.states["trades"].told == "the database is out of reach"
        second = await near.run(2)
        second.emit(SnapshotStarted(4))
        await until(lambda: near.board.states["trades"].state.value == "STALE" and len(far.told) == 2)
        second.fail(DatabaseError("it burns"))
        await until(lambda: far.reason == "it burns")
        third = await near.run(3)
        await until(lambda: len(far.told) == 3)
        third.snapshot(9, ("1", "AAPL", "7"), B)
        await far.same(9)
        await until(lambda: far.state == "LIVE")
        assert rows_of(listener) == {"1": ("1", "AAPL", "7"), "2": B}
        assert isinstance(far.told[-1][0], Resumed)
        assert len(far.told) == 3, "it asks once for each failure"


async def test_where_nothing_comes_for_now_nobody_asks_again_and_again() -> None:
    async with world(retry_min=100.0, retry_max=100.0) as near, behind(near) as far:
        listener = far.follow()
        (await near.run(1)).snapshot(1, A)
        await until(lambda: rows_of(listener))
        near.runs[0].fail(DatabaseError("gone"))
        await until(lambda: len(far.told) == 2)
        async with behind(near) as late:
            newcomer = late.follow()
            await until(lambda: rows_of(newcomer) == {"1": A})
            await until(lambda: (late.state, late.reason) == ("STALE", "gone"))
            await until(lambda: len(late.told) == 2)
            await asyncio.sleep(0.05)  # twenty of its own attempts
            assert (len(far.told), len(late.told)) == (2, 2)
            assert (far.state, late.state) == ("STALE", "STALE")


async def test_what_somebody_has_to_mend_is_told_to_those_who_come_later_too() -> None:
    async with world(retry_min=0.2, retry_max=0.2) as near, behind(near) as far:
        far.follow()
        (await near.run(1)).fail(DatabaseError("there is no table", permanent=True))
        await until(lambda: (far.state, far.reason) == ("FAILED", "there is no table"))
        async with behind(near) as late:
            refused = late.follow()
            await until(lambda: refused.refused == ["source trades is not available: there is no table"])
            (await near.run(2)).snapshot(1, A)
            await until(lambda: late.state == far.state == "LIVE")


async def test_a_source_that_crashes_leaves_nobody_with_half_a_transaction() -> None:
    async with world() as near, behind(near) as far:
        listener = far.follow()
        driver = await near.run(1)
        driver.snapshot(1, *((str(key), "X", "0") for key in range(5000)))
        await until(lambda: len(rows_of(listener)) == 5000)
        torn: list[Any] = [(str(key), (str(key), "X", "1")) for key in range(4500)]
        driver.change(2, *torn, POISON)
        second = await near.run(2)
        assert {row[2] for row in rows_of(listener).values()} == {"0"}
        second.snapshot(3, *((str(key), "Y", "2") for key in range(4000)))
        await far.same(3)
        await until(lambda: rows_of(listener) == near.memory.cache.rows)
        assert len(rows_of(listener)) == 4000


async def test_a_batch_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as near, behind(near) as far:
        listener = far.follow()
        driver = await near.run(1)
        driver.snapshot(1, A)
        await until(lambda: rows_of(listener))
        send, lose = Channel.send, [True]

        def careless(channel: Channel, kind: Kind, stream: int, payload: bytes) -> None:
            if kind is Kind.BATCH and lose:
                lose.pop()
            else:
                send(channel, kind, stream, payload)

        monkeypatch.setattr(Channel, "send", careless)
        driver.change(2, ("2", B))
        await until(lambda: not lose)
        driver.change(3, ("1", ("1", "AAPL", "3")))
        await far.same(3)
        await until(lambda: rows_of(listener) == {"1": ("1", "AAPL", "3"), "2": B})
        assert len(far.told) == 2


async def test_a_worker_that_is_too_slow_is_cut_and_comes_back() -> None:
    async with world() as near, behind(near, backlog=100_000) as far:
        listener = far.follow()
        driver = await near.run(1)
        driver.snapshot(1, A)
        await until(lambda: rows_of(listener))
        far.channel.hold("the test")
        timestamp = 1
        while not far.relay_actor().details()["cuts"]:
            timestamp += 1
            driver.change(timestamp, *((str(key), (str(key), "X" * 50, str(timestamp))) for key in range(100)))
            await asyncio.sleep(0)
        assert far.relay_actor().details()["following"] == []
        far.channel.let_go("the test")
        await far.same(timestamp)
        await until(lambda: rows_of(listener) == near.memory.cache.rows)
        await until(lambda: len(far.told) == 2 and far.told[1])
        assert isinstance(far.told[1][0], Resumed)


async def test_a_worker_whose_source_is_behind_is_waited_for() -> None:
    async with world() as near, behind(near) as far:
        far.follow()
        driver = await near.run(1)
        driver.snapshot(1, *((str(key), "X" * 40, "0") for key in range(60_000)))
        held = 0
        hold = far.channel.hold

        def count(reading: object) -> None:
            nonlocal held
            held += 1
            hold(reading)

        far.channel.hold = count  # type: ignore[method-assign]
        await far.same(1)
        assert held > 0


async def test_sources_that_are_not_the_same_wait_for_each_other() -> None:
    async with world() as near, behind(near) as far:
        far.served = Source("trades", Relation("trades"), (Column("id", ColumnType.INTEGER),), ("id",))
        listener = far.follow()
        await until(lambda: far.relay_actor().details()["following"])
        assert near.runs == []
        far.served = SOURCE
        (await near.run(1)).snapshot(1, A)
        await until(lambda: rows_of(listener) == {"1": A})


async def test_timestamps_mean_the_same_on_both_sides_and_what_was_before_is_known() -> None:
    async with world() as near, behind(near) as far:
        far.follow()
        driver = await near.run(1)
        driver.snapshot(10, A, relation="its oid")
        await far.same(10)
        driver.change(11, ("2", B))
        driver.change(12, ("1", None), ("2", None))
        await far.same(12)
        async with behind(near) as late:
            late.follow()
            await late.same(12)
            for one in (far, late):
                recent = one.memory.recent
                assert recent.history == near.memory.recent.history == "its oid"
                after = [
                    (batch.since, batch.timestamp)
                    for batch in recent.after(Cursor("trades", "its oid", 10, 10), 12) or ()
                ]
                assert after == [(10, 11), (11, 12)]
        driver.emit(SnapshotStarted(13, "another"))
        driver.emit(SnapshotComplete())
        await until(lambda: far.memory.recent.history == "another")
        await far.same(13)
        assert far.memory.recent.after(Cursor("trades", "its oid", 12, 12), 13) is None


async def test_who_comes_back_with_a_cursor_to_a_worker_without_rows_gets_them() -> None:
    async with world() as near, behind(near) as far:
        far.follow()
        driver = await near.run(1)
        driver.snapshot(10, A, relation="its oid")
        driver.change(11, ("2", B))
        await far.same(11)
        async with behind(near) as late:
            ref, listener = late.listener()
            wish = replace(subscription(connection=ref), resume=Cursor("trades", "its oid", 10, 10))
            late.source.tell(Attach(wish))
            await until(lambda: rows_of(listener) == {"1": A, "2": B})
            await late.same(11)


async def test_unnamed_relations_have_one_history_on_all_sides() -> None:
    async with world() as near, behind(near) as far, behind(near) as other:
        for one in (far, other):
            one.follow()
        (await near.run(1)).snapshot(10, A)
        await far.same(10)
        await other.same(10)
        assert far.memory.recent.history == other.memory.recent.history == near.memory.recent.history != ""


async def test_nobody_is_left_when_the_last_one_leaves() -> None:
    async with world(linger=0.0) as near, behind(near, linger=0.0) as far:
        listener = far.follow()
        driver = await near.run(1)
        driver.snapshot(1, A)
        await until(lambda: rows_of(listener))
        await far._listeners[0].ask(_stop(), block=False)
        driver.change(2, ("2", B))
        await until(lambda: far.state == near.state == "IDLE" and driver.ended)
        assert far.relay_actor().details()["following"] == []


def _stop() -> Any:
    from actors.runtime import Stop

    return Stop()


async def test_standings_lags_and_questions() -> None:
    async with world() as near, behind(near) as far:
        assert await ask_worker(far.relay, "well?", 10, a=1) == ["well?", {"a": 1}]
        assert await far.link.calls.ask("and you?", 10) == ["and you?", {}]
        assert far.orders == ["order"]
        far.follow()
        driver = await near.run(1)
        driver.snapshot(1, A)
        driver.emit(Changes(2, [("2", B)], committed_at=1.0))

        def stands(state: str) -> Callable[[], bool]:
            return lambda: any(one.get("stands") == "trades" and one["standing"][0] == state for one in far.messages)

        await until(stands("LIVE"))
        async with asyncio.timeout(10):
            while not any("trades" in one.get("lags", ()) for one in far.messages):
                await asyncio.sleep(0.01)
        driver.fail(DatabaseError("gone"))
        await until(stands("STALE"))
        async with behind(near) as late:
            await until(lambda: any(one.get("stands") == "trades" for one in late.messages))
    with pytest.raises(CallError):
        await far.link.calls.ask("anybody?", 10)


@pytest.mark.parametrize("seed", range(12))
async def test_any_history_ends_with_the_same_rows_on_all_sides(seed: int) -> None:
    chance = random.Random(seed)
    async with world() as near, behind(near) as far, behind(near, backlog=20_000) as other:
        sides: list[Far] = [far, other]
        listeners = [one.follow() for one in sides]
        rows: dict[str, Row] = {}
        timestamp, number = 1, 1
        for _step in range(60):
            await until(lambda number=number: len(near.runs) >= number)
            driver = near.runs[-1]
            timestamp += chance.randint(0, 2)
            deed = chance.choice(["change"] * 6 + ["snapshot", "fail", "crash", "turns", "hold", "go"])
            if near.memory.cache.timestamp is None and deed in ("change", "crash"):
                deed = "snapshot"
            if deed == "change":
                timestamp += 1
                some: list[Any] = []
                for _ in range(chance.choice([1, 1, 3, 2500])):
                    key = str(chance.randrange(3000))
                    if chance.random() < 0.3:
                        rows.pop(key, None)
                        some.append((key, None))
                    else:
                        rows[key] = (key, "X", str(chance.random()))
                        some.append((key, rows[key]))
                driver.change(timestamp, *some)
            elif deed == "snapshot":
                timestamp += 1
                relation = chance.choice([None, None, "another"])
                driver.snapshot(timestamp, *rows.values(), relation=relation)
                await until(lambda timestamp=timestamp: (near.memory.cache.timestamp or 0) >= timestamp)
            elif deed == "fail":
                number = len(near.runs) + 1
                driver.fail(DatabaseError("gone"))
                await _again(near, number, timestamp, rows)
            elif deed == "crash":
                number = len(near.runs) + 1
                driver.change(timestamp + 1, ("1", None), POISON)
                timestamp += 1
                await _again(near, number, timestamp, rows)
            elif deed == "turns":
                for _ in range(chance.randint(1, 50)):
                    await asyncio.sleep(0)
            elif deed == "hold":
                chance.choice(sides).channel.hold("the test")
            else:
                for side in sides:
                    side.channel.let_go("the test")
        for side in sides:
            side.channel.let_go("the test")
        if near.memory.cache.timestamp is None:
            near.runs[-1].snapshot(timestamp, *rows.values())
        caches = [near.memory.cache, *(side.memory.cache for side in sides)]
        await until(lambda: all(one.rows == rows for one in caches) and len({one.timestamp for one in caches}) == 1)
        await until(lambda: all(rows_of(one) == rows for one in listeners))


async def _again(near: World, number: int, timestamp: int, rows: dict[str, Row]) -> None:
    """The next run begins with all rows: a driver that was lost may have left changes unread."""
    driver = await near.run(number)
    driver.snapshot(timestamp, *rows.values())
    await until(lambda: near.state == "LIVE" and near.memory.cache.rows == rows)
