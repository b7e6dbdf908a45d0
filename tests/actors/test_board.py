"""The board: what is told of a change, to whom, and the source that follows it."""

from __future__ import annotations

import asyncio
import time

from actors.board import BoardDriver, SourceBoard
from actors.source_messages import SourceStateChanged, State
from tests.actors.support import until
from tests.support.rendering import rendered
from tycostream.graphql.rendering import Field
from tycostream.graphql.status import StatusSelection
from tycostream.model import Changes, Event, Operation, SnapshotRows
from tycostream.status import STATUS, Lag, Standing


def told(name: str, state: State, reason: str | None = None, since: float = 1.5) -> SourceStateChanged:
    return SourceStateChanged(name, state, "for operators", since, reason)


def test_a_change_is_told_once_and_a_repetition_never() -> None:
    board = SourceBoard()
    heard: list[tuple[int, str, Standing | None]] = []

    def listen(revision: int, name: str, standing: Standing | None) -> None:
        heard.append((revision, name, standing))

    board.follow(listen)
    board.post(told("trades", State.LIVE))
    board.post(SourceStateChanged("trades", State.LIVE, "in other words for operators", 1.5))
    board.post(told("source_status", State.LIVE))
    board.post(told("trades", State.LIVE, "polled"))
    board.remove("trades")
    board.remove("trades")
    board.unfollow(listen)
    board.post(told("notes", State.IDLE))
    assert [(name, standing and standing.reason) for _, name, standing in heard] == [
        ("trades", None), ("trades", "polled"), ("trades", None),
    ]  # fmt: skip
    assert [revision for revision, _, _ in heard] == [2, 3, 4]
    assert heard[-1][2] is None
    assert [one.source for one in board.standings()] == ["notes"]
    assert board.standings(["trades"]) == []


async def test_the_driver_reports_the_board_and_then_each_change_until_it_is_stopped() -> None:
    board = SourceBoard()
    board.post(told("trades", State.IDLE))
    events: list[Event] = []

    async def ready() -> None:
        return

    run = asyncio.ensure_future(BoardDriver(board).run(events.append, ready))
    await until(lambda: len(events) == 3)
    assert events[1] == SnapshotRows([("trades", "IDLE", "1970-01-01T00:00:01.500Z", None, None)])
    board.post(told("trades", State.STALE, "the database is out of reach", 2.0))
    board.remove("trades")
    assert events[3:] == [
        Changes(3, [("trades", ("trades", "STALE", "1970-01-01T00:00:02.000Z", "the database is out of reach", None))]),
        Changes(4, [("trades", None)]),
    ]
    run.cancel()
    await asyncio.wait([run])
    board.post(told("trades", State.LIVE))
    assert len(events) == 5


def test_a_standing_is_written_as_selected_and_a_source_that_is_gone_is_told() -> None:
    selection = StatusSelection("s", (Field("of", "source"), Field("t", "__typename"), Field("lag_ms", "lag_ms")))
    row = ("trades", "LIVE", "then", None, "12.5")
    result = rendered(selection, Operation.UPDATE, row, 0, 1)
    assert result == b'{"data":{"s":{"of":"trades","t":"SourceStatus","lag_ms":12.5}}}'
    assert selection.interest == 1 << STATUS.positions["source"] | 1 << STATUS.positions["state"]
    everything = StatusSelection("s", tuple(Field(name, name) for name in STATUS.positions))
    assert rendered(everything, Operation.DELETE, row, 0, 1) == (
        b'{"data":{"s":{"source":"trades","state":"IDLE","since":"then",'
        b'"reason":"the schema file names it no more","lag_ms":null}}}'
    )
    assert everything != selection
    assert everything == StatusSelection("s", tuple(Field(name, name) for name in STATUS.positions))


def test_a_lag_by_a_clock_grows_and_one_by_changes_ends_with_the_connection() -> None:
    lag = Lag()
    assert lag.ms is None
    lag.changed(None)
    assert lag.ms is None
    lag.changed(0.0)
    assert lag.ms is not None
    assert lag.ms > 1e9
    lag.lost()
    assert lag.ms is None, "nothing is known of a database that is out of reach"
    lag.known(0.0)
    lag.lost()
    assert lag.ms is not None, "how old the rows are is known all the same"
    lag.known(time.time() - 5)
    assert 5000 <= (lag.ms or 0) < 6000, "the time since then"
    lag.known(4e9)
    assert lag.ms == 0.0, "a clock that is ahead"
    lag.forget()
    assert lag.ms is None
