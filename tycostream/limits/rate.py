"""How many operations a client may start: a token bucket, and a second one for those that were refused."""

from __future__ import annotations

import enum
import math


class Verdict(enum.Enum):
    """What becomes of an operation that a client wants to start."""

    ADMITTED = "it is carried out"
    REFUSED = "it gets an error"
    FLOOD = "so many have been refused that the client is not to be answered any more"


class Bucket:
    """Holds `burst` tokens at most, and gets `rate` a second."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float) -> bool:
        """Take a token; returns whether there was one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    @property
    def taken(self) -> float:
        """Tokens that were missing when one was last taken."""
        return self._burst - self._tokens


class OperationRate:
    """Judges one client's operations; times in seconds of one clock. It admits `burst` at once and `rate` a second in
    the long run. As many more are refused, one by one; beyond those it is a flood."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self._admitted = Bucket(rate, burst, now)
        self._refused = Bucket(rate, burst, now)

    def judge(self, now: float) -> Verdict:
        """The client wants to start an operation."""
        if self._admitted.take(now):
            return Verdict.ADMITTED
        return Verdict.REFUSED if self._refused.take(now) else Verdict.FLOOD

    @property
    def used(self) -> int:
        """How much of the burst is used, rounded up."""
        return math.ceil(self._admitted.taken)
