"""The Worker actor: one per worker process. It starts the process, sees it end, and starts it again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pykka import ActorRef

import tycostream
from actors.board import SourceBoard
from actors.relay import RelayActor
from actors.relay_messages import RelayConfig, Say
from actors.runtime import LoopActor, handles, tell
from actors.supervisor import Adopt
from tycostream.errors import known
from tycostream.metrics import Sample, sample
from tycostream.metrics.samples import one_of
from tycostream.model import Source
from tycostream.relay.calls import Answer
from tycostream.relay.channel import Channel

log = logging.getLogger("tycostream.worker")

WORKER_ENDED = known("WORKER_ENDED")

MODULE = "tycostream.worker"

STATES = ("starting", "running", "restarting", "stopped")

MOST_SECONDS = 10.0
LEAST_SECONDS = 0.1
WELL_SECONDS = 60.0
"""A worker that ran for so long has not failed in a row."""


class WorkerFailedError(Exception):
    """The first process of a worker has ended before it served anybody; the log says why."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How workers are made. `order` is what the process of a worker is told to do, pickled. `find`, `answer` and
    `backlog`: see RelayConfig. `on_change` is called when a process begins or ends to serve."""

    order: Callable[[str], bytes]
    find: Callable[[str], Source | None]
    answer: Answer
    backlog: int
    on_change: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Launch:
    """Start the process."""


@dataclass(frozen=True, slots=True)
class Serves:
    """It serves clients."""


@dataclass(frozen=True, slots=True)
class ProcessEnded:
    """It is gone."""

    pid: int
    code: int


@dataclass(frozen=True, slots=True)
class UntilServing:
    """Answered once the process serves; fails with WorkerFailedError where the first one does not come to that."""


@dataclass(frozen=True, slots=True)
class StopWorker:
    """End the process: its clients are told that the service is being stopped, or restarted. Answered when it is gone,
    which it is after `within` seconds."""

    within: float
    restart: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """The process of this number has had its time."""

    pid: int
    why: str


class WorkerActor(LoopActor):
    """See the module. `name` is a number, in the directory as in the logs."""

    kind = "worker"

    def __init__(
        self,
        name: str,
        config: WorkerConfig,
        supervisor: ActorRef[Any],
        board: SourceBoard,
        directory: Mapping[tuple[str, str], ActorRef[Any]],
    ) -> None:
        super().__init__()
        self._name = name
        self._config = config
        self._supervisor = supervisor
        self._board = board
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._relay: ActorRef[Any] | None = None
        self.state = "starting"
        self._since = time.time()
        self._restarts = 0
        self._in_a_row = 0
        self._last_exit: str | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._stopping: asyncio.Future[None] | None = None

    # Life

    def on_start(self) -> None:
        tell(self.actor_ref, Launch())

    def on_stop(self) -> None:
        if self._process is not None:  # somebody has not asked for an orderly end
            _kill(self._process)

    def on_failure(self, *_error: object) -> None:
        self.on_stop()

    @handles(Launch)
    async def _launch(self, _message: Launch) -> None:
        if self._stopping is not None:
            return
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", MODULE, str(theirs.fileno()), pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL, env=_environment(),
            )  # fmt: skip
        except OSError as error:
            ours.close()
            self._start_again(f"it could not be started: {error}")
            return
        finally:
            theirs.close()
        self._process = process
        self.spawn(self._wait(process))
        channel = await Channel.over(ours)
        silent = Kill(process.pid, "does not answer")
        config = RelayConfig(
            find=self._config.find,
            answer=self._config.answer,
            on_message=self._on_message,
            on_silent=lambda: tell(self.actor_ref, silent),
            backlog=self._config.backlog,
        )
        order = self._config.order(self._name)
        self._relay = RelayActor.start(channel, config, self._board, self._directory, order, self._name)
        tell(self._supervisor, Adopt("relay", self._name, self._relay))

    def _on_message(self, message: dict[str, Any]) -> None:
        if "serving" in message:
            tell(self.actor_ref, Serves())

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        tell(self.actor_ref, ProcessEnded(process.pid, await process.wait()))

    @handles(Serves)
    def _on_serves(self, _message: Serves) -> None:
        self._set_state("running")
        log.info("worker %s serves clients (process %d)", self._name, 0 if self._process is None else self._process.pid)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.set_result(None)

    @handles(UntilServing)
    def _until_serving(self, _message: UntilServing) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = self.dispatcher.loop.create_future()
        if self.state == "running":
            answer.set_result(None)
        elif self._last_exit is not None:
            answer.set_exception(self._failed())
        else:
            self._waiting.append(answer)
        return answer

    # The end of a process

    @handles(ProcessEnded)
    def _on_process_ended(self, message: ProcessEnded) -> None:
        if self._process is None or self._process.pid != message.pid:
            return
        self._process = self._relay = None
        if self._stopping is not None:
            self._last_exit = _told(message.code)
            self._stopping.set_result(None)
            self._set_state("stopped")
        else:
            self._start_again(_told(message.code))

    def _start_again(self, how: str) -> None:
        """It has ended by itself."""
        if time.time() - self._since > WELL_SECONDS:
            self._in_a_row = 0
        self._in_a_row += 1
        self._last_exit = how
        delay = 0.0 if self._in_a_row == 1 else min(MOST_SECONDS, LEAST_SECONDS * 2.0 ** (self._in_a_row - 2))
        log.error("worker %s has ended: %s; started again in %.1f s [%s]", self._name, how, delay, WORKER_ENDED)
        self._set_state("restarting")
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.set_exception(self._failed())
        self._restarts += 1
        self.tell_later(delay, Launch())

    def _failed(self) -> WorkerFailedError:
        return WorkerFailedError(f"worker {self._name} has ended: {self._last_exit}")

    @handles(StopWorker)
    def _stop_worker(self, message: StopWorker) -> asyncio.Future[None]:
        if self._stopping is None:
            self._stopping = self.dispatcher.loop.create_future()
            if self._process is None:
                self._stopping.set_result(None)
            else:
                stop = {"within": message.within, "restart": message.restart}
                if self._relay is not None:
                    tell(self._relay, Say({"stop": stop}))
                self.tell_later(message.within, Kill(self._process.pid, f"did not stop within {message.within:g} s"))
        answer: asyncio.Future[None] = self.dispatcher.loop.create_future()
        self._stopping.add_done_callback(lambda _done: None if answer.done() else answer.set_result(None))
        return answer

    @handles(Kill)
    def _on_kill(self, message: Kill) -> None:
        if self._process is not None and self._process.pid == message.pid:
            log.error("worker %s %s: it is killed", self._name, message.why)
            _kill(self._process)

    def _set_state(self, state: str) -> None:
        self.state = state
        self._since = time.time()
        self._config.on_change()

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        yield from one_of("tycostream_worker_state", STATES, self.state, worker=self._name)
        yield sample("tycostream_worker_restarts_total", self._restarts, worker=self._name)

    def details(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "pid": None if self._process is None else self._process.pid,
            "since": self._since,
            "restarts": self._restarts,
            "last_exit": self._last_exit,
        }


def _environment() -> dict[str, str]:
    """Of a worker: it is handed its settings, and has no use for the password of a database, nor libpq's variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "PG"))}
    home = str(Path(tycostream.__path__[0]).parent)
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))}


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


def _told(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
