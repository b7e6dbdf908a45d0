"""Connections are accepted a few at a time, so that a storm of new clients does not hold up those who are there."""

from __future__ import annotations

import socket
from typing import Any

ACCEPTS_A_TURN = 8
"""A handshake takes about half a millisecond. Those of one turn of the loop go through their steps together."""


class PoliteSocket(socket.socket):
    """A listening socket that says after some connections that there are no more for now. The loop asks again in its
    next turn, and what has come from others meanwhile has its own. (Tornado takes 128 before it looks at anything
    else.)"""

    _accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """See `socket.accept`. Raises BlockingIOError also where there would be more."""
        if self._accepted >= ACCEPTS_A_TURN:
            self._accepted = 0
            raise BlockingIOError
        self._accepted += 1
        try:
            return super().accept()
        except BlockingIOError:
            self._accepted = 0
            raise


def polite(listening: socket.socket) -> PoliteSocket:
    """Take over a listening socket."""
    taken = PoliteSocket(fileno=listening.detach())
    taken.setblocking(False)
    return taken
