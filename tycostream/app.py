"""The composition root: the one place that knows everything. It builds settings -> actors -> web server, and takes them
down in the opposite order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from itertools import count
from typing import Any

import pykka
from graphql import GraphQLSchema
from pykka import ActorRef
from tornado.httpserver import HTTPServer

import actors
import tycostream
from actors.board import BoardDriver, SourceBoard
from actors.connection import ConnectionActor, FrameReceived, SocketClosed, SocketDrained
from actors.connection_limits import ConnectionConfig, SharedLimits
from actors.drain import drain
from actors.explaining import Explainer
from actors.feed import FeedActor, FeedHandle
from actors.runtime import Dispatcher, loop_actor, stop_actor, tell
from actors.source import SourceActor, SourceConfig
from actors.source_memory import SourceMemory
from actors.source_messages import ReadRows, Refused, SourceUnavailableError, interrupted, place_of
from actors.supervisor import Adopt, ListActors, Restart, StartChild, StopChild, Supervisor, stop_everything
from actors.triggers import RegistryConfig, TriggerRegistry
from tycostream import model
from tycostream.databases.connection import ConnectionParameters
from tycostream.databases.driver import Driver
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.databases.materialize import MaterializeDriver
from tycostream.databases.postgres import DurableOptions, Intervals, PostgresDriver
from tycostream.filters import Filter, KeyLookup
from tycostream.graphql import Engine, Limits, UnavailableError
from tycostream.graphql.errors import SCHEMA_CHANGED, SOURCE_REMOVED
from tycostream.graphql.schema import build_schema
from tycostream.limits import Backlog, NearLimits
from tycostream.model import Catalog, Row
from tycostream.reload import Changeover, compare
from tycostream.settings import Settings
from tycostream.status import STATUS
from tycostream.triggers import Courier, TargetPolicy
from tycostream.views import RecentLimits, RowCache
from tycostream.views.pace import SlowPolicy
from tycostream.web.application import Route, Services, WebConfig, listen, make_application
from tycostream.web.close_codes import CloseCode
from tycostream.web.graphql_handler import Inbox
from tycostream.web.health import SchemaStatus, ServiceStatus, SourceStatus
from tycostream.web.transport import ConnectionInfo, SocketTransport
from tycostream.wiring import connection_parameters, courier_config, embedded_database, require_supported

log = logging.getLogger("tycostream")

PACKAGES = (actors, tycostream)
"""What a service's code is in."""

STOP_ORDER = ("connection", "trigger", "source", "status", "feed")
FEED = "postgres"
LAST_SECONDS = 0.5
"""For connections to the database to close, whatever else has taken its time."""
RESTARTING = "the service is being restarted"

INBOX_FRAMES = 64
"""Frames of one client that wait for its actor before no more are read from its socket."""

MakeDriver = Callable[[model.Source], Driver]

Companion = Callable[["Service"], Coroutine[Any, Any, None]]
"""What runs beside a service from when it has started until it is stopped."""


