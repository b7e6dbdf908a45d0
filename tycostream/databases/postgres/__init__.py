"""PostgreSQL: tables by logical replication, views by query when a table beneath changes, the rest by polling."""

from __future__ import annotations

from dataclasses import dataclass

from tycostream.databases.connection import ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError, Ready
from tycostream.databases.postgres.catalog import Mode, Plan, examine
from tycostream.databases.postgres.query import Intervals, follow_by_query
from tycostream.databases.postgres.replication import DurableOptions
from tycostream.databases.postgres.table import Emit, Feed, follow_table
from tycostream.model import Position, Source

__all__ = ["DatabaseError", "DurableOptions", "Feed", "Intervals", "Mode", "Plan", "PostgresDriver", "examine"]


@dataclass(frozen=True, slots=True)
class PostgresDriver:
    """Follows one source. The relation is looked up at every run, so that one that was changed heals when it fits
    again."""

    source: Source
    parameters: ConnectionParameters
    feed: Feed
    intervals: Intervals
    slot_timeout: float

    async def run(self, emit: Emit, ready: Ready, resume: Position | None = None) -> None:
        """See `databases.driver.Driver`. A table goes on where it was, if the feed has a durable slot."""
        async with opened(self.parameters) as connection:
            plan = await examine(connection, self.source)
        if plan.mode is Mode.STREAM:
            await follow_table(self.source, plan, self.feed, self.parameters, self.slot_timeout, emit, ready, resume)
        else:
            await follow_by_query(self.source, plan, self.feed, self.parameters, self.intervals, emit, ready)
