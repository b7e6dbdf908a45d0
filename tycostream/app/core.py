"""What every process of a service has: a supervisor, the sources of a catalog, and an engine that answers from them."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pykka
from graphql import GraphQLSchema
from pykka import ActorRef

from actors.board import BoardDriver, SourceBoard
from actors.runtime import Dispatcher, loop_actor, stop_actor, tell
from actors.source import SourceActor, SourceConfig
from actors.source_memory import SourceMemory
from actors.source_messages import ReadRows, Refused, SourceUnavailableError, interrupted, place_of
from actors.supervisor import ListActors, Restart, StartChild, StopChild, Supervisor, stop_everything
from actors.triggers import TriggerRegistry
from tycostream import __version__, model
from tycostream.databases.driver import Driver
from tycostream.filters import Filter, KeyLookup
from tycostream.garbage import Collections
from tycostream.graphql import Engine, UnavailableError
from tycostream.graphql.errors import SCHEMA_CHANGED, SOURCE_REMOVED
from tycostream.graphql.limits import Limits
from tycostream.graphql.schema import build_schema
from tycostream.metrics import ClientCounts, LoopDelay, Sample, sample
from tycostream.metrics.process import process_samples
from tycostream.model import Catalog, Row
from tycostream.reload import Changeover, compare
from tycostream.settings import Settings
from tycostream.status import STATUS
from tycostream.views import RecentLimits, RowCache
from tycostream.web.health import SchemaStatus

MakeDriver = Callable[[model.Source], Driver]

LAST_SECONDS = 0.5
"""For connections to the database to close, whatever else has taken its time."""


class Core:
    """See the module. `process` names it to people. `board` says how sources stand, as clients are told."""

    process = "service"

    def __init__(self, settings: Settings, catalog: Catalog, board: SourceBoard) -> None:
        self.settings = settings
        self.catalog = catalog
        self._board = board
        self._directory: dict[tuple[str, str], ActorRef[Any]] = {}
        self._supervisor: ActorRef[Any] | None = None
        self._stopping = False
        self._make_driver: MakeDriver
        self._engine: Engine
        self._triggers: TriggerRegistry | None = None
        self._memories: dict[str, SourceMemory] = {}
        self._schema = SchemaStatus(time.time())
        self._since = time.time()
        self._supervised = board
        self._delay = LoopDelay()
        self._counts = ClientCounts()
        self.collections = Collections()

    def on_supervisor_end(self, tell_of: Callable[[BaseException | None], None]) -> None:
        """Hand the error to this function should the supervisor end before it is stopped."""
        actor = None if self._supervisor is None else loop_actor(self._supervisor)
        if actor is not None:
            actor.on_exit = lambda _ref, error: tell_of(error)

    @property
    def _bounds(self) -> Limits:
        limits = self.settings.limits
        return Limits(tokens=limits.max_tokens, depth=limits.max_depth, aliases=limits.max_aliases)

    # Actors

    def _start_supervisor(self, board: SourceBoard) -> ActorRef[Any]:
        self._supervisor = Supervisor.start(board, self._directory)
        self._supervised = board
        self._delay.start()
        return self._supervisor

    async def _start_child(self, order: StartChild) -> Any:
        assert self._supervisor is not None
        return await self._supervisor.ask(order, block=False)

    async def _stop_actors(self, order: tuple[str, ...], within: float) -> bool:
        """Stop everything, the supervisor last; it need not be alive. Returns whether it took no longer than that."""
        self._delay.stop()
        if self._supervisor is None:
            return True
        supervisor, self._supervisor = self._supervisor, None
        try:
            await asyncio.wait_for(stop_everything(supervisor, self._directory, order), within)
        except TimeoutError:
            return False
        finally:
            await stop_actor(supervisor)
        return True

    async def _finish_tasks(self, within: float) -> None:
        await Dispatcher.current().finish_tasks(within=max(LAST_SECONDS, within))

    async def actors_here(self, kind: str | None = None, urn: str | None = None) -> list[dict[str, Any]]:
        """What every actor of this process does; see `web.debug`."""
        if self._supervisor is None:
            return []
        listed: list[dict[str, Any]] = await self._supervisor.ask(ListActors(kind, urn), block=False)
        return [{**one, "process": self.process, "pid": os.getpid()} for one in listed]

    # Metrics

    @property
    def _database_type(self) -> str:
        return self.settings.database.type

    def samples_here(self) -> list[Sample]:
        """What this process tells at `/metrics`."""
        return list(self._samples())

    def _samples(self) -> Iterator[Sample]:
        versions = {"version": __version__, "python": platform.python_version()}
        yield sample("tycostream_info", 1, **versions, database=self._database_type)
        yield sample("tycostream_start_time_seconds", self._since)
        yield from process_samples()
        yield from self._delay.samples()
        yield from self.collections.samples()
        yield from self._supervised.samples()
        for memory in self._memories.values():
            yield from memory.samples()
        few = [self._directory.get(place) for place in self._few()]
        for ref in (self._supervisor, *few):
            if ref is not None and (actor := loop_actor(ref)) is not None:
                yield from actor.samples()

    def _few(self) -> Iterator[tuple[str, str]]:
        """Actors that tell their own numbers. Of connections and triggers, which may be many, others count."""
        for memory in self._memories.values():
            yield place_of(memory.cache.source)

    # Sources

    @property
    def _source_config(self) -> SourceConfig:
        sources = self.settings.sources
        return SourceConfig(
            eager=sources.start == "eager",
            linger=sources.linger_seconds,
            retry_min=sources.reconnect_min_ms / 1000,
            retry_max=sources.reconnect_max_ms / 1000,
        )

    async def _start_sources(self) -> None:
        for source in (STATUS, *self.catalog.sources.values()):
            await self._start_source(source)

    async def _start_source(self, source: model.Source) -> None:
        sources = self.settings.sources
        recent = RecentLimits(
            rows=sources.recent_changes_rows,
            bytes=sources.recent_changes_bytes,
            seconds=sources.recent_changes_seconds,
        )
        memory = self._memories[source.name] = SourceMemory(RowCache(source), recent)
        make_driver = self._follow_board if source is STATUS else self._make_driver

        def make_source(supervisor: ActorRef[Any]) -> ActorRef[Any]:
            return SourceActor.start(source, make_driver, self._source_config, memory, supervisor, self._counts)

        await self._start_child(StartChild(*place_of(source), make_source, Restart()))

    def _follow_board(self, _source: model.Source) -> Driver:
        return BoardDriver(self._board)

    async def _stop_source(self, source: model.Source) -> None:
        """Stop its actor, and hand on what its triggers have to tell. Its subscriptions are left in its memory."""
        assert self._supervisor is not None
        await self._supervisor.ask(StopChild("source", source.name), block=False)
        self._memories[source.name].roll_back()
        if self._triggers is not None:
            await self._triggers.pause(source)

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002  # the field's own word
        """A query's rows, from its source's cache; see `graphql.RowReader`."""
        return await self._read(filter)

    async def row(self, lookup: KeyLookup) -> Row | None:
        """The row of a key; see `graphql.RowReader`."""
        found = await self._read(lookup.filter, lookup)
        return found[0] if found else None

    async def _read(self, condition: Filter, lookup: KeyLookup | None = None) -> list[Row]:
        name = condition.source.name
        source = self._directory.get(("source", name))
        if self.catalog.sources.get(name) is not condition.source:
            raise UnavailableError(f"source {name} has changed meanwhile; ask again")
        if source is None:
            raise UnavailableError(interrupted(name))
        within = self.settings.sources.query_timeout_seconds
        try:
            found: list[Row] = await source.ask(ReadRows(condition, within, lookup), block=False)
        except SourceUnavailableError as error:
            raise UnavailableError(str(error)) from None
        except pykka.ActorDeadError:
            raise UnavailableError(interrupted(name)) from None
        return found

    # When the schema file changes

    async def apply(self, catalog: Catalog) -> Changeover:
        """Serve another catalog from now on. Who uses a source that stays the same notices nothing."""
        change = compare(self.catalog, catalog)
        if not change.empty:
            change.describe()
            schema = await asyncio.to_thread(build_schema, change.catalog, self._board)
            await self._change_over(change, schema)
        self._schema = SchemaStatus(time.time())
        return change

    def keep(self, error: str) -> None:
        """The schema file can't be used, for this reason: what is served goes on being served."""
        self._schema = SchemaStatus(self._schema.loaded_at, error)

    async def _change_over(self, change: Changeover, schema: GraphQLSchema) -> None:
        """The old sources end first, and clients are told last: one that comes back at once finds the new source."""
        for source in change.ended:
            await self._stop_source(source)
        # In one step, so that no request is planned for one source and meets another
        self.catalog = change.catalog
        self._engine.adopt(change.catalog, schema)
        left = [(source, self._memories.pop(source.name)) for source in change.ended]
        moves, triggers = self._triggers, []
        if moves is not None:
            triggers = [one for source in change.ended for one in moves.move(source, change.changed.get(source))]
        for source in change.started:
            await self._start_source(source)
        if moves is not None:
            await moves.resume(triggers)
        for source, memory in left:
            code, text = SOURCE_REMOVED, f"there is no source {source.name} any more"
            if source in change.changed:
                code, text = SCHEMA_CHANGED, f"source {source.name} is not what it was; subscribe again"
            for subscription in (*memory.subscriptions(), *memory.waiting):
                memory.remove(subscription)  # so that its connection does not hold on to all the others
                tell(subscription.connection, Refused(subscription, text, code))
