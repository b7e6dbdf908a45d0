"""Warnings that a limit is nearly reached: for each limit at most one a minute, however many clients are near it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("tycostream.limits")

NEAR = 0.8
"""The share of a limit from which on it is nearly reached."""

WARNING_SECONDS = 60.0


class NearLimits:
    """See the module. One for the whole process; limits are known by the name of their variable."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[str, bool], float] = {}
        self._unsaid: dict[tuple[str, bool], int] = {}

    def note(self, name: str, used: float, limit: float, who: str = "") -> None:
        """So much of a limit is used, by `who` where it is one client's. A limit of 0 is none."""
        if not limit or used < limit * NEAR:
            return
        key = name, used >= limit  # that it is reached is said also where it was said to be near
        now = self._clock()
        unsaid = self._unsaid.get(key, 0)
        if now - self._last.get(key, -WARNING_SECONDS) < WARNING_SECONDS:
            self._unsaid[key] = unsaid + 1
            return
        self._last[key] = now
        self._unsaid[key] = 0
        log.warning(
            "%s is %s: %d of %d%s%s",
            name,
            "reached" if used >= limit else "nearly reached",
            used,
            limit,
            f" by {who}" if who else "",
            f" ({unsaid} more times since this was last said)" if unsaid else "",
        )
