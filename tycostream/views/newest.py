"""The newest transactions of one subscription whose client is slow and wants every step rather than a merge."""

from __future__ import annotations

from collections import deque
from itertools import groupby
from operator import itemgetter

from tycostream.views.applying import ViewChange


class Newest:
    """Changes in order, by transaction. The newest transaction is kept whatever its size, the older ones only as far
    as `limit` changes go; nobody is shown a part of a transaction.

    `rows` counts the changes that wait, `dropped` those that had no room and that nobody has been told of yet.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transactions: deque[list[ViewChange]] = deque()
        self._begun: list[ViewChange] = []  # the transaction that is being sent: it is no more dropped
        self._sent = 0
        self.rows = 0
        self.dropped = 0

    def add(self, changes: list[ViewChange]) -> None:
        """Later changes. Those of one timestamp are one transaction, also where they come in several pieces."""
        for timestamp, group in groupby(changes, key=itemgetter(4)):
            piece = list(group)
            self.rows += len(piece)
            last = self._transactions[-1] if self._transactions else self._begun
            if last and last[0][4] == timestamp:
                last.extend(piece)
            else:
                self._transactions.append(piece)
        while self.rows > self._limit and len(self._transactions) > 1:
            oldest = self._transactions.popleft()
            self.rows -= len(oldest)
            self.dropped += len(oldest)

    @property
    def begun(self) -> bool:
        """Whether a part of a transaction has been taken, and another has not."""
        return self._sent < len(self._begun)

    def take(self, count: int, *, whole: bool = False) -> tuple[list[ViewChange], int]:
        """The next changes, so many at most, and how many were dropped before them. `whole`: no transaction is begun
        that would have room in a piece of its own, and has none in this one."""
        taken: list[ViewChange] = []
        while len(taken) < count:
            if self._sent >= len(self._begun):
                if not self._transactions:
                    self._begun = []
                    self._sent = 0
                    break
                if whole and taken and len(self._transactions[0]) > count - len(taken):
                    break
                self._begun = self._transactions.popleft()
                self._sent = 0
            piece = self._begun[self._sent : self._sent + count - len(taken)]
            self._sent += len(piece)
            taken += piece
        self.rows -= len(taken)
        dropped, self.dropped = self.dropped, 0
        return taken, dropped
