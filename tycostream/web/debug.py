"""`/debug/actors`: what every actor does, as JSON and as a page for people."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from tornado.httputil import HTTPServerRequest

from tycostream.errors import known
from tycostream.web.base import NOT_FOUND, BaseHandler
from tycostream.web.http import error_body
from tycostream.web.page import Page

ListActors = Callable[[str | None, str | None], Awaitable[Sequence[dict[str, Any]]]]
"""Descriptions of the actors of a kind, or with a urn; None for all."""

FORBIDDEN = known("FORBIDDEN")

NOT_LOCAL = "debug pages are for this machine alone; set DEBUG_ACCESS=any to open them to everybody"
"""Told to others, also where they want to know elsewhere what the pages show."""

PAGE_ACTORS = 500
"""Actors on one page; JSON has them all."""


class DebugHandler(BaseHandler):
    """What is for this machine alone, or for all."""

    _open_to_all = False

    def prepare(self) -> None:
        super().prepare()
        if not self._open_to_all and not is_local(self.request):
            self.write_json(403, error_body(NOT_LOCAL, FORBIDDEN))

    def wants_page(self) -> bool:
        """Whether the answer is for people. It is not to be kept in any case."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Accept")
        page = "text/html" in self.request.headers.get("Accept", "")
        return self.get_query_argument("format", "html" if page else "json") != "json"


class ActorsHandler(DebugHandler):
    """All actors, those of `?kind=`, or the one whose urn is in the path."""

    def initialize(self, actors: ListActors, open_to_all: bool) -> None:
        self._actors = actors
        self._open_to_all = open_to_all

    async def get(self, urn: str | None = None) -> None:
        actors = await self._actors(self.get_query_argument("kind", None), urn)
        wants_page = self.wants_page()
        if urn is not None and not actors:
            self.write_json(404, error_body("there is no such actor", NOT_FOUND))
        elif not wants_page:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.finish(json.dumps({"actors": list(actors)} if urn is None else actors[0], default=str).encode())
        else:
            self.write_page(page(actors, self.get_query_argument("refresh", "")))


def is_local(request: HTTPServerRequest) -> bool:
    """Whether somebody on this machine asks."""
    # A proxy on this machine passes on the requests of others
    forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-Ip"))
    return not forwarded and is_loopback(request.remote_ip)


def is_loopback(address: str | None) -> bool:
    """Whether an address is this machine's own."""
    try:
        parsed = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }
nav { opacity: .8; margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.child td:first-child { padding-left: 2rem; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85em; }
.failed, .restarting, .error { color: light-dark(#b00020, #ff8a80); }
"""  # noqa: E501

_LINKS = (
    ("/debug/actors", "all"),
    ("/debug/actors?kind=source", "sources"),
    ("/debug/actors?kind=connection", "connections"),
    ("/debug/views", "views"),
    ("/metrics", "metrics"),
    ("?format=json", "JSON"),
    ("?refresh=2", "refresh every 2 s"),
)


def page(actors: Sequence[dict[str, Any]], refresh: str = "") -> Page:
    """The actors as a table, children under their parents; reloaded every `refresh` seconds where that is a number."""
    ordered = _by_parent(actors)
    links = " · ".join(f'<a href="{escape(address)}">{text}</a>' for address, text in _LINKS)
    again = f'<meta http-equiv="refresh" content="{int(refresh)}">' if refresh.isdecimal() and len(refresh) < 5 else ""
    more = len(ordered) - PAGE_ACTORS
    note = f"<p>{more} more are in the JSON.</p>" if more > 0 else ""
    return Page(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,">{again}<title>tycostream actors</title><style>{STYLE}</style>'
        f"<h1>Actors</h1><nav>{links}</nav>"
        "<table><thead><tr><th>Actor<th>State<th>Up<th>Restarts<th>Inbox<th>Handled<th>What it knows</thead>"
        f"<tbody>{''.join(_row(actor, depth) for actor, depth in ordered[:PAGE_ACTORS])}</tbody></table>{note}</html>"
    )


def _by_parent(actors: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Every actor after its parent, with 1 for those whose parent is listed: the supervisor is the parent of all."""
    urns = {actor["urn"] for actor in actors if actor["urn"] is not None}
    children: dict[str, list[dict[str, Any]]] = {}
    for actor in actors:
        if actor["parent"] in urns:
            children.setdefault(actor["parent"], []).append(actor)
    ordered = []
    for actor in actors:
        if actor["parent"] not in urns:
            ordered.append((actor, 0))
            ordered += [(child, 1) for child in children.get(actor["urn"], ())]
    return ordered


def _row(actor: dict[str, Any], depth: int) -> str:
    name, state = escape(f"{actor['kind']} {actor['name']}"), escape(actor["state"])
    process = f"<br><small>{escape(actor['process'])}</small>" if actor.get("process") else ""
    if actor["urn"]:
        name = f'<a href="/debug/actors/{quote(actor["urn"], safe=":")}">{name}</a>'
    error = f'<div class="error">{escape(actor["last_error"])}</div>' if actor["last_error"] else ""
    details = escape(json.dumps(actor["details"], indent=1, ensure_ascii=False, default=str))
    shut = "" if actor["kind"] == "connection" else " open"
    return (
        f'<tr{" class=child" if depth else ""}><td>{name}{process}{error}<td class="{state}">{state}'
        f'<td class="number">{actor["uptime_seconds"]:.0f} s<td class="number">{actor["restarts"]}'
        f'<td class="number">{actor["inbox_depth"]}<td class="number">{actor["messages_handled"]}'
        f"<td><details{shut}><summary>details</summary><pre>{details}</pre></details></tr>"
    )
