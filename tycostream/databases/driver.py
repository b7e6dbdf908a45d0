"""What a database driver is: a coroutine that reports events of one source until it is cancelled or fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tycostream.model import Event, Position


class DatabaseError(Exception):
    """The database refused, vanished or does not fit; the text is for the operator and holds no secrets.

    `hint` says what to do about it, where that is known. `permanent` means that trying again can't help until
    somebody changes the database or the schema file: the source shows FAILED and is tried again more rarely.
    `private` means that the text may name hosts, users or files, which are not for clients to know.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, permanent: bool = False, private: bool = False
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.permanent = permanent
        self.private = private
        self.sqlstate: str | None = None
        """The server's code for it, where it has one."""


class Driver(Protocol):
    """Follows one source in the database.

    `run` reports through `emit`, in order, and returns only by raising: DatabaseError when it can't go on, or
    CancelledError when the source stops it, after which everything it opened is closed. `emit` never blocks and
    may be called from within `run` or from a callback on the same loop. `ready` is awaited between pieces of a
    snapshot: it returns when the source has handled most of what was emitted, so that a fast database can't
    fill the memory. `resume` is up to where the source has everything already, or up to where those who come back to it
    have (see `Position`); None where nobody has anything. A driver that can goes on from there, and every other reports
    a snapshot.
    """

    async def run(self, emit: Callable[[Event], None], ready: Ready, resume: Position | None) -> None: ...


class Ready(Protocol):
    """Awaitable back-pressure: `await ready()` returns once the source has handled most of what it was sent."""

    async def __call__(self) -> None: ...
