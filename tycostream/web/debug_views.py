"""`/debug/views` and `/debug/explain`: how a source finds the views that a change concerns, and what that has cost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any, Protocol

from tycostream.errors import known
from tycostream.graphql import Engine, RequestError, SubscriptionPlan
from tycostream.web.base import NOT_FOUND
from tycostream.web.debug import STYLE, DebugHandler
from tycostream.web.http import BAD_REQUEST, HttpError, error_body, request_of_arguments, request_of_body
from tycostream.web.page import Page

NOT_A_SUBSCRIPTION = known("BAD_USER_INPUT")


class Explains(Protocol):
    """Who knows how views are found."""

    async def views(self, source: str | None) -> Mapping[str, Mapping[str, Any]]:
        """Of every source, or of one: `views` and how many there are `more`, or an `error`."""

    async def subscription(self, plan: SubscriptionPlan) -> Mapping[str, Any]:
        """How the view of a subscription is found, or would be; or an `error`."""


class ViewsHandler(DebugHandler):
    """The views of all sources, or of `?source=`."""

    def initialize(self, explains: Explains, open_to_all: bool) -> None:
        self._explains = explains
        self._open_to_all = open_to_all

    async def get(self) -> None:
        name = self.get_query_argument("source", None)
        sources = await self._explains.views(name)
        if name is not None and not sources:
            self.write_json(404, error_body("there is no such source", NOT_FOUND))
        elif self.wants_page():
            self.write_page(page(sources))
        else:
            self.write_json(200, {"sources": sources})


class ExplainHandler(DebugHandler):
    """One subscription, which is given as to /graphql: in the address or in a POST's body. It is not started."""

    def initialize(self, engine: Engine, explains: Explains, open_to_all: bool, max_body: int) -> None:
        self._engine = engine
        self._explains = explains
        self._open_to_all = open_to_all
        self.max_body_bytes = max_body

    async def get(self) -> None:
        await self._explain(None)

    async def post(self) -> None:
        body = self.read_body()
        if body is not None:
            await self._explain(body)

    async def _explain(self, body: bytes | None) -> None:
        self.set_header("Cache-Control", "no-store")
        try:
            if body is None:
                request = request_of_arguments(self.request.query_arguments)
            else:
                request = request_of_body(self.request.headers.get("Content-Type", ""), body)
            plan = self._engine.prepare(request.query, request.operation_name, request.variables)
        except HttpError as error:
            self.write_json(error.status, error_body(str(error), BAD_REQUEST))
            return
        except RequestError as error:
            self.write_json(400, {"errors": error.errors})
            return
        if not isinstance(plan, SubscriptionPlan):
            hint = "only subscriptions are explained: subscription { trades(where: ...) { ... } }"
            self.write_json(400, error_body(hint, NOT_A_SUBSCRIPTION))
            return
        self.write_json(200, await self._explains.subscription(plan))


_COLUMNS = ("index", "subscriptions", "selections", "evaluated", "matched")


def page(sources: Mapping[str, Mapping[str, Any]]) -> Page:
    """The views as a table for each source."""
    tables = "".join(_table(name, told) for name, told in sources.items())
    return Page(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><title>tycostream views</title><style>{STYLE}</style>'
        '<h1>Views</h1><nav><a href="/debug/actors">actors</a> · <a href="?format=json">JSON</a></nav>'
        f"{tables}</html>"
    )


def _table(name: str, told: Mapping[str, Any]) -> str:
    head = f"<h2>{escape(name)}</h2>"
    if "error" in told:
        return f'{head}<p class="error">{escape(told["error"])}</p>'
    more = f"<p>and {told['more']:,} more</p>" if told["more"] else ""
    titles = "".join(f"<th>{title}" for title in ("filter", *_COLUMNS))
    return f"{head}<table><thead><tr>{titles}</thead><tbody>{''.join(map(_row, told['views']))}</tbody></table>{more}"


def _row(view: Mapping[str, Any]) -> str:
    filtered = view["filter"]
    if view["rules"] is not None:
        filtered += f"\nrules: {json.dumps(view['rules'], ensure_ascii=False)}"
    cells = "".join(
        f"<td>{escape(view[name])}" if name == "index" else f'<td class="number">{view[name]:,}' for name in _COLUMNS
    )
    return f"<tr><td><pre>{escape(filtered)}</pre>{cells}</tr>"
