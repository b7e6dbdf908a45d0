"""Changes that are gathered for a while before they are told: once for all of the same view, selection and rhythm.

Windows end at the multiples of their length, on the clock of the process, so that all of one rhythm end together: their
source needs one timer, however many subscriptions there are, and a client with several of them gets one send.
"""

from __future__ import annotations

import math
import time

from tycostream.views.applying import ViewChange
from tycostream.views.outbox import Merged
from tycostream.views.pace import Rhythm

GRID_SECONDS = 0.005
"""Windows of odd lengths end together too: no timer is finer than this."""


def window_end(wait: float, now: float) -> float:
    """When the window that `now` lies in ends. One without a length ends at once: with the transaction."""
    if not wait:
        return now
    end = (math.floor(now / wait) + 1) * wait
    return math.ceil(end / GRID_SECONDS) * GRID_SECONDS


class Window:
    """What is gathered for one group. `due` is when it has to be told, on the clock of time.monotonic."""

    __slots__ = ("_changes", "_merged", "_rhythm", "due")

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._changes: list[ViewChange] = []
        self._merged = Merged()
        self.due = math.inf

    def add(self, changes: list[ViewChange]) -> None:
        """Later changes, of which none is told before `take`."""
        now = time.monotonic()
        if self.due == math.inf:
            self.due = window_end(self._rhythm.wait, now)
        if not self._rhythm.rows:
            self._merged.add(changes)
            return
        self._changes += changes
        if len(self._changes) >= self._rhythm.rows:
            self.due = now

    def take(self) -> list[ViewChange]:
        """What has been gathered. May be nothing: a row that came and went."""
        self.due = math.inf
        changes, self._changes = self._changes, []
        merged, self._merged = self._merged, Merged()
        return changes or list(merged.settled())
