"""What tests of `tycostream subscribe` share: a view that remembers, and a cable that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tycostream.terminal.follow import Wanted, follow
from tycostream.terminal.table import TableColumn

WAIT_SECONDS = 20.0
SCHEMA = """
sources:
  trades:
    primary_key: [id, day]
    columns: {id: Integer, symbol: String, price: Float, day: Date}
"""
TABLE = "CREATE TABLE trades (id int, symbol text, price float8, day date, PRIMARY KEY (id, day))"
ROWS = "INSERT INTO trades VALUES (1, 'AAPL', 1.5, '2024-01-02'), (2, NULL, 2.5, '2024-01-03')"


class Recorder:
    """A view that keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.columns: list[TableColumn] = []
        self.key: list[str] = []
        self.starts = 0
        self.updates: list[dict[str, Any]] = []
        self.losses: list[str] = []
        self._told = asyncio.Event()

    def start(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        self.columns, self.key, self.starts = list(columns), list(key), self.starts + 1
        self._told.set()

    def update(self, update: Any) -> None:
        self.updates.append(update)
        self._told.set()

    def lost(self, message: str) -> None:
        self.losses.append(message)
        self._told.set()

    def finish(self) -> None:
        """Nothing is kept back."""

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._told.clear()
                await self._told.wait()


def url_of(port: int) -> str:
    return f"ws://127.0.0.1:{port}/graphql"


@asynccontextmanager
async def following(wanted: Wanted) -> AsyncIterator[Recorder]:
    """`follow` in the background; it is cancelled at the end, and its errors are the test's."""
    view = Recorder()
    task = asyncio.ensure_future(follow(wanted, view, first_wait=0.02))
    task.add_done_callback(lambda _: view._told.set())
    try:
        yield view
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


class Cable:
    """TCP between a client and a service, to be cut without a word."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._writers: set[asyncio.StreamWriter] = set()
        self.whole = asyncio.Event()
        self.whole.set()
        self.port = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.whole.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, there_writer}
        await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    def cut(self, *, hold: bool = False) -> None:
        """End all connections; with `hold`, new ones wait until `whole` is set."""
        if hold:
            self.whole.clear()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def cutting(port: int) -> AsyncIterator[Cable]:
    cable = Cable(port)
    server = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    cable.port = server.sockets[0].getsockname()[1]
    try:
        yield cable
    finally:
        cable.whole.set()
        cable.cut()
        server.close()
        await server.wait_closed()
