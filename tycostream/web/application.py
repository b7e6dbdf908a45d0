"""The web server: which address answers what."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tycostream.graphql import Engine
from tycostream.limits import NearLimits
from tycostream.metrics import ClientCounts
from tycostream.web.accepting import polite
from tycostream.web.admission import Admission
from tycostream.web.base import MAX_HEADER_BYTES, BaseHandler, NotFoundHandler
from tycostream.web.client_address import Network
from tycostream.web.debug import ActorsHandler, ListActors
from tycostream.web.debug_views import ExplainHandler, Explains, ViewsHandler
from tycostream.web.graphql_handler import GraphQLHandler, OpenConnection, SocketRules
from tycostream.web.health import ServiceStatus, health, readiness
from tycostream.web.health_handlers import StatusHandler
from tycostream.web.metrics_handler import CollectMetrics, MetricsHandler
from tycostream.web.page import Page
from tycostream.web.static_files import StaticHandler, read_page, read_static

Route = tuple[str, type[RequestHandler], dict[str, Any]]
"""A path as a regular expression, what answers it, and what its `initialize` is handed."""


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the server behaves; times in seconds, sizes in bytes. `ping` 0 sends none, `max_per_address` 0 is no limit.

    `request_seconds`: how long an HTTP connection may wait for its next request, and how long a body may take.
    """

    ui: bool = False
    origins: frozenset[str] = frozenset()
    max_connections: int = 10_000
    max_per_address: int = 0
    proxies: tuple[Network, ...] = ()
    max_message_bytes: int = 1_048_576
    ping: float = 12.0
    debug_open: bool = False
    request_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers are handed."""

    engine: Engine
    open_connection: OpenConnection
    status: Callable[[], ServiceStatus]
    actors: ListActors
    explains: Explains
    metrics: CollectMetrics
    counts: ClientCounts = field(default_factory=ClientCounts)
    near: NearLimits = field(default_factory=NearLimits)


class PageHandler(BaseHandler):
    """The console: a page in which a person sees the service at work, queries and subscribes."""

    def initialize(self, page: Page) -> None:
        self._page = page

    def get(self) -> None:
        self.write_page(self._page)

    head = get


def make_application(services: Services, config: WebConfig, more: Sequence[Route] = ()) -> Application:
    """All routes, and `more` of whoever runs a service for a purpose of its own."""
    page = Page(read_page("console/index.html"), served=True) if config.ui else None
    admission = Admission(config.max_connections, config.max_per_address, config.proxies, services.near)
    graphql = {
        "engine": services.engine,
        "rules": SocketRules(config.origins, admission, config.debug_open),
        "open_connection": services.open_connection,
        "page": page,
        "max_body": config.max_message_bytes,
    }
    actors = {"actors": services.actors, "open_to_all": config.debug_open}
    views = {"explains": services.explains, "open_to_all": config.debug_open}
    explain = views | {"engine": services.engine, "max_body": config.max_message_bytes}
    routes: list[Route] = [
        ("/graphql", GraphQLHandler, graphql),
        ("/health", StatusHandler, {"status": services.status, "judge": health}),
        ("/ready", StatusHandler, {"status": services.status, "judge": readiness}),
        ("/metrics", MetricsHandler, {"metrics": services.metrics}),
        ("/debug/actors", ActorsHandler, actors),
        ("/debug/actors/(.+)", ActorsHandler, actors),
        ("/debug/views", ViewsHandler, views),
        ("/debug/explain", ExplainHandler, explain),
    ]
    if page is not None:
        routes += [("/", PageHandler, {"page": page}), ("/static/(.+)", StaticHandler, {"files": read_static()})]
    return Application(
        [*routes, *more],
        default_handler_class=NotFoundHandler,
        websocket_max_message_size=config.max_message_bytes,
        websocket_ping_interval=config.ping or None,
        websocket_ping_timeout=config.ping or None,
        client_counts=services.counts,
    )


def listen(
    application: Application, config: WebConfig, port: int, host: str, *, shared: bool = False
) -> tuple[HTTPServer, int]:
    """Serve on a port (0: any free one) and say which; `shared` with other processes that do the same. Raises OSError
    where it is taken."""
    bound = bind_sockets(port, address=host or None, backlog=4096, reuse_port=shared)
    sockets = [polite(one) for one in bound]
    server = HTTPServer(
        application,
        max_body_size=sys.maxsize,  # the handlers bound what they keep: see BaseHandler
        max_header_size=4 * MAX_HEADER_BYTES,  # far enough beyond to answer most who send too much; others are cut off
        idle_connection_timeout=config.request_seconds,
        body_timeout=config.request_seconds,
    )
    server.add_sockets(sockets)
    return server, int(sockets[0].getsockname()[1])
