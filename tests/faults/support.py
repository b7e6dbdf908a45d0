"""A service with a faulty network on both sides: proxies between it and its database, and between its clients and it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tornado.httpclient import HTTPError
from tornado.websocket import WebSocketError

from tests.actors.support import crash
from tests.end_to_end.test_any_history import SCHEMA, TABLES, Wish, answer
from tests.end_to_end.test_resuming import Follower
from tests.support.client import ClientSubscription, GraphQLClient, connected
from tests.support.databases import AnyDatabase
from tests.support.faults import HOST, FaultProxy, Target, proxying
from tests.support.long import LONG
from tests.support.service import serving
from tycostream.app import Service

QUICK = {
    "RECONNECT_MIN_MS": "1",
    "RECONNECT_MAX_MS": "20",
    "VIEW_INTERVAL_MS": "5",
    "POLL_INTERVAL_MS": "30",
}
WAIT_SECONDS = 300.0 if LONG else 30.0

QUERIES = {
    "accounts": ("id", "id kind amount note"),
    "clock": ("id", "id tick"),
    "totals": ("kind", "kind total tick"),
    "unkeyed": ("id", "id kind"),
}


def rounds(short: int, long: int) -> int:
    """How often, in an ordinary run and in a long one."""
    return long if LONG else short


def target(database: AnyDatabase) -> Target:
    """Where the database really is."""
    known = database.parameters
    return f"{known.host}/.s.PGSQL.{known.port}" if known.host.startswith("/") else (known.host, known.port)


@dataclass
class Scene:
    """A service, what it follows, and the two proxies. `port` leads to it through the proxy."""

    database: AnyDatabase
    to_database: FaultProxy
    service: Service
    to_service: FaultProxy

    @property
    def port(self) -> int:
        return self.to_service.port

    def state_of(self, source: str) -> tuple[str, str]:
        """The source's state, and the reason."""
        (found,) = [one for one in self.service.status().sources if one.name == source]
        return found.state, found.reason or ""

    async def state(self, source: str, wanted: str, reason: str = "") -> str:
        """Until the source is in that state for a reason that matches; the reason."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                state, why = self.state_of(source)
                if state == wanted and re.search(reason, why):
                    return why
                await asyncio.sleep(0.002)

    def crash(self, kind: str, name: str) -> bool:
        """Send an actor a message that it chokes on; whether there is one."""
        found = self.service._directory.get((kind, name))
        return found is not None and crash(found)

    async def subscriptions(self) -> dict[str, int]:
        """How many subscriptions each source knows, and how many each connection's actor does, as the debug page shows."""
        known = {one["name"]: one["details"].get("subscriptions", -1) for one in await self.service.actors("source")}
        for number, one in enumerate(await self.service.actors("connection")):
            known[f"connection {number}"] = len(one["details"].get("subscriptions", ()))
        return known

    async def until_subscriptions(self, expected: dict[str, int]) -> None:
        """Until no actor and no subscription is left but these."""
        known: dict[str, int] = {}
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while known != expected:
                    known = await self.subscriptions()
                    await asyncio.sleep(0.005)
        except TimeoutError:
            assert known == expected


@asynccontextmanager
async def scene(
    database: AnyDatabase, folder: Path, environ: dict[str, str] | None = None, *, schema: str = SCHEMA
) -> AsyncIterator[Scene]:
    """A service that is `QUICK` to connect again; with the tables of the any-history tests, unless there is a schema."""
    if schema is SCHEMA:
        await database.run(TABLES)
    async with proxying(target(database)) as to_database:
        reached = database.environ | {"DATABASE_HOST": HOST, "DATABASE_PORT": str(to_database.port)}
        async with (
            serving(folder, schema, reached | QUICK | (environ or {})) as service,
            proxying((HOST, service.port)) as to_service,
        ):
            try:
                yield Scene(database, to_database, service, to_service)
            finally:
                to_database.restore()  # what is to be removed from the database can be


async def follow(client: GraphQLClient, source: str) -> Wish:
    """All rows of a source of the any-history tests."""
    key, columns = QUERIES[source]
    query = f"subscription {{ {source} {{ operation data {{ {columns} }} fields timestamp }} }}"
    subscription = await client.subscribe(query, (key,), keep_states=source == "clock")
    return Wish(source, key, columns.split(), "true", subscription)


async def settle(client: GraphQLClient, database: AnyDatabase, *wishes: Wish) -> None:
    """Until each subscription's rows are the database's; none was told an error or half a transaction."""
    for wish in wishes:
        expected = answer(database, wish)
        try:
            await client.until(lambda: wish.subscription.rows == expected)  # noqa: B023
        except TimeoutError:
            assert wish.subscription.rows == expected
        assert not wish.subscription.errors
        if wish.source == "clock":
            assert whole(wish.subscription)


def whole(clock: ClientSubscription) -> bool:
    """Whether each state that the rows of `clock` had is one between two transactions."""
    return all(len(state) < 3 or len({row["tick"] for row in state.values()}) == 1 for _, state in clock.states)


AWish = tuple[str, str, str, dict[str, Any] | None, str]


class Returning(Follower):
    """A client of its own that comes back with its cursor whenever its socket is gone, until it is told to leave."""

    def __init__(self, port: int, wish: AWish, arguments: str = "") -> None:
        super().__init__(*wish)
        self.arguments = f"{arguments}, on_unavailable: WAIT"
        self.visits = 0
        self.resets = 0
        """How often it was told to forget what it knew."""
        self.last_error: BaseException | None = None
        self._port = port
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._living = asyncio.ensure_future(self._live())

    def use(self, port: int) -> None:
        """The service is somewhere else from now on."""
        self._port = port

    async def _live(self) -> None:
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            while not leaving.done():
                try:
                    async with connected(self._port) as client:
                        self.visits += 1
                        await self.subscribe(client, "1")
                        await asyncio.wait({client.ended, leaving}, return_when=asyncio.FIRST_COMPLETED)
                        if client.ended.done():
                            client.ended.result()
                except (OSError, TimeoutError, AssertionError, HTTPError, WebSocketError) as error:
                    self.last_error = error
                await asyncio.wait({leaving}, timeout=0.005)  # as clients do between two attempts
        finally:
            leaving.cancel()

    def hear(self, message: dict[str, Any]) -> None:
        super().hear(message)
        self._changed.set()

    def apply(self, update: dict[str, Any]) -> None:
        self.resets += update["snapshot"] == "RESET"
        super().apply(update)

    async def until_rows(self, expected: dict[Any, dict[str, Any]]) -> None:
        """Until these are the rows."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self.rows != expected:
                    self._changed.clear()
                    changing = asyncio.ensure_future(self._changed.wait())
                    await asyncio.wait({changing, self._living}, return_when=asyncio.FIRST_COMPLETED)
                    changing.cancel()
                    if self._living.done():
                        self._living.result()
        except TimeoutError:
            assert (self.error, self.last_error, self.heard[-3:], self.rows) == (None, None, self.heard[-3:], expected)

    async def settle_alone(self, database: AnyDatabase) -> None:
        """Until its rows are the database's."""
        await self.until_rows(self.answer(database))
        assert self.error is None, self.error

    async def leave(self) -> None:
        """The end."""
        self._leaving.set()
        await asyncio.wait_for(self._living, WAIT_SECONDS)


@asynccontextmanager
async def returning(port: int, *wishes: AWish) -> AsyncIterator[list[Returning]]:
    """A client for each wish; all leave at the end."""
    clients = [Returning(port, wish) for wish in wishes]
    try:
        yield clients
    finally:
        for client in clients:
            await client.leave()
