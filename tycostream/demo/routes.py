"""What the demonstration adds to the web server: its page, the page's files, and its webhook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources

from tornado.http1connection import HTTP1Connection

from tycostream.demo.receiver import Alerts, AlertsHandler
from tycostream.web.application import PageHandler, Route
from tycostream.web.base import BaseHandler
from tycostream.web.page import Page
from tycostream.web.static_files import TYPES, StaticHandler

PAGE_PATH = "/demo"
ALERTS_PATH = "/demo/alerts"
ABOUT_PATH = "/demo/about"


def own_address(host: str, port: int) -> str:
    """Where this machine reaches the service; `host` is where it listens, empty for everywhere."""
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # none is bound here
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"


class AboutHandler(BaseHandler):
    """What the page has to know: the webhook's address, and how large the market is."""

    def initialize(self, host: str, about: Mapping[str, float]) -> None:
        self._host = host
        self._about = about

    def get(self) -> None:
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        port = connection.stream.socket.getsockname()[1]
        self.set_header("Cache-Control", "no-store")
        self.write_json(200, {"webhook": own_address(self._host, port) + ALERTS_PATH, **self._about})

    head = get


def make_routes(alerts: Alerts, host: str, about: Mapping[str, float]) -> Sequence[Route]:
    """The routes; `host` is where the service listens, empty for everywhere. `about` is told to the page."""
    folder = resources.files("tycostream.demo").joinpath("page")
    files = {
        item.name: (TYPES[ending], item.read_bytes())
        for item in folder.iterdir()
        if (ending := item.name.rpartition(".")[2]) in TYPES
    }
    page = Page(folder.joinpath("index.html").read_text(encoding="utf-8"), served=True)
    return [
        (PAGE_PATH, PageHandler, {"page": page}),
        (ALERTS_PATH, AlertsHandler, {"alerts": alerts, "host": host}),
        (ABOUT_PATH, AboutHandler, {"host": host, "about": about}),
        (f"{PAGE_PATH}/(.+)", StaticHandler, {"files": files}),
    ]
