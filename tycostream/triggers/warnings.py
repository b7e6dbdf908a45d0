"""Warnings that may come a thousand times a second are logged once a while, with how many there were."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("tycostream.triggers")

MOST_PLACES = 1024


class Warnings:
    """Logs a warning of a kind about an endpoint at most every `interval` seconds. Text never holds a URL's path or
    query."""

    def __init__(self, time: Callable[[], float], interval: float = 60.0) -> None:
        self._time = time
        self._interval = interval
        self._last: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def warn(self, endpoint: str, kind: str, detail: str = "") -> None:
        """Say that this happened (again)."""
        key = endpoint, kind
        now = self._time()
        unsaid = self._unsaid.get(key, 0)
        if now - self._last.get(key, -self._interval) < self._interval:
            self._unsaid[key] = unsaid + 1
            return
        if len(self._last) >= MOST_PLACES:
            self._last.clear()
            self._unsaid.clear()
        self._last[key] = now
        self._unsaid[key] = 0
        since = f" ({unsaid} more since this was last said)" if unsaid else ""
        log.warning("Webhooks of %s: %s%s%s", endpoint, kind, f": {detail}" if detail else "", since)
