"""A service that has started anew, without any memory: who comes back with a cursor is told what was missed, as far as
the database tells of the changes that led to the first rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from tests.actors.relaying import behind
from tests.actors.resuming import Client, Ping, marked
from tests.actors.support import World, until, world
from tests.actors.test_resuming import FORGETTING, PRICE, row
from tests.views.calculated import TRADES, follower
from tycostream.model import (
    Change,
    Changes,
    Key,
    Position,
    Progress,
    Row,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
)
from tycostream.views import Cursor, RecentLimits

RELATION = "r1"
WISHES = [
    (None, None, -1),
    (None, {"price": {"_gt": 50}}, -1),
    (None, {"symbol": {"_eq": "A"}}, PRICE),
    (FORGETTING, {"risk": {"_eq": "high"}}, -1),
]

Writes = list[tuple[int, int | str | None, str]]
Commit = tuple[int, list[Change], dict[Key, Row]]
"""Timestamp, what it changed, and the rows after it."""


def happened(history: list[Writes]) -> list[Commit]:
    rows: dict[Key, Row] = {"1": row(1, 60), "2": row(2, 95), "3": row(3, None)}
    commits: list[Commit] = [(1, [], dict(rows))]
    for number, writes in enumerate(history, start=1):
        changes: list[Change] = []
        for key, price, symbol in writes:
            new = None if isinstance(price, str) else row(key, price, symbol)
            rows.pop(str(key), None)
            if new is not None:
                rows[str(key)] = new
            changes.append((str(key), new))
        commits.append((1 + 2 * number, changes, dict(rows)))
    return commits


def clients_of(made: World) -> list[Client]:
    return [
        Client(made, marked(follower(rules, where), interest, mark_end=True), 1_000_000)
        for rules, where, interest in WISHES
    ]


async def settle(made: World, clients: list[Client], timestamp: int) -> None:
    await until(lambda: made.memory.timestamp_delivered == timestamp and made.state == "LIVE")
    for client in clients:
        await client.until_attached()
        await client.ref.ask(Ping(), block=False)


async def first_life(commits: list[Commit], cut: int, messages: int) -> list[Client]:
    """Follow the commits up to the one of this number, and read so many messages of what they gave rise to."""
    async with world(TRADES) as made:
        clients = clients_of(made)
        for client in clients:
            client.connect()
        driver = await made.run(1)
        driver.snapshot(1, *commits[0][2].values(), relation=RELATION)
        await settle(made, clients, 1)
        for client in clients:
            client.read()
        for timestamp, changes, _rows in commits[1 : cut + 1]:
            driver.emit(Changes(timestamp, changes))
        driver.emit(Progress(commits[cut][0]))
        await settle(made, clients, commits[cut][0])
        for client in clients:
            client.read(messages)
        return clients


async def second_life(
    before: list[Client],
    commits: list[Commit],
    since: int,
    shown: int,
    limits: RecentLimits | None = None,
    *,
    worker: bool = False,
) -> list[Client]:
    """Come back to a service whose snapshot shows the commit of number `shown`, and whose database tells of all changes
    after the one of number `since`. The clients are there, or at a worker of it."""
    async with AsyncExitStack() as stack:
        near = made = await stack.enter_async_context(world(TRADES, limits))
        if worker:
            made = await stack.enter_async_context(behind(near))
        clients = clients_of(made)
        for old, client in zip(before, clients, strict=True):
            client.rows, client.cursor = old.rows, old.cursor
            client.connect()
        driver = await near.run(1)
        timestamp, _changes, rows = commits[shown]
        driver.emit(SnapshotStarted(timestamp, RELATION))
        held, later = commits[since + 1 : -1], commits[-1]
        for number, (at, changes, _rows) in enumerate(held):
            if number == 1:
                driver.emit(SnapshotRows(list(rows.values())))
            driver.emit(Changes(at, changes))
        if len(held) < 2:
            driver.emit(SnapshotRows(list(rows.values())))
        driver.emit(Progress(commits[-2][0]))
        driver.emit(SnapshotComplete(commits[since][0]))
        await settle(made, clients, commits[-2][0])
        for client in clients:
            client._tolerant = client._tolerant or since < shown  # rows may be told once more
            client.read()
            assert client.known() == client.expected()
        driver.emit(Changes(later[0], later[1]))
        driver.emit(Progress(later[0]))
        await settle(made, clients, later[0])
        for client in clients:
            client.read()
            assert client.known() == client.expected()
        assert made.memory.cache.rows == later[2]
        return clients


writes = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([None, 40, 60, 110, "gone"]), st.sampled_from("AB")),
    min_size=1,
    max_size=4,
)


@pytest.fixture
def loop(io_loop: IOLoop) -> Iterator[IOLoop]:
    return io_loop  # type: ignore[return-value]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=st.lists(writes, min_size=1, max_size=8), data=st.data())
def test_whoever_comes_back_after_a_restart_ends_with_the_right_rows(
    history: list[Writes], data: st.DataObject, loop: IOLoop
) -> None:
    commits = happened(history)
    last = len(commits) - 2  # that many are reported before the rows are complete
    cut = data.draw(st.integers(0, last), "cut after the commit")
    messages = data.draw(st.integers(0, 12), "messages read")
    shown = data.draw(st.integers(cut, last), "the snapshot shows")
    since = data.draw(st.integers(0, shown), "told since")
    worker = data.draw(st.booleans(), "at a worker")

    async def lives() -> None:
        before = await first_life(commits, cut, messages)
        wanted = [Cursor.decode(client.cursor, "trades") for client in before if client.cursor is not None]
        clients = await second_life(before, commits, since, shown, worker=worker)
        for cursor, client in zip(wanted, clients, strict=True):
            assert cursor.after is not None
            resumed = client.heard[0].mark != "RESET"
            assert resumed == (cursor.after >= commits[since][0]), "resumed as far as the changes are known"

    loop.run_sync(lives)


@pytest.mark.parametrize("worker", [False, True])
async def test_who_comes_back_after_a_restart_is_told_what_was_missed_alone(*, worker: bool) -> None:
    commits = happened([[(1, 70, "A")], [(2, "gone", "A")], [(4, 1, "B")], [(1, 71, "A")]])
    before = await first_life(commits, 1, 100)
    everything = (await second_life(before, commits, 1, 1, worker=worker))[0]
    told = [(one.operation, one.row[:1], one.mark) for one in everything.heard]
    assert told == [
        ("DELETE", ("2",), None), ("INSERT", ("4",), None), ("UPDATE", (), "END"), ("UPDATE", ("1",), None)
    ]  # fmt: skip


@pytest.mark.parametrize("worker", [False, True])
async def test_the_driver_is_asked_for_the_changes_after_the_oldest_cursor(*, worker: bool) -> None:
    async with AsyncExitStack() as stack:
        near = made = await stack.enter_async_context(world(TRADES))
        if worker:
            made = await stack.enter_async_context(behind(near))
        for history, after in ((RELATION, 40), (RELATION, 30), ("older", 10)):
            wish = marked(follower(None, None))
            client = Client(made, wish, 10)
            client.cursor = Cursor("trades", history, after, after).encode()
            client.connect()
        assert (await near.run(1)).resume == Position(30, RELATION, known=False)


async def test_more_changes_than_are_remembered_lead_to_a_new_beginning() -> None:
    commits = happened([[(1, 70, "A")], [(2, 70, "A"), (3, 70, "A"), (4, 70, "A")], [(1, 71, "A")]])
    before = await first_life(commits, 0, 100)
    clients = await second_life(before, commits, 0, 0, RecentLimits(rows=3))
    assert [client.heard[0].mark for client in clients] == ["RESET"] * len(WISHES)
