"""Follows a source of a running service and shows it, through lost connections, until it is enough."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from tycostream.settings.problems import did_you_mean
from tycostream.terminal.client import Client, LostError, RefusedError, SourceColumn, connected, subscription
from tycostream.terminal.table import TableColumn
from tycostream.terminal.views import View

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
_NUMBERS = frozenset({"Int", "Float"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is followed. No `columns` are all of them; `updates` is after how many it is enough, None for never."""

    url: str
    source: str
    where: str | None = None
    columns: Sequence[str] = ()
    updates: int | None = None


async def run(wanted: Wanted, view: View) -> int:
    """Follow until it is enough, or SIGINT or SIGTERM. Returns the process's exit code."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await follow(wanted, view)
    except LostError as error:
        print(f"tycostream subscribe: {error} (is tycostream running there? --url says where)", file=sys.stderr)
        return 1
    except RefusedError as error:
        for reason in error.reasons:
            print(f"tycostream subscribe: {reason}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        pass
    finally:
        view.finish()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return 0


async def follow(wanted: Wanted, view: View, *, first_wait: float = FIRST_WAIT_SECONDS) -> None:
    """Show the source until it is enough.

    Raises RefusedError, and LostError where the service was not reached even once; after that, a lost connection is
    made again, after waits that double.
    """
    subscription(wanted.source, ("id",), wanted.where)  # what can't be read is told before anything is asked
    session = _Session(wanted, view)
    wait = first_wait
    while True:
        try:
            async with connected(wanted.url) as client:
                await session.run(client)
            return
        except LostError as error:
            if not session.reached:
                raise
            if session.heard:
                wait, session.heard = first_wait, False
            view.lost(f"{error}; rows cleared, trying again in {wait:g} s")
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)


class _Session:
    """One connection after the other. `reached`: there was one; `heard`: the last one has brought an
    update."""

    def __init__(self, wanted: Wanted, view: View) -> None:
        self._wanted, self._view = wanted, view
        self._left = wanted.updates
        self.reached = self.heard = False

    async def run(self, client: Client) -> None:
        """Until it is enough. Raises LostError, RefusedError."""
        found = await client.describe(self._wanted.source)
        columns, key = _chosen(found, self._wanted.columns)
        self._view.start(columns, key)
        self.reached = True
        selected = dict.fromkeys([*key, *(column.name for column in columns)])
        query = subscription(self._wanted.source, list(selected), self._wanted.where)
        async with aclosing(client.updates(query)) as updates:
            async for update in updates:
                self.heard = True
                self._view.update(update)
                if self._left is not None:
                    self._left -= 1
                    if self._left <= 0:
                        return
        raise LostError("the service ended the subscription")


def _chosen(found: Sequence[SourceColumn], names: Sequence[str]) -> tuple[list[TableColumn], list[str]]:
    """The columns to show, and the key. Raises RefusedError for a name that the source has not."""
    by_name = {column.name: column for column in found}
    for name in names:
        if name not in by_name:
            hint = did_you_mean(name, by_name) or f"; there are {', '.join(by_name)}"
            raise RefusedError([f"--columns: there is no column {name}{hint}"])
    shown = [by_name[name] for name in names or by_name]
    columns = [TableColumn(column.name, column.type in _NUMBERS) for column in shown]
    return columns, [column.name for column in found if column.key]
