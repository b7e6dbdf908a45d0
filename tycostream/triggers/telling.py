"""Which crossings a webhook is told: not while its trigger is disabled, nor sooner than the row's cooldown allows."""

from __future__ import annotations

from tycostream.model import Key
from tycostream.triggers.watches import Crossing, Happening


class Telling:
    """One trigger's state of this. A CLEAR belongs to the FIRE before it: where that was not told, it is not either.

    `cooldown` is the least time between two FIREs of one row that are told, in seconds. Rows whose time is over are
    forgotten at the next FIRE of any row; rows whose FIRE was not told, when they clear.
    """

    def __init__(self, cooldown: float) -> None:
        self.enabled = True
        self._cooldown = cooldown
        self._told: dict[Key, float] = {}
        self._untold: dict[Key, None] = {}

    @property
    def remembered(self) -> int:
        """For how many rows there is something to remember."""
        return len(self._told) + len(self._untold)

    def decide(self, crossing: Crossing, now: float) -> bool:
        """Whether the crossing is told. Asked once of each, in order; `now` is the time of a clock that never goes
        back."""
        key = crossing.key
        if crossing.happening is Happening.CLEAR:
            if key in self._untold:
                del self._untold[key]
                return False
            return self.enabled
        self._forget(now)
        if not self.enabled or key in self._told:
            self._untold[key] = None
            return False
        if self._cooldown:
            self._told[key] = now
        return True

    def _forget(self, now: float) -> None:
        told = self._told  # in the order of time, since a row is not told again before it is forgotten
        while told:
            key = next(iter(told))
            if now - told[key] < self._cooldown:
                return
            del told[key]
