"""What is counted of a source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class SourceCounts:
    """Since the source's memory was made, whichever actors have had it: changes of rows that its driver has told, how
    often all rows were read, how often the driver went on without that, and how often it failed. `subscriptions` is how
    many follow now."""

    changes: int = 0
    snapshots: int = 0
    resumptions: int = 0
    failures: int = 0
    subscriptions: int = 0
