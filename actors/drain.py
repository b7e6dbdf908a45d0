"""Sends clients away before a stop, not all at the same moment: they come back at once, to another service or to this
one's successor, which ten thousand handshakes within a second would hurt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from pykka import ActorRef

from actors.connection import CloseConnection
from actors.runtime import tell
from tycostream.web.close_codes import CloseCode

CLIENTS_PER_SECOND = 1000.0
"""Fewer clients are not kept waiting for the whole time."""

STEP_SECONDS = 0.05


async def drain(connections: Sequence[ActorRef[Any]], code: CloseCode, reason: str, within: float) -> None:
    """Close every connection with this code: in any order, evenly over `within` seconds, or faster where they are few.
    What is on its way to a client is sent first."""
    waiting = list(connections)
    random.shuffle(waiting)
    clock = asyncio.get_running_loop().time
    began = clock()
    seconds = min(within, len(waiting) / CLIENTS_PER_SECOND)
    total = len(waiting)
    while waiting:
        elapsed = clock() - began
        due = total if elapsed >= seconds else int(total * elapsed / seconds) + 1
        for _ in range(due - (total - len(waiting))):
            tell(waiting.pop(), CloseConnection(code, reason))
        if waiting:
            await asyncio.sleep(min(STEP_SECONDS, seconds - elapsed))
