"""What a table's follower holds back while its copy's position is not known."""

from __future__ import annotations

import asyncio

import pytest

from tests.databases.postgres.support import source_of
from tycostream.databases.postgres import table as table_module
from tycostream.databases.postgres.catalog import Table
from tycostream.databases.postgres.pgoutput import Delete, Insert, Truncate, WireRelation
from tycostream.databases.postgres.table import TableFollower
from tycostream.model import Changes, Event, SnapshotComplete, SnapshotRows, SnapshotStarted
from tycostream.model import ColumnType as T

SOURCE = source_of("t", {"id": T.INTEGER, "v": T.STRING})
RELATION = WireRelation(1, "public", "t", "d", ("v", "id"), frozenset({"id"}))


async def never_behind() -> None:
    return None


def follower(events: list[Event]) -> TableFollower:
    return TableFollower(SOURCE, Table(1, "public", "t"), events.append, never_behind)


def insert(key: str, value: str | None = "x") -> tuple[WireRelation, Insert]:
    return RELATION, Insert(1, (value, key))


async def test_what_the_copy_shows_is_left_out_and_what_it_does_not_show_follows() -> None:
    events: list[Event] = []
    one = follower(events)
    for lsn in (5, 10, 15):
        one.on_transaction(lsn, 0.0, [insert(str(lsn))])
    assert events == []
    one.begin(10)
    one.on_transaction(20, 0.0, [(RELATION, Delete(1, (None, "15"), True))])
    await one.finish({})
    assert events == [
        SnapshotStarted(10),
        Changes(15, [("15", ("15", "x"))], 0.0),
        Changes(20, [("15", None)], 0.0),
        SnapshotComplete(),
    ]


async def test_a_truncated_table_becomes_a_snapshot_of_what_was_inserted_after() -> None:
    events: list[Event] = []
    one = follower(events)
    one.begin(1)
    await one.finish({})
    one.on_transaction(5, 0.0, [insert("1"), (RELATION, Truncate((1,))), insert("2"), insert("3"), insert("2", "y")])
    assert events[2:] == [SnapshotStarted(5), SnapshotRows([("2", "y"), ("3", "x")]), SnapshotComplete()]


async def test_a_table_that_is_truncated_while_it_is_copied_has_to_be_copied_again() -> None:
    events: list[Event] = []
    one = follower(events)
    one.begin(10)
    one.on_transaction(5, 0.0, [(RELATION, Truncate((1,)))])
    assert not one.truncated.is_set(), "the copy shows that already"
    one.on_transaction(15, 0.0, [(RELATION, Truncate((1,))), insert("1")])
    assert one.truncated.is_set()
    one.hold()
    one.on_transaction(20, 0.0, [insert("2")])
    one.begin(18)
    await one.finish({})
    assert events[-3:] == [SnapshotStarted(18), Changes(20, [("2", ("2", "x"))], 0.0), SnapshotComplete()]


async def test_the_stream_waits_when_too_much_is_held_but_never_for_a_follower_that_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_module, "HELD_ROWS", 2)
    one = follower([])
    one.on_transaction(5, 0.0, [insert("1"), insert("2"), insert("3")])
    waiting = asyncio.ensure_future(one.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.abandon()
    await asyncio.wait_for(waiting, 5)
    one.on_transaction(6, 0.0, [insert("4")])
    await asyncio.wait_for(one.ready(), 5)
