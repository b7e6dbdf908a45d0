"""What waits for all clients together: bytes that sockets have not taken, and changes in outboxes."""

from __future__ import annotations

from collections.abc import Callable

from tycostream.limits.near import NearLimits

NAME = "MAX_TOTAL_PENDING_BYTES"


class Account:
    """What waits for one client. `Backlog.open` makes it."""

    __slots__ = ("_backlog", "bytes", "give_up")

    def __init__(self, backlog: Backlog, give_up: Callable[[], None]) -> None:
        self._backlog = backlog
        self.give_up = give_up
        self.bytes = 0

    def set(self, waiting: int) -> None:
        """So many bytes wait now."""
        if waiting != self.bytes:
            self._backlog.changed(self, waiting)

    def close(self) -> None:
        """The client leaves."""
        self._backlog.forget(self)


class Backlog:
    """Adds up what waits, and gives up clients where it is more than `limit`: those first for whom the most waits.

    One that was given up counts no more, though what waits in its socket is freed only when that is closed, which takes
    some seconds with a client that does not read.
    """

    def __init__(self, limit: int, near: NearLimits) -> None:
        self.limit = limit
        self.total = 0
        self._near = near
        self._waiting: set[Account] = set()
        self._left: set[Account] = set()

    def open(self, give_up: Callable[[], None]) -> Account:
        """An account for a client; `give_up` is to close it, soon and not within the call."""
        return Account(self, give_up)

    def changed(self, account: Account, waiting: int) -> None:
        """For `Account.set` alone."""
        if account in self._left:
            return
        grows = waiting > account.bytes
        self.total += waiting - account.bytes
        account.bytes = waiting
        if waiting:
            self._waiting.add(account)
        else:
            self._waiting.discard(account)
        if grows:
            self._near.note(NAME, self.total, self.limit)
            while self.total > self.limit:
                self._give_up(max(self._waiting, key=lambda one: one.bytes))

    def forget(self, account: Account) -> None:
        """For `Account.close` alone."""
        self._remove(account)
        self._left.discard(account)

    def _give_up(self, account: Account) -> None:
        self._remove(account)
        self._left.add(account)
        account.give_up()

    def _remove(self, account: Account) -> None:
        self.total -= account.bytes
        account.bytes = 0
        self._waiting.discard(account)
