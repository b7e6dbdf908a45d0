"""The scripts and style sheets of the pages, read once: what is not in the package can't be asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from tornado.web import HTTPError

from tycostream.web.base import BaseHandler

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""What is served, by the end of its name."""


def read_page(name: str) -> str:
    """The text of a page under `static/`."""
    return resources.files("tycostream.web").joinpath("static", name).read_text(encoding="utf-8")


def read_static() -> dict[str, tuple[str, bytes]]:
    """Content type and content of all that is served, by its path under `static/`."""
    return dict(_files(resources.files("tycostream.web").joinpath("static"), ""))


def _files(folder: Traversable, path: str) -> Iterator[tuple[str, tuple[str, bytes]]]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _files(item, f"{path}{item.name}/")
        elif (kind := TYPES.get(item.name.rpartition(".")[2])) is not None:
            yield path + item.name, (kind, item.read_bytes())


class StaticHandler(BaseHandler):
    """One file. Browsers keep it, and ask each time whether it is still the same: Tornado answers by its ETag."""

    def initialize(self, files: dict[str, tuple[str, bytes]]) -> None:
        self._files = files

    def get(self, path: str) -> None:
        if path not in self._files:
            raise HTTPError(404)
        kind, content = self._files[path]
        self.set_header("Content-Type", kind)
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.finish(content)

    head = get
