"""Clients in a process of their own (`benchmarks.sink`), as a measurement speaks to them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.replay import Rows, digest
from benchmarks.rows import QUERY

PATIENCE_SECONDS = 60


class LostError(RuntimeError):
    """Clients were not told what they should have been."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a group's clients saw since they were asked last. `first` and `last` are seconds of the monotonic clock."""

    first: float
    last: float
    segments: int
    """The most that one client got: how often was sent to it."""
    latencies: dict[str, float]
    """Milliseconds, by the share of rows that were there sooner: 0.5, 0.9, 0.99, 0.999. Of each read of a client, the
    oldest row counts."""
    first_after: float
    """Milliseconds from subscribing to the first row, of the last client to have it."""

    def percentile(self, share: float) -> float | None:
        """One of them."""
        return self.latencies.get(str(share))


class Group:
    """Clients with the same query. What they have had counts from their first row on."""

    def __init__(self, sink: Sink, index: int, operations: int) -> None:
        self._sink, self._index, self._operations = sink, index, operations

    async def reached(self, messages: int) -> Seen:
        """When each operation has had so many messages. One too many for somebody is an error."""
        found = await self._sink.ask("reach", self._index, messages=messages)
        wanted = messages * self._operations
        if found.pop("messages") != [wanted, wanted]:
            raise LostError(f"clients had other than {wanted} messages: some were lost or doubled")
        return _seen(found)

    async def check(self, messages: int, rows: Rows) -> None:
        """Raises LostError where an operation has not had just so many messages, or they don't lead to these rows."""
        found = await self._sink.ask("replay", self._index)
        if found["messages"] != [messages, messages]:
            raise LostError(f"operations had {found['messages']} messages, not {messages}")
        if found["digest"] != digest(rows):
            raise LostError("clients ended with other rows than the source")


def _seen(found: dict[str, Any]) -> Seen:
    return Seen(**{name: found[name] for name in Seen.__slots__})


class Sink:
    """The process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._numbers = count()
        self._groups = count()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def connect(self, port: int, clients: int, query: str = QUERY, *, first: int = 1, **more: Any) -> Group:
        """Clients each of which has had its first messages. `more`: see `benchmarks.sink.Group`."""
        group, _seen = await self.connected(port, clients, query, first=first, **more)
        return group

    async def connected(
        self, port: int, clients: int, query: str = QUERY, *, first: int = 1, **more: Any
    ) -> tuple[Group, Seen]:
        """As `connect`, with what was seen on the way."""
        index = next(self._groups)
        found = await self.ask("connect", index, messages=first, port=port, count=clients, query=query, **more)
        return Group(self, index, more.get("subscriptions", 1)), _seen(found)

    async def ask(self, do: str, group: int, **more: Any) -> dict[str, Any]:
        """A command's answer."""
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, "number": number, "group": group, **more}).encode() + b"\n")
        try:
            found = await asyncio.wait_for(answer, PATIENCE_SECONDS)
        except TimeoutError:
            raise LostError(f"{do}: not all messages came within {PATIENCE_SECONDS} s") from None
        if "error" in found:
            raise LostError(found["error"])
        return found

    async def listen(self) -> None:
        """Hear answers until the process ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            found = json.loads(line)
            answer = self._asked.pop(found["number"])
            if not answer.done():
                answer.set_result(found)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LostError("the clients' process has ended"))


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """A process that is ready to connect clients."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.sink", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    made = Sink(process)
    listening = asyncio.create_task(made.listen())
    try:
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


class Clients:
    """Clients that each expect so many messages."""

    def __init__(self, group: Group, messages: int) -> None:
        self._group, self._messages = group, messages

    async def seen(self) -> Seen:
        """When every client has had all messages. A message lost is an error."""
        return await self._group.reached(self._messages)


@asynccontextmanager
async def clients(port: int, count: int, messages: int, query: str = QUERY) -> AsyncIterator[Clients]:
    """So many subscribed clients, each of which expects so many messages."""
    async with sink() as process:
        yield Clients(await process.connect(port, count, query), messages)
