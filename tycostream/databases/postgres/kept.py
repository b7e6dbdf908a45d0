"""What a durable slot tells of a table that nobody follows at this moment, for those who come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tycostream.databases.postgres.catalog import Table
from tycostream.databases.postgres.pgoutput import Delete, Insert, Truncate, Update, WireRelation

RowMessage = Insert | Update | Delete | Truncate
Transaction = tuple[int, float, Sequence[tuple[WireRelation, RowMessage]], int]
"""As `Follower.on_transaction` is told."""

KEPT_ROWS = 50_000
"""Changes of one table."""


@dataclass(frozen=True, slots=True)
class History:
    """What a table's follower begins with. `relation` names the table and for how long it has been in the slot's log
    without interruption; all changes after `since` are in `transactions` or follow. `since` None: nothing is known."""

    relation: str
    types: dict[str, int]
    """Of the table's columns, as OIDs."""
    since: int | None = None
    transactions: list[Transaction] = field(default_factory=list)


class Kept:
    """A follower that keeps what it is told. What is too much is forgotten, and so is all that came before."""

    def __init__(self, table: Table, since: int) -> None:
        self.tables: Sequence[Table] = (table,)
        self.since: int | None = since
        self.transactions: list[Transaction] = []
        self._rows = 0

    def on_start(self, history: History | None) -> None:
        """It has nothing before."""

    def on_transaction(
        self, lsn: int, committed_at: float, changes: Sequence[tuple[WireRelation, RowMessage]], xid: int
    ) -> None:
        """Keep it."""
        if self.since is None:
            return
        self.transactions.append((lsn, committed_at, changes, xid))
        self._rows += len(changes)
        if self._rows > KEPT_ROWS:
            self.since = None
            self.transactions.clear()

    def on_progress(self, lsn: int) -> None:
        """It need not know."""

    async def ready(self) -> None:
        """Never behind."""
