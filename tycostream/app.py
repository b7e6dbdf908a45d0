"""The composition root: the one place that knows everything. It builds settings -> actors -> web server, and takes them
down in the opposite order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pykka
from pykka import ActorRef
from tornado.httpserver import HTTPServer

from actors.connection import ConnectionActor, FrameReceived, SocketClosed, SocketDrained
from actors.connection_limits import ConnectionConfig, SharedLimits
from actors.feed import FeedActor, FeedHandle
from actors.runtime import Dispatcher, loop_actor, stop_actor, tell
from actors.source import SourceActor, SourceConfig
from actors.source_memory import SourceMemory
from actors.source_messages import ReadRows, SourceUnavailableError
from actors.supervisor import Adopt, ListActors, Restart, SourceBoard, StartChild, StopChildren, Supervisor
from actors.triggers import RegistryConfig, TriggerRegistry
from tycostream import model
from tycostream.databases.connection import SESSION_OPTIONS, AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError, Driver
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.databases.hosts import Address, Hosts
from tycostream.databases.materialize import MaterializeDriver, session_options
from tycostream.databases.postgres import Intervals, PostgresDriver
from tycostream.filters import Filter, KeyLookup
from tycostream.graphql import Engine, Limits, UnavailableError
from tycostream.limits import Backlog, NearLimits
from tycostream.logs import configure_logging
from tycostream.model import Catalog, Row
from tycostream.settings import Problem, Settings, SettingsError
from tycostream.triggers import Courier, CourierConfig, Patience, Schedule, TargetPolicy
from tycostream.views import RowCache
from tycostream.views.pace import SlowPolicy
from tycostream.web.application import Services, WebConfig, listen, make_application
from tycostream.web.graphql_handler import Inbox
from tycostream.web.health import ServiceStatus, SourceStatus
from tycostream.web.transport import ConnectionInfo, SocketTransport

log = logging.getLogger("tycostream")

STOP_ORDER = ("connection", "trigger", "source", "feed")
FEED = "postgres"
INBOX_FRAMES = 64
"""Frames of one client that wait for its actor before no more are read from its socket."""

SUPPORTED = ("materialize", "postgres", "embedded")

MakeDriver = Callable[[model.Source], Driver]

Companion = Callable[["Service"], Coroutine[Any, Any, None]]
"""What runs beside a service from when it has started until it is stopped."""


class Service:
    """A running tycostream: `start`, then `stop`. `port` is where it listens, `database` what it follows."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        require_supported(settings)
        self.settings = settings
        self.catalog = catalog
        self.port = 0
        self.database: ConnectionParameters | None = None
        self._directory: dict[tuple[str, str], ActorRef[Any]] = {}
        self._board = SourceBoard()
        self._connections = count(1)
        self._embedded: EmbeddedPostgres | None = None
        self._supervisor: ActorRef[Any] | None = None
        self._courier: Courier | None = None
        self._server: HTTPServer | None = None
        self._stopping = False
        limits, webhooks = settings.limits, settings.webhooks
        self._policy = TargetPolicy(webhooks.allow, webhooks.deny)
        near = NearLimits()
        self._shared = SharedLimits(near, Backlog(limits.max_total_pending_bytes, near))
        wait = settings.sources.query_timeout_seconds
        self._triggers = TriggerRegistry(RegistryConfig(self._policy, limits.max_triggers, wait), self._directory)
        bounds = Limits(tokens=limits.max_tokens, depth=limits.max_depth, aliases=limits.max_aliases)
        self._engine = Engine(catalog, bounds, self, self._triggers)

    # Life

    async def start(self) -> None:
        """Start the embedded database if it is wanted, the actors, the web server. Raises DatabaseError, OSError."""
        try:
            self._supervisor = Supervisor.start(self._board, self._directory)
            self._courier = Courier(courier_config(self.settings, self._policy))
            self._triggers.open(self._supervisor, self._courier)
            await self._start_sources(await self._start_database())
            self._listen()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Tell every client, close every cursor, deliver what waits, and end. Takes SHUTDOWN_SECONDS at most."""
        self._stopping = True
        if self._server is not None:
            self._server.stop()
        within = self.settings.limits.shutdown_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        if self._supervisor is not None:
            supervisor, self._supervisor = self._supervisor, None
            try:
                await asyncio.wait_for(_reply(supervisor.ask(StopChildren(STOP_ORDER), block=False)), within)
            except TimeoutError:
                log.error("not everything stopped within %g s", within)
            await stop_actor(supervisor)
        if self._courier is not None:
            await self._courier.close(max(0.0, deadline - loop.time()))
            self._courier = None
        await Dispatcher.current().finish_tasks(within=within)
        if self._server is not None:
            await self._server.close_all_connections()
            self._server = None
        if self._embedded is not None:
            await self._embedded.stop()
            self._embedded = None

    async def _database(self) -> ConnectionParameters:
        database = self.settings.database
        if database.type == "embedded":
            self._embedded = embedded_database(self.settings)
            return await self._embedded.start()
        return connection_parameters(self.settings)

    async def _start_database(self) -> MakeDriver:
        """Start what all sources share; the result makes a driver for one of them."""
        parameters = self.database = await self._database()
        if self.settings.database.type == "materialize":
            return lambda source: MaterializeDriver(source, parameters, self.settings.sources.silence_seconds)
        sources = self.settings.sources

        def make_feed(_supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return FeedActor.start(parameters, sources.slot_timeout_seconds)

        await self._start_child(StartChild("feed", FEED, make_feed, Restart()))
        feed = FeedHandle(self._directory, FEED)
        intervals = Intervals(poll=sources.poll_interval_ms / 1000, view=sources.view_interval_ms / 1000)

        def make_driver(source: model.Source) -> Driver:
            return PostgresDriver(source, parameters, feed, intervals, sources.slot_timeout_seconds)

        return make_driver

    async def _start_sources(self, make_driver: MakeDriver) -> None:
        sources = self.settings.sources
        config = SourceConfig(
            eager=sources.start == "eager",
            linger=sources.linger_seconds,
            retry_min=sources.reconnect_min_ms / 1000,
            retry_max=sources.reconnect_max_ms / 1000,
        )

        for source in self.catalog.sources.values():
            memory = SourceMemory(RowCache(source))

            def make_source(
                supervisor: ActorRef[Any], source: model.Source = source, memory: SourceMemory = memory
            ) -> ActorRef[Any]:
                return SourceActor.start(source, make_driver, config, memory, supervisor)

            await self._start_child(StartChild("source", source.name, make_source, Restart()))

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
        services = Services(self._engine, self._open_connection, self.status, self.actors, self._shared.near)
        self._server, self.port = listen(make_application(services, config), config, service.port, service.host)

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
        return ServiceStatus(ready=not self._stopping, sources=sources)

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
        if source is None:
            raise UnavailableError(f"source {name} is being restarted; ask again")
        within = self.settings.sources.query_timeout_seconds
        try:
            found: list[Row] = await source.ask(ReadRows(condition, within, lookup), block=False)
        except SourceUnavailableError as error:
            raise UnavailableError(str(error)) from None
        except pykka.ActorDeadError:
            raise UnavailableError(f"source {name} is being restarted; ask again") from None
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


def require_supported(settings: Settings) -> None:
    """Raises SettingsError for a kind of database that there is no driver for."""
    if settings.database.type not in SUPPORTED:
        message = f"{settings.database.type} is not supported yet; {' and '.join(SUPPORTED)} are"
        raise SettingsError([Problem("DATABASE_TYPE", message)])


def connection_parameters(settings: Settings) -> ConnectionParameters:
    """How to reach the database that the settings name; of no meaning for the embedded one."""
    database = settings.database
    options = session_options(database.cluster) if database.type == "materialize" else SESSION_OPTIONS
    addresses = [Address(*address) for address in database.addresses]
    hosts = Hosts(addresses) if len(addresses) > 1 else None
    host, port = addresses[0].host, addresses[0].port
    return ConnectionParameters(host, port, database.user, database.password, database.name, options, hosts)


def courier_config(settings: Settings, policy: TargetPolicy) -> CourierConfig:
    """How webhooks are called."""
    hooks = settings.webhooks
    return CourierConfig(
        policy=policy,
        patience=Patience(connect=hooks.connect_seconds, request=hooks.timeout_seconds),
        schedule=Schedule(
            attempts=hooks.attempts,
            least=hooks.retry_min_ms / 1000,
            most=hooks.retry_max_ms / 1000,
            max_age=hooks.max_age_seconds,
        ),
        concurrency=hooks.concurrency,
        concurrency_per_endpoint=hooks.concurrency_per_endpoint,
        queue=hooks.queue,
        queue_per_endpoint=hooks.queue_per_endpoint,
    )


def embedded_database(settings: Settings) -> EmbeddedPostgres:
    """The embedded database that the settings describe. Raises DatabaseError where its initial SQL can't be read."""
    init = settings.database.embedded_init
    try:
        init_sql = Path(init).read_text(encoding="utf-8") if init is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise DatabaseError(f"EMBEDDED_INIT: {init} can't be read: {error}", permanent=True) from None
    return EmbeddedPostgres(settings.database.embedded_path, init_sql)