class Service:
    """A running tycostream: `start`, then `stop`. `port` is where it listens, `database` what it follows.

    `routes` are answered beside its own. `embedded` is a database that runs already and is stopped with the service.
    """

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        routes: Sequence[Route] = (),
        embedded: EmbeddedPostgres | None = None,
    ) -> None:
        require_supported(settings)
        self._routes = routes
        self.settings = settings
        self.catalog = catalog
        self.port = 0
        self.database: ConnectionParameters | None = None
        self._directory: dict[tuple[str, str], ActorRef[Any]] = {}
        self._board = SourceBoard()
        self._connections = count(1)
        self._embedded = embedded
        self._supervisor: ActorRef[Any] | None = None
        self._courier: Courier | None = None
        self._server: HTTPServer | None = None
        self._stopping = False
        self._make_driver: MakeDriver
        self._memories: dict[str, SourceMemory] = {}
        self._schema = SchemaStatus(time.time())
        limits, webhooks = settings.limits, settings.webhooks
        self._policy = TargetPolicy(webhooks.allow, webhooks.deny)
        near = NearLimits()
        self._shared = SharedLimits(near, Backlog(limits.max_total_pending_bytes, near))
        wait = settings.sources.query_timeout_seconds
        self._triggers = TriggerRegistry(RegistryConfig(self._policy, limits.max_triggers, wait), self._directory)
        bounds = Limits(tokens=limits.max_tokens, depth=limits.max_depth, aliases=limits.max_aliases)
        self._engine = Engine(catalog, bounds, self, self._triggers, self._board)

    # Life

    async def start(self) -> None:
        """Start the embedded database if it is wanted, the actors, the web server. Raises DatabaseError, OSError."""
        try:
            self._supervisor = Supervisor.start(self._board, self._directory)
            self._courier = Courier(courier_config(self.settings, self._policy))
            self._triggers.open(self._supervisor, self._courier)
            self._make_driver = await self._start_database()
            for source in (STATUS, *self.catalog.sources.values()):
                await self._start_source(source)
            self._listen()
        except BaseException:
            await self.stop()
            raise

    def on_supervisor_end(self, tell_of: Callable[[BaseException | None], None]) -> None:
        """Hand the error to this function should the supervisor end before it is stopped."""
        actor = None if self._supervisor is None else loop_actor(self._supervisor)
        if actor is not None:
            actor.on_exit = lambda _ref, error: tell_of(error)

    async def stop(self, *, restart: bool = False) -> None:
        """Send every client away, close every cursor, deliver what waits, and end. Takes SHUTDOWN_SECONDS at most.

        Clients are told that the service is being stopped, or that it is being restarted. Nothing here needs the
        supervisor to be alive.
        """
        self._stopping = True
        if self._server is not None:
            self._server.stop()
        within = self.settings.limits.shutdown_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within

        def left() -> float:
            return max(0.0, deadline - loop.time())

        code, reason = (CloseCode.SERVICE_RESTART, RESTARTING) if restart else (CloseCode.GOING_AWAY, None)
        clients = [ref for (kind, _name), ref in self._directory.items() if kind == "connection"]
        await drain(clients, code, reason or code.reason, min(self.settings.limits.drain_seconds, within))
        if self._supervisor is not None:
            supervisor, self._supervisor = self._supervisor, None
            try:
                await asyncio.wait_for(stop_everything(supervisor, self._directory, STOP_ORDER), left())
            except TimeoutError:
                log.error("not everything stopped within %g s", within)
            await stop_actor(supervisor)
        if self._courier is not None:
            await self._courier.close(left())
            self._courier = None
        await Dispatcher.current().finish_tasks(within=max(LAST_SECONDS, left()))
        if self._server is not None:
            await self._server.close_all_connections()
            self._server = None
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

        def make_feed(_supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return FeedActor.start(parameters, sources.slot_timeout_seconds, durable)

        await self._start_child(StartChild("feed", FEED, make_feed, Restart()))
        feed = FeedHandle(self._directory, FEED)
        intervals = Intervals(poll=sources.poll_interval_ms / 1000, view=sources.view_interval_ms / 1000)

        def make_driver(source: model.Source) -> Driver:
            return PostgresDriver(source, parameters, feed, intervals, sources.slot_timeout_seconds)

        return make_driver

    async def _start_source(self, source: model.Source) -> None:
        sources = self.settings.sources
        config = SourceConfig(
            eager=sources.start == "eager",
            linger=sources.linger_seconds,
            retry_min=sources.reconnect_min_ms / 1000,
            retry_max=sources.reconnect_max_ms / 1000,
        )
        recent = RecentLimits(
            rows=sources.recent_changes_rows,
            bytes=sources.recent_changes_bytes,
            seconds=sources.recent_changes_seconds,
        )
        memory = self._memories[source.name] = SourceMemory(RowCache(source), recent)
        make_driver = self._follow_board if source is STATUS else self._make_driver

        def make_source(supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return SourceActor.start(source, make_driver, config, memory, supervisor)

        await self._start_child(StartChild(*place_of(source), make_source, Restart()))

    def _follow_board(self, _source: model.Source) -> Driver:
        return BoardDriver(self._board)

    async def _stop_source(self, source: model.Source) -> None:
        """Stop its actor, and hand on what its triggers have to tell. Its subscriptions are left in its memory."""
        assert self._supervisor is not None
        await self._supervisor.ask(StopChild("source", source.name), block=False)
        self._memories[source.name].roll_back()
        await self._triggers.pause(source)

    async def _start_child(self, order: StartChild) -> None:
        assert self._supervisor is not None
        await self._supervisor.ask(order, block=False)

    def _listen(self) -> None:
        service, limits = self.settings.service, self.settings.limits
        config = WebConfig(
            ui=service.ui,
            origins=frozenset(service.allowed_origins),
            max_connections=limits.max_connections,
            max_per_address=limits.max_connections_per_address,
            proxies=tuple(map(ip_network, service.trusted_proxies)),
            max_message_bytes=limits.max_message_bytes,
            ping=limits.ping_seconds,
            debug_open=service.debug_access == "any",
        )
        services = Services(self._engine, self._open_connection, self.status, self.actors, Explainer(self._directory))
        application = make_application(services, config, self._routes)
        self._server, self.port = listen(application, config, service.port, service.host)

    # When the schema file changes

    async def apply(self, catalog: Catalog) -> Changeover:
        """Serve another catalog from now on. Who uses a source that stays the same notices nothing."""
        change = compare(self.catalog, catalog)
        if not change.empty:
            change.describe()
            schema = await asyncio.to_thread(build_schema, change.catalog, self._board)
            await self._change_over(change, schema)
        self._schema = SchemaStatus(time.time())
        return change

    def keep(self, error: str) -> None:
        """The schema file can't be used, for this reason: what is served goes on being served."""
        self._schema = SchemaStatus(self._schema.loaded_at, error)

    async def _change_over(self, change: Changeover, schema: GraphQLSchema) -> None:
        """The old sources end first, and clients are told last: one that comes back at once finds the new source."""
        for source in change.ended:
            await self._stop_source(source)
        # In one step, so that no request is planned for one source and meets another
        self.catalog = change.catalog
        self._engine.adopt(change.catalog, schema)
        left = [(source, self._memories.pop(source.name)) for source in change.ended]
        triggers = [one for source in change.ended for one in self._triggers.move(source, change.changed.get(source))]
        for source in change.started:
            await self._start_source(source)
        await self._triggers.resume(triggers)
        for source, memory in left:
            code, text = SOURCE_REMOVED, f"there is no source {source.name} any more"
            if source in change.changed:
                code, text = SCHEMA_CHANGED, f"source {source.name} is not what it was; subscribe again"
            for subscription in (*memory.subscriptions(), *memory.waiting):
                tell(subscription.connection, Refused(subscription, text, code))

    # What the web server is handed

    def _open_connection(self, transport: SocketTransport, info: ConnectionInfo) -> Inbox:
        limits = self.settings.limits
        config = ConnectionConfig(
            init_timeout=limits.init_timeout_seconds,
            ping=limits.ping_seconds,
            idle=limits.idle_seconds,
            operations_per_second=limits.operations_per_second,
            operations_burst=limits.operations_burst,
            max_pending_bytes=limits.max_pending_bytes,
            max_subscriptions=limits.max_subscriptions_per_connection,
            hold_rows=limits.outbox_rows,
            max_rows=limits.outbox_max_rows,
            drop_rows=limits.outbox_drop_rows,
            slow=SlowPolicy[limits.slow_consumer.upper()],
        )
        ref = ConnectionActor.start(transport, info, self._engine, self._directory, config, self._shared)
        transport.on_drained = partial(_drained, ref)
        if self._supervisor is not None:
            tell(self._supervisor, Adopt("connection", f"{next(self._connections)}", ref))
        return _ConnectionInbox(ref)

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
        if self._supervisor is None:
            return []
        listed: list[dict[str, Any]] = await self._supervisor.ask(ListActors(kind, urn), block=False)
        return listed

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002  # the field's own word
        """A query's rows, from its source's cache; see `graphql.RowReader`."""
        return await self._read(filter)

    async def row(self, lookup: KeyLookup) -> Row | None:
        """The row of a key; see `graphql.RowReader`."""
        found = await self._read(lookup.filter, lookup)
        return found[0] if found else None

    async def _read(self, condition: Filter, lookup: KeyLookup | None = None) -> list[Row]:
        name = condition.source.name
        source = self._directory.get(("source", name))
        if self.catalog.sources.get(name) is not condition.source:
            raise UnavailableError(f"source {name} has changed meanwhile; ask again")
        if source is None:
            raise UnavailableError(interrupted(name))
        within = self.settings.sources.query_timeout_seconds
        try:
            found: list[Row] = await source.ask(ReadRows(condition, within, lookup), block=False)
        except SourceUnavailableError as error:
            raise UnavailableError(str(error)) from None
        except pykka.ActorDeadError:
            raise UnavailableError(interrupted(name)) from None
        return found


def _drained(connection: ActorRef[Any]) -> None:
    tell(connection, SocketDrained())


class _ConnectionInbox:
    """Frames on their way from Tornado to a connection's actor."""

    def __init__(self, ref: ActorRef[Any]) -> None:
        self._ref = ref

    def received(self, text: str) -> Awaitable[None] | None:
        actor = loop_actor(self._ref)
        if actor is None or actor.inbox_depth < INBOX_FRAMES:
            tell(self._ref, FrameReceived(text))
            return None
        return _handled(self._ref, text)

    def closed(self, code: int | None, reason: str | None) -> None:
        tell(self._ref, SocketClosed(code, reason))


async def _handled(ref: ActorRef[Any], text: str) -> None:
    try:
        await ref.ask(FrameReceived(text), block=False)
    except Exception:
        log.debug("a frame came for a connection that has ended")


async def _reply(future: pykka.Future[Any]) -> Any:
    return await future
