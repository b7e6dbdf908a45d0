"""The service in one process: it follows the database, keeps triggers, and serves clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from pykka import ActorRef

import actors
import tycostream
from actors.board import SourceBoard
from actors.feed import FeedActor, FeedHandle
from actors.supervisor import Restart, StartChild
from actors.triggers import RegistryConfig, TriggerRegistry
from tycostream import model
from tycostream.app.clients import Clients
from tycostream.app.core import Core, MakeDriver
from tycostream.databases.connection import ConnectionParameters
from tycostream.databases.driver import Driver
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.databases.materialize import MaterializeDriver
from tycostream.databases.postgres import Intervals, PostgresDriver
from tycostream.graphql import Engine
from tycostream.model import Catalog
from tycostream.settings import Settings
from tycostream.triggers import Courier, TargetPolicy
from tycostream.web.application import Route
from tycostream.web.health import ServiceStatus, SourceStatus
from tycostream.wiring import connection_parameters, courier_config, embedded_database, require_supported

log = logging.getLogger("tycostream")

PACKAGES = (actors, tycostream)
"""What a service's code is in."""

STOP_ORDER = ("connection", "trigger", "source", "status", "feed")
FEED = "postgres"

Companion = Callable[["Service"], Coroutine[Any, Any, None]]
"""What runs beside a service from when it has started until it is stopped."""


class Service(Core):
    """A running tycostream: `start`, then `stop`. `port` is where it listens, `database` what it follows.

    `routes` are answered beside its own. `embedded` is a database that runs already and is stopped with the service.
    """

    _triggers: TriggerRegistry

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        routes: Sequence[Route] = (),
        embedded: EmbeddedPostgres | None = None,
    ) -> None:
        require_supported(settings)
        super().__init__(settings, catalog, SourceBoard())
        self.port = 0
        self.database: ConnectionParameters | None = None
        self._routes = routes
        self._embedded = embedded
        self._courier: Courier | None = None
        webhooks = settings.webhooks
        self._policy = TargetPolicy(webhooks.allow, webhooks.deny)
        registry = RegistryConfig(self._policy, settings.limits.max_triggers, settings.sources.query_timeout_seconds)
        self._triggers = TriggerRegistry(registry, self._directory)
        self._engine = Engine(catalog, self._bounds, self, self._triggers, self._board)
        self._clients = Clients(settings, self._engine, self._directory, self.status, self.actors)

    # Life

    async def start(self) -> None:
        """Start the embedded database if it is wanted, the actors, the web server. Raises DatabaseError, OSError."""
        try:
            supervisor = self._start_supervisor(self._board)
            self._courier = Courier(courier_config(self.settings, self._policy))
            self._triggers.open(supervisor, self._courier)
            self._make_driver = await self._start_database()
            await self._start_sources()
            self.port = self._clients.listen(supervisor, self._routes)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, restart: bool = False) -> None:
        """Send every client away, close every cursor, deliver what waits, and end. Takes SHUTDOWN_SECONDS at most.

        Clients are told that the service is being stopped, or that it is being restarted. Nothing here needs the
        supervisor to be alive.
        """
        self._stopping = True
        self._clients.close_door()
        within = self.settings.limits.shutdown_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within

        def left() -> float:
            return max(0.0, deadline - loop.time())

        await self._clients.send_away(min(self.settings.limits.drain_seconds, within), restart=restart)
        if not await self._stop_actors(STOP_ORDER, left()):
            log.error("not everything stopped within %g s", within)
        if self._courier is not None:
            await self._courier.close(left())
            self._courier = None
        await self._finish_tasks(left())
        await self._clients.close()
        await self.stop_database()

    async def stop_database(self) -> None:
        """Stop the embedded database, where there is one: it would outlive the process."""
        if self._embedded is not None:
            embedded, self._embedded = self._embedded, None
            await embedded.stop()

    async def _database(self) -> ConnectionParameters:
        database = self.settings.database
        if database.type == "embedded":
            self._embedded = embedded_database(self.settings)
            return await self._embedded.start()
        return connection_parameters(self.settings)

    async def _start_database(self) -> MakeDriver:
        """Start what all sources share; the result makes a driver for one of them."""
        silence = self.settings.sources.silence_seconds
        parameters = self.database = replace(await self._database(), silence=silence)
        if self.settings.database.type == "materialize":
            in_process = self.settings.database.reader == "process"
            return lambda source: MaterializeDriver(source, parameters, silence, in_process=in_process)
        sources = self.settings.sources

        def make_feed(_supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return FeedActor.start(parameters, sources.slot_timeout_seconds)

        await self._start_child(StartChild("feed", FEED, make_feed, Restart()))
        feed = FeedHandle(self._directory, FEED)
        intervals = Intervals(poll=sources.poll_interval_ms / 1000, view=sources.view_interval_ms / 1000)

        def make_driver(source: model.Source) -> Driver:
            return PostgresDriver(source, parameters, feed, intervals, sources.slot_timeout_seconds)

        return make_driver

    # What the web server is handed

    def status(self) -> ServiceStatus:
        """How the sources stand, as they last told the supervisor."""
        told = self._board.states
        sources = tuple(
            SourceStatus(name, state.state.value, state.reason, state.since)
            for name in self.catalog.sources
            if (state := told.get(name)) is not None
        )
        return ServiceStatus(ready=not self._stopping, sources=sources, schema=self._schema)

    async def actors(self, kind: str | None = None, urn: str | None = None) -> Sequence[dict[str, Any]]:
        """What every actor does; see `web.debug`."""
        return await self.actors_here(kind, urn)
