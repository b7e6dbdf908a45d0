"""The driver of a source whose rows come from another process, which follows the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from tycostream.databases.driver import DatabaseError, Ready
from tycostream.model import (
    Change,
    Changes,
    Event,
    Past,
    Position,
    Progress,
    Resumed,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
    Waiting,
)
from tycostream.relay.batches import BadBatchError, Piece, decode_past, decode_pieces, decode_rows
from tycostream.relay.channel import Kind

AHEAD_ROWS = 5_000
"""Rows that are handed to the source before it is asked whether it has caught up."""


class Origin(Protocol):
    """Where rows come from: `relay.link.Link`."""

    def follow(self, reading: Reading, resume: Position | None) -> int:
        """Ask for a source's rows; the number under which they come."""

    def unfollow(self, number: int) -> None:
        """Ask for no more."""

    def hold(self, reading: Reading) -> None:
        """Read nothing more until `let_go`."""

    def let_go(self, reading: Reading) -> None:
        """See `hold`."""


class RelayDriver:
    """See the module, and `databases.driver.Driver`. What the other process knows of the source's troubles comes as the
    errors that they were there."""

    def __init__(self, source: Source, origin: Origin) -> None:
        self._source = source
        self._origin = origin

    async def run(self, emit: Callable[[Event], None], ready: Ready, resume: Position | None) -> None:
        """See `databases.driver.Driver`."""
        reading = Reading(self._source, emit, self._origin)
        number = self._origin.follow(reading, resume)
        try:
            await reading.run(ready)
        finally:
            self._origin.unfollow(number)
            self._origin.let_go(reading)


class Reading:
    """One run: turns what comes into events. Whatever is wrong with it ends the run."""

    def __init__(self, source: Source, emit: Callable[[Event], None], origin: Origin) -> None:
        self.source = source
        self._emit = emit
        self._origin = origin
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._behind = asyncio.Event()
        self._ahead = 0
        self._next = 0
        self._open: list[Change] = []
        self._past: list[Past] = []
        self._since = 0

    async def run(self, ready: Ready) -> None:
        """Until it fails. Raises DatabaseError."""
        behind = asyncio.ensure_future(self._keep_pace(ready))
        try:
            await self._over
        finally:
            behind.cancel()
            await asyncio.wait({behind})

    async def _keep_pace(self, ready: Ready) -> None:
        while True:
            await self._behind.wait()
            self._behind.clear()
            await ready()
            self._ahead = 0
            self._origin.let_go(self)

    # What comes

    def joined(self, message: dict[str, Any]) -> None:
        """The other process has rows: they follow, or what was missed since the position that was given."""
        self._next = message["next"]
        self._open = []
        self._since = message["since"]
        if message["resumed"]:
            self._emit(Resumed())
        else:
            self._emit(SnapshotStarted(message["timestamp"], message["relation"]))

    def completed(self) -> None:
        """All rows have come, and what led to them."""
        past, self._past = self._past, []
        self._emit(SnapshotComplete(self._since, past))

    def noted(self, reason: str | None) -> None:
        """The other process's driver can't go on yet, or goes on in a lesser way; None when that is over."""
        self._emit(Waiting(reason))

    def ended(self, error: DatabaseError) -> None:
        """Nothing more comes, for this reason."""
        if not self._over.done():
            self._over.set_exception(error)

    def hear(self, kind: Kind, payload: bytes) -> None:
        """Rows or changes."""
        if self._over.done():
            return
        try:
            self._take(kind, payload)
        except BadBatchError as error:
            self.ended(DatabaseError(f"what was relayed can't be read: {error}"))
        if self._ahead > AHEAD_ROWS:
            self._origin.hold(self)
            self._behind.set()

    def _take(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.ROWS:
            rows = decode_rows(self.source, payload)
            self._ahead += len(rows)
            self._emit(SnapshotRows(rows))
        elif kind is Kind.PAST:
            self._past += decode_past(self.source, payload)
        else:
            number, pieces = decode_pieces(self.source, payload)
            if kind is Kind.BATCH:
                if number != self._next:
                    self.ended(DatabaseError(f"batch {number} came where {self._next} was to come"))
                    return
                self._next += 1
            for piece in pieces:
                self._tell(piece)

    def _tell(self, piece: Piece) -> None:
        self._ahead += len(piece.changes) + 1
        if not piece.whole:
            self._open += piece.changes
            return
        changes = piece.changes
        if self._open:
            changes, self._open = self._open + changes, []
        if changes:
            self._emit(Changes(piece.timestamp, changes, piece.at))
        else:
            self._emit(Progress(piece.timestamp, piece.at))
