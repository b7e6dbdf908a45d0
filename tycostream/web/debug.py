"""`/debug/actors`: what every actor does, as JSON and as a page for people."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from typing import Any

from tornado.web import HTTPError

from tycostream.web.base import BaseHandler
from tycostream.web.graphql_handler import is_loopback

ListActors = Callable[[str | None, str | None], Awaitable[Sequence[dict[str, Any]]]]
"""Descriptions of the actors of a kind, or with a urn; None for all."""


class ActorsHandler(BaseHandler):
    """All actors, those of `?kind=`, or the one whose urn is in the path."""

    def initialize(self, actors: ListActors, open_to_all: bool) -> None:
        self._actors = actors
        self._open_to_all = open_to_all

    def prepare(self) -> None:
        # A proxy on this machine passes on the requests of others
        forwarded = any(name in self.request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-Ip"))
        if not self._open_to_all and (forwarded or not is_loopback(self.request.remote_ip)):
            raise HTTPError(
                403, reason="debug pages are for this machine alone; set DEBUG_ACCESS=any to open them to everybody"
            )

    async def get(self, urn: str | None = None) -> None:
        actors = await self._actors(self.get_query_argument("kind", None), urn)
        if urn is not None and not actors:
            raise HTTPError(404, reason="there is no such actor")
        wants_page = "text/html" in self.request.headers.get("Accept", "")
        if self.get_query_argument("format", "html" if wants_page else "json") == "json":
            self.write_json(200, {"actors": list(actors)} if urn is None else actors[0])
        else:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(page(actors))


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; 
         border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.child td:first-child { padding-left: 2rem; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85em; }
.failed, .restarting, .error { color: light-dark(#b00020, #ff8a80); }
.up { opacity: .7; }
"""


def page(actors: Sequence[dict[str, Any]]) -> str:
    """The table as HTML, refreshed every two seconds."""
    rows = "".join(_row(actor) for actor in actors)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<meta http-equiv=refresh content=2><title>tycostream actors</title><style>{_STYLE}</style>"
        "<h1>Actors</h1><p class=up><a href='?format=json'>JSON</a> · <a href='?kind=source'>sources</a> · "
        "<a href='?kind=connection'>connections</a> · <a href='/debug/actors'>all</a></p>"
        "<table><tr><th>Actor<th>State<th>Up<th>Restarts<th>Inbox<th>Handled<th>What it knows</tr>"
        f"{rows}</table></html>"
    )


def _row(actor: dict[str, Any]) -> str:
    child = " class=child" if actor["parent"] else ""
    urn = actor["urn"]
    name = escape(f"{actor['kind']} {actor['name']}")
    link = f"<a href='/debug/actors/{escape(urn, quote=True)}'>{name}</a>" if urn else name
    error = f"<div class=error>{escape(actor['last_error'])}</div>" if actor["last_error"] else ""
    details = escape(json.dumps(actor["details"], indent=1, ensure_ascii=False, default=str))
    return (
        f"<tr{child}><td>{link}{error}<td class='{escape(actor['state'])}'>{escape(actor['state'])}"
        f"<td class=number>{actor['uptime_seconds']:.0f} s<td class=number>{actor['restarts']}"
        f"<td class=number>{actor['inbox_depth']}<td class=number>{actor['messages_handled']}"
        f"<td><details{'' if actor['kind'] == 'connection' else ' open'}><summary>details</summary>"
        f"<pre>{details}</pre></details></tr>"
    )
