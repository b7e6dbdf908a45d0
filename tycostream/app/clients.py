"""Clients: the web server, and the connections that it opens."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_network
from itertools import count
from typing import Any

from pykka import ActorRef
from tornado.httpserver import HTTPServer

from actors.connection import ConnectionActor, FrameReceived, SocketClosed, SocketDrained
from actors.connection_limits import ConnectionConfig, SharedLimits
from actors.drain import drain
from actors.explaining import Explainer
from actors.runtime import loop_actor, tell
from actors.supervisor import Adopt
from tycostream.graphql import Engine
from tycostream.limits import Backlog, NearLimits
from tycostream.metrics import ClientCounts, Sample, sample
from tycostream.settings import Settings
from tycostream.views.pace import SlowPolicy
from tycostream.web.application import Route, Services, WebConfig, listen, make_application
from tycostream.web.close_codes import CloseCode
from tycostream.web.debug import ListActors
from tycostream.web.graphql_handler import Inbox
from tycostream.web.health import ServiceStatus
from tycostream.web.metrics_handler import CollectMetrics
from tycostream.web.transport import ConnectionInfo, SocketTransport

log = logging.getLogger("tycostream")

INBOX_FRAMES = 64
"""Frames of one client that wait for its actor before no more are read from its socket."""

RESTARTING = "the service is being restarted"


class Clients:
    """See the module. `directory` has the connections' actors, once the supervisor has adopted them."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        directory: dict[tuple[str, str], ActorRef[Any]],
        status: Callable[[], ServiceStatus],
        actors: ListActors,
        metrics: CollectMetrics,
        counts: ClientCounts,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._directory = directory
        self._status = status
        self._actors = actors
        self._metrics = metrics
        self._numbers = count(1)
        self._supervisor: ActorRef[Any] | None = None
        self._server: HTTPServer | None = None
        near = NearLimits()
        self._counts = counts
        self._shared = SharedLimits(near, Backlog(settings.limits.max_total_pending_bytes, near), counts)

    def listen(self, supervisor: ActorRef[Any], routes: Sequence[Route] = (), *, shared: bool = False) -> int:
        """Serve clients from now on; the port, which may be `shared` with other processes. `routes` are answered beside
        the service's own. Raises OSError."""
        self._supervisor = supervisor
        service, limits = self._settings.service, self._settings.limits
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
        services = Services(
            self._engine,
            self._open_connection,
            self._status,
            self._actors,
            Explainer(self._directory),
            self._metrics,
            self._counts,
        )
        application = make_application(services, config, routes)
        self._server, port = listen(application, config, service.port, service.host, shared=shared)
        return port

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        yield from self._counts.samples()
        yield sample("tycostream_connections_limit", self._settings.limits.max_connections)
        yield sample("tycostream_connection_waiting_bytes", self._shared.backlog.total)
        yield sample("tycostream_connection_waiting_limit_bytes", self._shared.backlog.limit)

    def close_door(self) -> None:
        """Let nobody in any more."""
        if self._server is not None:
            self._server.stop()

    async def send_away(self, within: float, *, restart: bool) -> None:
        """Close every connection, evenly over this time at most; the service is being stopped, or restarted."""
        code, reason = (CloseCode.SERVICE_RESTART, RESTARTING) if restart else (CloseCode.GOING_AWAY, None)
        clients = [ref for (kind, _name), ref in self._directory.items() if kind == "connection"]
        await drain(clients, code, reason or code.reason, within)

    async def close(self) -> None:
        """The end, for those as well who are being answered over HTTP."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.close_all_connections()

    def _open_connection(self, transport: SocketTransport, info: ConnectionInfo) -> Inbox:
        limits = self._settings.limits
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
            tell(self._supervisor, Adopt("connection", f"{next(self._numbers)}", ref))
        return _ConnectionInbox(ref)


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
