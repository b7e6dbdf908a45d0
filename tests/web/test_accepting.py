"""A storm of connections is accepted a few at a time, and all of it in the end."""

from __future__ import annotations

import socket

from tycostream.web.accepting import ACCEPTS_A_TURN, polite


def accepted(listening: socket.socket) -> int:
    """How many connections there are until there are no more."""
    count = 0
    while True:
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_some_are_accepted_then_there_are_none_for_once_and_none_is_lost() -> None:
    count = 2 * ACCEPTS_A_TURN + 3
    with polite(socket.create_server(("127.0.0.1", 0), backlog=64)) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in range(count)]
        turns: list[int] = []
        while sum(turns) < count:
            turns.append(accepted(listening))
        assert turns == [ACCEPTS_A_TURN, ACCEPTS_A_TURN, 3]
        assert accepted(listening) == 0
        for one in clients:
            one.close()
