"""How a subscription is told of changes: what becomes of them while its client is slow."""

from __future__ import annotations

import enum


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
