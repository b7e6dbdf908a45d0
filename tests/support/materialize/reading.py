"""The three ways to read a SUBSCRIBE: FETCH from a cursor, COPY, and rows that come by themselves.

Sources: MaterializeInc/materialize doc/user/content/sql/fetch.md, src/sql/src/plan/statement/scl.rs, src/pgwire/src/protocol.rs
(`send_rows`, `copy_rows`), test/pgtest/copy.pt, test/pgtest-mz/subscribe-dependency-dropped.pt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.support.materialize import wire
from tests.support.materialize.connection import Connection
from tests.support.materialize.formats import COPY_LINE, DATA_ROW
from tests.support.materialize.statements import Fetch
from tests.support.materialize.subscribe import Plan, Subscription
from tests.support.materialize.wire import SqlError
from tests.support.materialize.world import World

PIECE_ROWS = 5000
"""Rows that are written at once: a batch that is larger waits for the client in between."""


class Reader(Protocol):
    """What reading needs of a session."""

    world: World
    connection: Connection

    async def wait(self, seconds: float | None = None) -> bool:
        """Until something has happened."""


@dataclass
class Cursor:
    """A declared SUBSCRIBE. It starts, and its timestamp is chosen, with the first FETCH."""

    plan: Plan
    subscription: Subscription | None = None

    @property
    def is_empty(self) -> bool:
        """UP TO equals AS OF."""
        statement = self.plan.statement
        return statement.up_to is not None and statement.up_to == statement.as_of

    def start(self, world: World, woken: Callable[[], None], *, copy: bool) -> Subscription:
        """Start it. Raises SqlError."""
        return world.subscribe(self.plan, COPY_LINE if copy else DATA_ROW, woken)


async def collect(reader: Reader, subscription: Subscription, fetch: Fetch) -> tuple[bytes, int]:
    """The rows of one FETCH.

    Without a timeout: wait for the first row, then what is ready; none at all only from a subscribe that has ended. With a
    timeout: until as many as asked for are there (ALL never is), the time is over, or the subscribe has ended. What is not taken stays.
    """
    limit = 2**62 if fetch.count is None else fetch.count
    if limit == 0:
        return b"", 0
    if fetch.timeout is None:
        while not subscription.ready and not subscription.finished:
            await reader.wait()
    elif fetch.timeout > 0:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + fetch.timeout
        while subscription.ready < limit and not subscription.ended and (left := deadline - loop.time()) > 0:
            await reader.wait(left)
    elif (luck := reader.world.behaviour.zero_timeout_luck) and luck.random() < 0.5:
        return b"", 0
    subscription.raise_error()
    return subscription.take(limit)


async def copy_out(reader: Reader, subscription: Subscription) -> None:
    """COPY (SUBSCRIBE ...) TO STDOUT: CopyOutResponse goes out with the first batch, and every batch is flushed by itself."""
    start = wire.copy_out_response(len(subscription.plan.columns))
    count = await _pour(reader, subscription, start)
    reader.connection.send(wire.COPY_DONE + wire.command_complete(f"COPY {count}"))


async def stream(reader: Reader, subscription: Subscription) -> None:
    """A SUBSCRIBE of its own: rows until it ends."""
    warning = SqlError(
        "01000", "streaming SUBSCRIBE rows directly requires a client that does not buffer output", "NOTICE"
    )
    start = wire.notice_response(warning) + wire.row_description(subscription.plan.columns)
    count = await _pour(reader, subscription, start)
    reader.connection.send(wire.command_complete(f"SUBSCRIBE {count}"))


async def _pour(reader: Reader, subscription: Subscription, start: bytes) -> int:
    """Send all rows as they come; how many they were. An error is raised when the rows before it are out."""
    connection, total = reader.connection, 0
    try:
        while not subscription.finished:
            if subscription.ready and connection.writable:
                rows, count = subscription.take_batch(PIECE_ROWS)
                connection.send(start + rows)
                start, total = b"", total + count
            else:
                await reader.wait()
        subscription.raise_error()
    finally:
        if start:  # it was written long ago, and is flushed with whatever comes next
            connection.send(start)
    return total
