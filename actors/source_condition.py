"""How a source stands: its state, why, since when, and who has been told."""

from __future__ import annotations

import logging
import time
from typing import Any

from pykka import ActorRef

from actors.runtime import tell
from actors.source_memory import SourceMemory
from actors.source_messages import SourceStateChanged, State
from tycostream.databases.driver import DatabaseError
from tycostream.graphql.status import news_of
from tycostream.status import Standing

log = logging.getLogger("tycostream.source")


class SourceCondition:
    """See the module. `reason` is for operators. `note` says in what lesser way a driver goes on, `trouble` what the
    last failure was (None once there are rows again); both are in words for clients.

    The supervisor is told of every change at once; those who follow the source, with their next change of a row.
    """

    def __init__(self, memory: SourceMemory, supervisor: ActorRef[Any]) -> None:
        self._name = memory.cache.source.name
        self._memory = memory
        self._supervisor = supervisor
        self.state = State.IDLE
        self.reason: str | None = None
        self.note: str | None = None
        self.trouble: str | None = None
        self.since = time.time()
        self._announced = State.IDLE

    def inherit(self, trouble: str) -> None:
        """The source has the rows of a predecessor, which failed; those who follow know of no change."""
        if self._memory.cache.timestamp is not None:
            self.state, self.reason, self.trouble = State.STALE, "restarted after an error", trouble
        self._announced = self.state

    def become(self, state: State, reason: str | None) -> None:
        """The source stands so from now on."""
        if state is self.state and reason == self.reason:
            return
        if state is not self.state:
            self.since = time.time()
            log.info("source %s: %s%s", self._name, state.value, f" ({reason})" if reason else "")
        self.state = state
        self.reason = reason
        self.announce(state, self.since)
        self.tell()

    def tell(self) -> None:
        """Tell the supervisor."""
        told = self._told()
        tell(
            self._supervisor,
            SourceStateChanged(self._name, self.state, self.reason, self.since, told, self._memory.lag),
        )

    def _told(self) -> str | None:
        """The reason for the state, in words for clients."""
        if self.state is State.IDLE:
            return None
        return self.note if self.state is State.LIVE else self.note or self.trouble

    def announce(self, state: State, since: float) -> None:
        """A change of the state is told with the next change of a row to those who follow."""
        if state is not self._announced:
            self._announced = state
            reason = self.note if state is State.LIVE else self.trouble
            self._memory.announce(news_of(Standing(self._name, state, since, reason, self._memory.lag.ms)))


def describe(error: Exception) -> str:
    """The error in words for operators."""
    if isinstance(error, DatabaseError):
        return f"{error} ({error.hint})" if error.hint else str(error)
    return f"unexpected {type(error).__name__}: {error}"


def tellable(error: Exception) -> str:
    """The error in words for clients: nothing of where the database is, and what is to be done there."""
    if isinstance(error, DatabaseError):
        return "the database is out of reach" if error.private else str(error)
    return "an error ended its connection to the database"
