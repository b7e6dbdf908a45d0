"""The demonstration's own webhook: what triggers tell it becomes a row of `alerts`, which the page sees live."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, connect
from tycostream.databases.driver import DatabaseError
from tycostream.web.base import BaseHandler
from tycostream.web.debug import is_loopback
from tycostream.web.http import error_body

log = logging.getLogger("tycostream.demo")

KINDS = ("FIRE", "CLEAR", "TEST")
KEPT_ALERTS = 500

_INSERT = (
    "INSERT INTO alerts (event_id, kind, trigger_name, symbol, detail) VALUES (%s, %s, %s, %s, %s)"
    " ON CONFLICT (event_id) DO NOTHING"
)
_TRIM = "DELETE FROM alerts WHERE id <= (SELECT id FROM alerts ORDER BY id DESC OFFSET %s LIMIT 1)"


class Alerts:
    """Writes alerts, one after the other, over a connection that is made when the first comes or the last was lost."""

    def __init__(self, parameters: ConnectionParameters) -> None:
        self._parameters = parameters
        self._connection: AsyncConnection | None = None
        self._turn = asyncio.Lock()

    async def keep(self, event: Mapping[str, Any]) -> None:
        """Write one; one that came before changes nothing. Raises DatabaseError."""
        data = event["data"]
        row = (event["event_id"], event["event_type"], event["trigger_name"], data.get("symbol"), json.dumps(data))
        async with self._turn:
            if self._connection is None:
                self._connection = await connect(self._parameters)
            try:
                await self._connection.execute(_INSERT, row)
                await self._connection.execute(_TRIM, (KEPT_ALERTS,))
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class AlertsHandler(BaseHandler):
    """POST of a trigger's event. From this machine alone, or from the one address that the service listens at."""

    max_body_bytes = 65_536

    def initialize(self, alerts: Alerts, host: str) -> None:
        self._alerts = alerts
        self._host = host

    async def post(self) -> None:
        body = self.read_body()
        if body is None:
            return
        address = self.request.remote_ip
        if not is_loopback(address) and address != self._host:
            self.write_json(403, error_body("this webhook is called from this machine alone", "FORBIDDEN"))
            return
        # A page of another site can't send this type without asking first, and nobody says yes
        if self.request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            self.write_json(415, error_body("found another Content-Type, expected application/json", "BAD_REQUEST"))
            return
        event = _read(body)
        if event is None:
            self.write_json(400, error_body("found no event of a trigger", "BAD_REQUEST"))
            return
        try:
            await self._alerts.keep(event)
        except DatabaseError as error:
            log.warning("an alert could not be kept: %s", error)
            self.write_json(503, error_body("the database does not answer; try again", "UNAVAILABLE"))
        else:
            self.write_json(200, {"kept": event["event_id"]})


def _read(body: bytes) -> dict[str, Any] | None:
    """The event, or None where it is none."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("event_type") not in KINDS or not isinstance(event.get("data"), dict):
        return None
    texts = (event.get("event_id"), event.get("trigger_name"), event["data"].get("symbol") or "")
    # PostgreSQL's text and jsonb hold no NUL
    if not all(isinstance(text, str) for text in texts) or b"\\u0000" in body:
        return None
    return event
