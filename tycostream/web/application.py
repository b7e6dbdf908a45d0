"""The web server: which address answers what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from tycostream.graphql import Engine
from tycostream.web.base import BaseHandler, NotFoundHandler
from tycostream.web.debug import ActorsHandler, ListActors
from tycostream.web.graphql_handler import GraphQLHandler, OpenConnection, SocketRules
from tycostream.web.health import ServiceStatus
from tycostream.web.health_handlers import HealthHandler, ReadyHandler


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How the server behaves; times in seconds, sizes in bytes. `ping` 0 sends none."""

    ui: bool = False
    origins: frozenset[str] = frozenset()
    max_connections: int = 10_000
    max_message_bytes: int = 1_048_576
    ping: float = 12.0
    debug_open: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers are handed."""

    engine: Engine
    open_connection: OpenConnection
    status: Callable[[], ServiceStatus]
    actors: ListActors


class PageHandler(BaseHandler):
    """The page in which a person can query and subscribe."""

    def initialize(self, page: bytes) -> None:
        self._page = page

    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(self._page)


def make_application(services: Services, config: WebConfig) -> Application:
    """All routes."""
    page = resources.files("tycostream.web").joinpath("static/query.html").read_bytes() if config.ui else None
    graphql = {
        "engine": services.engine,
        "rules": SocketRules(config.origins, config.max_connections),
        "open_connection": services.open_connection,
        "page": page,
    }
    actors = {"actors": services.actors, "open_to_all": config.debug_open}
    routes = [
        ("/graphql", GraphQLHandler, graphql),
        ("/health", HealthHandler, {"status": services.status}),
        ("/ready", ReadyHandler, {"status": services.status}),
        ("/debug/actors", ActorsHandler, actors),
        ("/debug/actors/(.+)", ActorsHandler, actors),
    ]
    if page is not None:
        routes.append(("/", PageHandler, {"page": page}))
    return Application(
        routes,  # type: ignore[arg-type]
        default_handler_class=NotFoundHandler,
        websocket_max_message_size=config.max_message_bytes,
        websocket_ping_interval=config.ping or None,
        websocket_ping_timeout=config.ping or None,
    )


def listen(application: Application, config: WebConfig, port: int, host: str) -> tuple[HTTPServer, int]:
    """Serve on a port (0: any free one) and say which. Raises OSError where it is taken."""
    sockets = bind_sockets(port, address=host or None, backlog=1024)
    server = HTTPServer(application, max_body_size=config.max_message_bytes, max_header_size=65536)
    server.add_sockets(sockets)
    return server, int(sockets[0].getsockname()[1])