@asynccontextmanager
async def database_connection(settings: Settings) -> AsyncIterator[AsyncConnection]:
    """A connection to the database that the settings name; the embedded one runs for so long.

    Raises SettingsError for a kind that there is no driver for, and DatabaseError.
    """
    require_supported(settings)
    embedded = embedded_database(settings) if settings.database.type == "embedded" else None
    try:
        parameters = await embedded.start() if embedded is not None else connection_parameters(settings)
        async with opened(parameters) as connection:
            yield connection
    finally:
        if embedded is not None:
            await embedded.stop()


def tune_collector() -> None:
    """Keep the garbage collector from stopping the loop.

    Rows are tuples of text, which it does not track; what is there at start stays for ever. With the default thresholds
    a service that caches 300,000 rows had pauses of 15 ms at the 99th percentile, with these about 1 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


async def serve(
    settings: Settings, catalog: Catalog, *, started: Callable[[Service], Awaitable[None]] | None = None
) -> int:
    """Serve until SIGINT or SIGTERM. Returns the process's exit code. `started` runs beside the service."""
    configure_logging(settings.service.log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    service = Service(settings, catalog)
    try:
        await service.start()
    except DatabaseError as error:
        log.error("can't start: %s%s", error, f" ({error.hint})" if error.hint else "")
        return 1
    except OSError as error:
        log.error("can't listen on port %d: %s", settings.service.port, error.strerror or error)
        return 1
    tune_collector()
    log.info("serving %s at http://localhost:%d/graphql", ", ".join(catalog.sources), service.port)
    companion = asyncio.ensure_future(started(service)) if started is not None else None
    await stop.wait()
    log.info("stopping")
    if companion is not None:
        companion.cancel()
        await asyncio.gather(companion, return_exceptions=True)
    await service.stop()
    return 0
