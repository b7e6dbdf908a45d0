"""The service: it follows the database, keeps triggers, and serves clients, by itself or with worker processes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pykka import ActorRef

import actors
import tycostream
from actors.board import SourceBoard
from actors.feed import FeedActor, FeedCounts, FeedHandle
from actors.source import SourceConfig
from actors.supervisor import Restart, StartChild
from actors.triggers import RegistryConfig, TriggerRegistry
from tycostream import model
from tycostream.app.clients import Clients
from tycostream.app.core import Core, MakeDriver
from tycostream.app.order import WITH_WORKERS
from tycostream.app.workers import Workers
from tycostream.databases.connection import ConnectionParameters
from tycostream.databases.driver import Driver
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.databases.materialize import MaterializeDriver
from tycostream.databases.postgres import DurableOptions, Intervals, PostgresDriver
from tycostream.graphql import Engine
from tycostream.metrics import Sample, Told, sample
from tycostream.model import Catalog
from tycostream.reload import Changeover
from tycostream.settings import Settings
from tycostream.triggers import Courier, TargetPolicy
from tycostream.web.application import Route
from tycostream.web.health import ServiceStatus, SourceStatus
from tycostream.wiring import connection_parameters, courier_config, embedded_database, require_supported

log = logging.getLogger("tycostream")

PACKAGES = (actors, tycostream)
"""What a service's code is in."""

STOP_ORDER = ("connection", "worker", "relay", "trigger", "source", "status", "feed")
FEED = "postgres"

LEAST_LINGER = 2.0
"""Seconds for which a source is kept that a worker has left: it comes back a moment after a failure."""

Companion = Callable[["Service"], Coroutine[Any, Any, None]]
"""What runs beside a service from when it has started until it is stopped."""


class Service(Core):
    """A running tycostream: `start`, then `stop`. `port` is where it listens, `database` what it follows.

    `routes` are answered beside its own, where no workers do that. `embedded` is a database that runs already and is
    stopped with the service.
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
        self._clients: Clients | None = None
        self._workers: Workers | None = None
        if settings.service.workers:
            self.process = WITH_WORKERS
            self._workers = Workers(
                settings, self._directory, self._board, lambda: self.catalog, self.status, self._answer
            )
        else:
            self._clients = Clients(
                settings, self._engine, self._directory, self.status, self.actors, self.metrics, self._counts
            )

    # Life

    async def start(self) -> None:
        """Start the embedded database if it is wanted, the actors, the web server or the workers. Raises DatabaseError,
        OSError, WorkerFailedError."""
        try:
            supervisor = self._start_supervisor(self._board)
            self._courier = Courier(courier_config(self.settings, self._policy))
            self._triggers.open(supervisor, self._courier)
            self._make_driver = await self._start_database()
            await self._start_sources()
            if self._clients is not None:
                self.port = self._clients.listen(supervisor, self._routes)
            if self._workers is not None:
                self.port = await self._workers.start(self._start_child)
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, restart: bool = False) -> None:
        """Send every client away, close every cursor, deliver what waits, and end. Takes SHUTDOWN_SECONDS at most.

        Clients are told that the service is being stopped, or that it is being restarted. Nothing here needs the
        supervisor to be alive.
        """
        self._stopping = True
        if self._clients is not None:
            self._clients.close_door()
        within = self.settings.limits.shutdown_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within

        def left() -> float:
            return max(0.0, deadline - loop.time())

        if self._clients is not None:
            await self._clients.send_away(min(self.settings.limits.drain_seconds, within), restart=restart)
        if self._workers is not None:
            self._workers.publish()
            await self._workers.stop(within, restart=restart)
        if not await self._stop_actors(STOP_ORDER, left()):
            log.error("not everything stopped within %g s", within)
        if self._courier is not None:
            await self._courier.close(left())
            self._courier = None
        await self._finish_tasks(left())
        if self._clients is not None:
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
        sources = self.settings.sources
        if self.settings.database.type == "materialize":
            return partial(
                MaterializeDriver,
                parameters=parameters,
                silence=silence,
                in_process=self.settings.database.reader == "process",
                history=sources.recent_changes_seconds,
            )
        slot = sources.replication_slot
        durable = DurableOptions(slot, sources.recent_changes_seconds) if slot else None
        counts = FeedCounts()

        def make_feed(_supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return FeedActor.start(parameters, sources.slot_timeout_seconds, durable, counts)

        await self._start_child(StartChild("feed", FEED, make_feed, Restart()))
        feed = FeedHandle(self._directory, FEED)
        intervals = Intervals(poll=sources.poll_interval_ms / 1000, view=sources.view_interval_ms / 1000)

        def make_driver(source: model.Source) -> Driver:
            return PostgresDriver(source, parameters, feed, intervals, sources.slot_timeout_seconds)

        return make_driver

    # When the schema file changes

    async def apply(self, catalog: Catalog) -> Changeover:
        """Serve another catalog from now on; see `Core.apply`."""
        change = await super().apply(catalog)
        if self._workers is not None:
            if not change.empty:
                await self._workers.apply(self.catalog)
            self._workers.publish()
        return change

    def keep(self, error: str) -> None:
        """The schema file can't be used, for this reason: what is served goes on being served."""
        super().keep(error)
        if self._workers is not None:
            self._workers.publish()

    @property
    def _source_config(self) -> SourceConfig:
        config = super()._source_config
        return config if self._workers is None else replace(config, linger=max(config.linger, LEAST_LINGER))

    # What the web server is handed

    def status(self) -> ServiceStatus:
        """How the sources stand, as they last told the supervisor."""
        told = self._board.states
        sources = tuple(
            SourceStatus(name, state.state.value, state.reason, state.since)
            for name in self.catalog.sources
            if (state := told.get(name)) is not None
        )
        workers = () if self._workers is None else self._workers.statuses()
        return ServiceStatus(ready=not self._stopping, sources=sources, schema=self._schema, workers=workers)

    async def actors(self, kind: str | None = None, urn: str | None = None) -> Sequence[dict[str, Any]]:
        """What every actor does; see `web.debug`."""
        here = await self.actors_here(kind, urn)
        return here if self._workers is None else here + await self._workers.actors(kind, urn)

    async def metrics(self) -> Told:
        """What every process tells of itself; see `web.metrics_handler`."""
        here = {self.process: self.samples_here()}
        return here if self._workers is None else {**here, **await self._workers.samples()}

    def _samples(self) -> Iterator[Sample]:
        yield from super()._samples()
        yield sample("tycostream_schema_loaded_timestamp_seconds", self._schema.loaded_at)
        yield sample("tycostream_schema_error", self._schema.error is not None)
        yield from self._triggers.samples(self.catalog.sources)
        if self._courier is not None:
            yield from self._courier.samples()
        if self._clients is not None:
            yield from self._clients.samples()

    def _few(self) -> Iterator[tuple[str, str]]:
        yield from super()._few()
        yield "feed", FEED
        for number in range(1, self.settings.service.workers + 1):
            yield "worker", str(number)
            yield "relay", str(number)

    # What workers ask

    async def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        """See `relay.calls.Answer`."""
        if name == "actors":
            return await self.actors(**arguments)
        if name == "metrics":
            return await self.metrics()
        if name == "execute":
            return await self._engine.execute_on_triggers(**arguments)
        raise ValueError(f"there is no question {name}")
