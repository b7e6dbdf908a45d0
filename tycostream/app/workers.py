"""The worker processes, as the process that follows the database sees them: their port, and what they are told."""

from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Any

import pykka
from pykka import ActorRef
from tornado.netutil import bind_sockets

from actors.board import SourceBoard
from actors.relay import ask_worker
from actors.relay_messages import Say
from actors.runtime import loop_actor, tell
from actors.supervisor import Restart, StartChild
from actors.worker import StopWorker, UntilServing, WorkerActor, WorkerConfig
from tycostream.app.order import Order, for_workers, worker_process
from tycostream.metrics import Sample
from tycostream.model import Catalog, Source
from tycostream.relay.calls import Answer, CallError
from tycostream.settings import Settings
from tycostream.web.health import ServiceStatus, WorkerStatus

log = logging.getLogger("tycostream")

APPLY_SECONDS = 10.0
"""How long the schema file's change waits for workers before it is told as done."""

DESCRIBE_SECONDS = 3.0

MEASURE_SECONDS = 2.0
"""Prometheus waits for 10 s, if it is told nothing else."""

KILL_SECONDS = 0.5
"""Before the end of the time for a stop, workers that have not ended are killed."""

Actors = list[dict[str, Any]]


class Workers:
    """See the module. `catalog` has what is served now, `status` how the service stands."""

    def __init__(
        self,
        settings: Settings,
        directory: dict[tuple[str, str], ActorRef[Any]],
        board: SourceBoard,
        catalog: Callable[[], Catalog],
        status: Callable[[], ServiceStatus],
        answer: Answer,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._board = board
        self._catalog = catalog
        self._status = status
        self._answer = answer
        self._port_held: list[socket.socket] = []
        self._port = 0

    # Life

    async def start(self, start_child: Callable[[StartChild], Awaitable[Any]]) -> int:
        """Start the processes, and wait until all of them serve; the port. Raises OSError, WorkerFailedError."""
        service = self._settings.service
        self._port = self._hold_port(service.port, service.host)
        config = WorkerConfig(
            self._order, self._find, self._answer, self._settings.limits.worker_backlog_bytes, self.publish
        )

        def make(name: str) -> Callable[[ActorRef[Any]], ActorRef[Any]]:
            return lambda supervisor: WorkerActor.start(name, config, supervisor, self._board, self._directory)

        refs = []
        for number in range(1, service.workers + 1):
            name = str(number)
            refs.append(await start_child(StartChild("worker", name, make(name), Restart())))
        await asyncio.gather(*(_reply(ref, UntilServing()) for ref in refs))
        return self._port

    def _hold_port(self, port: int, host: str) -> int:
        """Find out whether the port is free, and keep it for the workers: those who do not say that they share a port
        can't have it, whether workers run or not."""
        for one in bind_sockets(port, address=host or None, backlog=1):
            port = int(one.getsockname()[1])
            one.close()
        self._port_held = _bound(port, host)
        return port

    async def stop(self, within: float, *, restart: bool) -> None:
        """End all processes; their clients are told that the service is being stopped, or restarted."""
        orders = [_reply(ref, StopWorker(max(0.0, within - KILL_SECONDS), restart)) for ref in self._all("worker")]
        await asyncio.gather(*orders, return_exceptions=True)
        for one in self._port_held:
            one.close()
        self._port_held = []

    # What they are told

    def publish(self) -> None:
        """Tell all workers how the service stands."""
        self._say({"service": self._told()})

    async def apply(self, catalog: Catalog) -> None:
        """Have all workers serve this catalog. One that can't ends, and is started again with it."""
        self._say_pickled(catalog)
        await self._ask_all("settled", APPLY_SECONDS)

    async def actors(self, kind: str | None, urn: str | None) -> Actors:
        """What all actors of all workers do."""
        found = await self._ask_all("actors", DESCRIBE_SECONDS, kind=kind, urn=urn)
        return [actor for actors in found.values() for actor in actors]

    async def samples(self) -> dict[str, list[Sample] | None]:
        """What each process tells at `/metrics`; None for one that does not answer."""
        found = await self._ask_all("metrics", MEASURE_SECONDS)
        names = map(str, range(1, self._settings.service.workers + 1))
        return {worker_process(name): found.get(name) for name in names}

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """How the workers stand."""
        found = []
        for (kind, name), ref in self._directory.items():
            actor = loop_actor(ref) if kind == "worker" else None
            if isinstance(actor, WorkerActor):
                known = actor.details()
                found.append(WorkerStatus(name, known["state"], known["pid"], known["restarts"], known["last_exit"]))
        return tuple(found)

    async def _ask_all(self, name: str, within: float, **arguments: Any) -> dict[str, Any]:
        """The answers, by the names of the workers that give one."""
        relays = {worker: ref for (kind, worker), ref in self._directory.items() if kind == "relay"}
        answers = await asyncio.gather(
            *(ask_worker(ref, name, within, **arguments) for ref in relays.values()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, CallError | pykka.ActorDeadError):
                raise answer
        told = zip(relays, answers, strict=True)
        return {worker: answer for worker, answer in told if not isinstance(answer, BaseException)}

    def _say(self, message: dict[str, Any]) -> None:
        for ref in self._all("relay"):
            tell(ref, Say(message))

    def _say_pickled(self, value: object) -> None:
        pickled = pickle.dumps(value)
        for ref in self._all("relay"):
            tell(ref, Say(pickled=pickled))

    def _all(self, wanted: str) -> list[ActorRef[Any]]:
        return [ref for (kind, _name), ref in self._directory.items() if kind == wanted]

    def _order(self, name: str) -> bytes:
        return Order(name, for_workers(self._settings, self._port), self._catalog(), self._told()).pickled()

    def _told(self) -> dict[str, Any]:
        status = self._status()
        return {
            "ready": status.ready,
            "schema": [status.schema.loaded_at, status.schema.error],
            "workers": [asdict(one) for one in status.workers],
        }

    def _find(self, name: str) -> Source | None:
        return self._catalog().sources.get(name)


def _bound(port: int, host: str) -> list[socket.socket]:
    """Sockets that hold the port, without listening, and share it with those who listen. Raises OSError."""
    held: list[socket.socket] = []
    flags = socket.AI_PASSIVE
    for family, kind, _protocol, _name, address in _addresses(port, host, flags):
        one = socket.socket(family, kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            one.bind(address)
        except OSError:
            one.close()
            if held:  # as Tornado has it: one of the families may not be there
                continue
            raise
        held.append(one)
    return held


def _addresses(port: int, host: str, flags: int) -> Iterable[tuple[Any, ...]]:
    return dict.fromkeys(socket.getaddrinfo(host or None, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, flags))


async def _reply(ref: ActorRef[Any], message: Any) -> Any:
    return await ref.ask(message, block=False)
