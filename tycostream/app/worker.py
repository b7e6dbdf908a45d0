"""A worker: a process that serves clients, with rows from the process that follows the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actors.board import SourceBoard
from actors.source import SourceConfig
from actors.source_messages import SourceStateChanged
from actors.supervisor import GIVEN_UP
from tycostream.app.clients import Clients
from tycostream.app.core import Core
from tycostream.app.order import WITH_WORKERS, Order, worker_process
from tycostream.errors import known
from tycostream.graphql import Engine
from tycostream.metrics import Sample, Told
from tycostream.model import Catalog
from tycostream.relay.calls import CallError
from tycostream.relay.driver import RelayDriver
from tycostream.relay.link import Link
from tycostream.status import Lag, SourceState
from tycostream.web.health import SchemaStatus, ServiceStatus, SourceStatus, WorkerStatus

STOP_ORDER = ("connection", "source", "status")

RETRY_SECONDS = (0.05, 0.25)
"""To ask the other process again costs nothing: it answers when there is something to answer."""

ASK_SECONDS = 5.0

EXECUTE_SECONDS = 60.0

UNAVAILABLE = known("UNAVAILABLE")


class Worker(Core):
    """See the module: `start`, then `stop`. How sources stand is what the other process says (`Core._board`); what
    becomes of the actors here is on a board of their own, which only this process's supervisor looks at."""

    def __init__(self, order: Order, link: Link) -> None:
        super().__init__(order.settings, order.catalog, SourceBoard())
        self.process = worker_process(order.name)
        self._link = link
        self._here = SourceBoard()
        self._make_driver = lambda source: RelayDriver(source, link)
        self._engine = Engine(order.catalog, self._bounds, self, statuses=self._board, elsewhere=self._execute)
        self._clients = Clients(
            self.settings, self._engine, self._directory, self.status, self.actors, self.metrics, self._counts
        )
        self._service = order.status
        self._applying: asyncio.Task[None] | None = None

    @property
    def _source_config(self) -> SourceConfig:
        sources = self.settings.sources
        least, most = RETRY_SECONDS
        return SourceConfig(sources.start == "eager", sources.linger_seconds, retry_min=least, retry_max=most)

    async def start(self) -> None:
        """Start the sources' actors and the web server. Raises OSError."""
        supervisor = self._start_supervisor(self._here)
        await self._start_sources()
        self._clients.listen(supervisor, shared=True)

    async def stop(self, within: float, *, restart: bool) -> None:
        """Send every client away and end; takes so many seconds at most."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        self._clients.close_door()
        await self._clients.send_away(min(self.settings.limits.drain_seconds, within), restart=restart)
        await self._stop_actors(STOP_ORDER, max(0.0, deadline - loop.time()))
        if self._applying is not None:
            self._applying.cancel()
        await self._finish_tasks(max(0.0, deadline - loop.time()))
        await self._clients.close()

    # What the other process says

    def heard(self, message: Mapping[str, Any]) -> None:
        """How sources and the service stand."""
        if (name := message.get("stands")) is not None:
            self._stands(name, message["standing"])
        elif "lags" in message:
            for name, moments in message["lags"].items():
                if (told := self._board.states.get(name)) is not None:
                    told.lag.take_over(moments)
        elif "service" in message:
            self._service = message["service"]

    def _stands(self, name: str, standing: list[Any] | None) -> None:
        if standing is None:
            self._board.remove(name)
            return
        state, reason, since, told, moments = standing
        lag = Lag()
        lag.take_over(moments)
        self._board.post(SourceStateChanged(name, SourceState(state), reason, since, told, lag))

    def adopt(self, catalog: Catalog) -> asyncio.Task[None]:
        """Serve another catalog; one after the other, should there be several. A failure is the task's."""
        self._applying = asyncio.ensure_future(self._adopt(catalog, self._applying))
        return self._applying

    async def _adopt(self, catalog: Catalog, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        await self.apply(catalog)

    async def answer(self, name: str, arguments: dict[str, Any]) -> Any:
        """See `relay.calls.Answer`."""
        if name == "actors":
            return await self.actors_here(**arguments)
        if name == "metrics":
            return self.samples_here()
        if name == "settled":
            if self._applying is not None:
                await asyncio.wait([self._applying])
            return None
        raise ValueError(f"there is no question {name}")

    # What it asks

    async def _execute(self, query: str, operation_name: str | None, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Have a request about triggers carried out where they are: see `graphql.queries.Elsewhere`."""
        asked = {"query": query, "operation_name": operation_name, "variables": dict(variables)}
        try:
            answer: dict[str, Any] = await self._link.calls.ask("execute", EXECUTE_SECONDS, **asked)
        except CallError as error:
            return {"data": None, "errors": [{"message": str(error), "extensions": {"code": UNAVAILABLE}}]}
        return answer

    async def actors(self, kind: str | None = None, urn: str | None = None) -> Sequence[dict[str, Any]]:
        """What every actor of every process does; see `web.debug`."""
        try:
            listed: list[dict[str, Any]] = await self._link.calls.ask("actors", ASK_SECONDS, kind=kind, urn=urn)
        except CallError:
            return await self.actors_here(kind, urn)
        return listed

    async def metrics(self) -> Told:
        """What every process tells of itself; see `web.metrics_handler`."""
        try:
            told: Told = await self._link.calls.ask("metrics", ASK_SECONDS)
        except CallError:
            others = (worker_process(one["name"]) for one in self._service["workers"])
            return {**dict.fromkeys((WITH_WORKERS, *others)), self.process: self.samples_here()}
        return told

    @property
    def _database_type(self) -> str:
        return ""  # a worker is told nothing of the database

    def _samples(self) -> Iterator[Sample]:
        yield from super()._samples()
        yield from self._clients.samples()

    def status(self) -> ServiceStatus:
        """How the whole service stands, as the other process last said; with sources that were given up here."""
        sources = []
        for name in self.catalog.sources:
            told, here = self._board.states.get(name), self._here.states.get(name)
            if here is not None and here.told == GIVEN_UP:
                told = here
            if told is not None:
                sources.append(SourceStatus(name, told.state.value, told.reason, told.since))
        loaded_at, error = self._service["schema"]
        workers = tuple(WorkerStatus(**one) for one in self._service["workers"])
        ready = bool(self._service["ready"]) and not self._stopping
        return ServiceStatus(ready, tuple(sources), SchemaStatus(loaded_at, error), workers)
