"""How a subscription is told of changes: in which rhythm, and what becomes of them while its client is slow."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class SlowPolicy(enum.Enum):
    """What becomes of changes that wait for a client that reads more slowly than they come. The values are sentences
    for clients."""

    CONFLATE = (
        "Changes of the same row are merged: the client sees fewer, larger transactions and ends in the right state."
    )
    DROP_OLDEST = (
        "The oldest transactions are dropped, whole ones, and the next update tells in `extensions.dropped` how many "
        "changes that were: the client sees every step of what is recent, and may have rows that are not so any more."
    )
    DISCONNECT = "The connection is closed with 1013: the client sees every step or none."


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Changes are gathered for `wait` seconds at most and then told together.

    `rows` 0: those of the same row are merged meanwhile. Otherwise each is told, in messages of so many at most, and so
    many are not waited with.
    """

    wait: float
    rows: int = 0
