"""How a source's attempts to follow its database go: when the next one is due, and whether those who wait for rows are
told that there will be none soon."""

from __future__ import annotations

import random
from dataclasses import dataclass

CIRCUIT_FAILURES = 5
"""So many failures in a row, without any rows between, open the circuit."""

MENDING = 10.0
"""What somebody has to mend is not mended within a moment, and each attempt may read a whole relation: the first wait
is so many times as long."""


@dataclass(slots=True)
class Attempts:
    """Times in seconds. An open circuit is tried again like any other: it says only that nobody should count on it."""

    least: float
    most: float
    failures: int = 0
    """In a row."""
    permanent: bool = False
    """The last one is not over before somebody has mended something."""

    @property
    def circuit_open(self) -> bool:
        """Whether those who do not want to wait are told that the source is not available."""
        return self.permanent or self.failures >= CIRCUIT_FAILURES

    def failed(self, *, permanent: bool) -> float:
        """One more has failed. Returns how long to wait for the next."""
        self.failures += 1
        self.permanent = permanent
        first = self.least * (MENDING if permanent else 1.0)
        doubled = first * 2.0 ** min(self.failures - 1, 30)
        return min(self.most, doubled) * random.uniform(0.5, 1.0)  # noqa: S311

    def forget(self) -> None:
        """There are rows, or nobody asks for them any more."""
        self.failures = 0
        self.permanent = False
