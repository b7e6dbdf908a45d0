"""Runs drivers against the real database, and replays what they report as a source would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from actors.feed import FeedActor, FeedHandle
from actors.runtime import Dispatcher, stop_actor
from tests.support.postgres import Database
from tycostream.databases.postgres import DurableOptions, Intervals, PostgresDriver
from tycostream.model import (
    Changes,
    Column,
    ColumnType,
    Event,
    Position,
    Progress,
    Relation,
    Resumed,
    Row,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Source,
    Waiting,
)
from tycostream.views import Applied, Reload, RowCache

WAIT_SECONDS = 20.0


def source_of(
    name: str, columns: dict[str, ColumnType], key: str | tuple[str, ...] = "id", schema: str | None = None
) -> Source:
    return Source(
        name=name,
        relation=Relation(name, schema),
        columns=tuple(Column(column, kind) for column, kind in columns.items()),
        primary_key=(key,) if isinstance(key, str) else key,
    )


@dataclass(eq=False)
class Replica:
    """What a source's rows are after the events so far. `states` are the rows after each timestamp."""

    source: Source
    rows: dict[Any, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    states: list[dict[Any, Row]] = field(default_factory=list)
    snapshots: int = 0
    relation: str | None = None
    resumed: int = 0
    note: str | None = None
    notes: list[str] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self._cache = RowCache(self.source)
        self._reload: Reload | None = None
        self._tasks: set[asyncio.Future[None]] = set()
        self._changed = asyncio.Condition()

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, SnapshotStarted):
            self._reload = Reload(self.source, event.timestamp)
            self.relation = event.relation
        elif isinstance(event, SnapshotRows):
            assert self._reload is not None
            self._reload.add(event.rows)
        elif isinstance(event, SnapshotComplete):
            assert self._reload is not None
            self._reload.finish()
            self._cache.load(self._reload.rows, self._reload.timestamp)
            self._reload = None
            self.snapshots += 1
            self._keep()
        elif isinstance(event, Changes):
            if self._reload is not None:
                self._reload.hold(event.timestamp, event.changes)
            else:
                assert event.timestamp > (self._cache.timestamp or 0), "a change that the snapshot shows already"
                self._cache.apply([event], event.timestamp - 1, Applied())
                self._cache.timestamp = event.timestamp
                self._keep()
        elif isinstance(event, Progress):
            if self._reload is not None:
                self._reload.progress(event.timestamp)
            else:
                self._cache.timestamp = max(self._cache.timestamp or 0, event.timestamp)
        elif isinstance(event, Resumed):
            self.resumed += 1
        elif isinstance(event, Waiting):
            self.note = event.reason
            self.notes += [event.reason] if event.reason else []
        self._tasks.add(task := asyncio.ensure_future(self._notify()))
        task.add_done_callback(self._tasks.discard)

    def _keep(self) -> None:
        self.rows = dict(self._cache.rows)
        self.states.append(self.rows)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def ready(self) -> None:
        """Never behind."""

    async def until(self, condition: Callable[[], object]) -> None:
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: condition() or self.error), WAIT_SECONDS)
        if self.error is not None and not condition():
            raise self.error

    @property
    def position(self) -> Position | None:
        """Where it stands."""
        timestamp = self._cache.timestamp
        return None if timestamp is None else Position(timestamp, self.relation)

    async def follow(
        self, database: Database, feed: FeedHandle, resume: Position | None = None, **intervals: float
    ) -> None:
        """Run the driver until it fails."""
        driver = PostgresDriver(
            source=self.source,
            parameters=database.parameters,
            feed=feed,
            intervals=Intervals(intervals.get("poll", 0.05), intervals.get("view", 0.01)),
            slot_timeout=intervals.get("slot_timeout", 10.0),
        )
        try:
            await driver.run(self.emit, self.ready, resume or self.position)
        except Exception as error:
            self.error = error
            await self._notify()


@asynccontextmanager
async def feed_of(
    database: Database, slot_timeout: float = 10.0, slot: str | None = None, hold_back: float = 0.0
) -> AsyncIterator[FeedHandle]:
    """The actor that owns the replication stream, of a durable slot where one is named."""
    durable = None if slot is None else DurableOptions(slot, hold_back)
    ref = FeedActor.start(database.parameters, slot_timeout, durable)
    yield FeedHandle({("feed", "postgres"): ref}, "postgres")
    await stop_actor(ref)
    await Dispatcher.current().finish_tasks(within=5.0)


@asynccontextmanager
async def following(
    database: Database,
    source: Source,
    feed: FeedHandle | None = None,
    replica: Replica | None = None,
    resume: Position | None = None,
    **intervals: float,
) -> AsyncIterator[Replica]:
    """A replica that follows the source, with a feed of its own unless one is given; or one that was there before."""
    if feed is None:
        async with feed_of(database) as own, following(database, source, own, **intervals) as made:
            yield made
        return
    replica = replica or Replica(source)
    replica.error = None
    running = asyncio.ensure_future(replica.follow(database, feed, resume, **intervals))
    try:
        yield replica
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def rows_of(database: Database, source: Source) -> dict[Any, Row]:
    """The database's own answer, as text."""
    columns = ", ".join(f'"{column.name}"::text' for column in source.columns)
    rows = database.execute(f"SELECT {columns} FROM {source.relation}")
    fixed = [
        tuple(
            {"true": "t", "false": "f"}.get(value, value) if column.type is ColumnType.BOOLEAN else value
            for value, column in zip(row, source.columns, strict=True)
        )
        for row in rows
    ]
    return {source.key_of(row): row for row in fixed}
