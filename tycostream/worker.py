"""The life of a worker process: it is started by the process that follows the database (actors/worker.py), which hands
it one end of a socket, and ends when it is told to, or when that process is gone.

`python -m tycostream.worker DESCRIPTOR`. SIGTERM and SIGUSR1 send its clients away and end it, as they end the service;
what a terminal sends (SIGINT, SIGHUP), and SIGUSR2, is for the process that started it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

from tycostream.app.order import Order, unpickled
from tycostream.app.worker import Worker
from tycostream.ending import EXIT_SUPERVISOR_FAILED
from tycostream.errors import known
from tycostream.garbage import collect_now_and_then
from tycostream.logs import configure_logging, tune_collector
from tycostream.model import Catalog
from tycostream.relay.channel import Channel
from tycostream.relay.link import Link

log = logging.getLogger("tycostream")

START_FAILED = known("START_FAILED")
SUPERVISOR_FAILED = known("SUPERVISOR_FAILED")
INGEST_LOST = known("INGEST_LOST")

EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class End:
    """How the worker is to end: within so many seconds (None: SHUTDOWN_SECONDS), and with which exit code."""

    code: int = 0
    restart: bool = False
    within: float | None = None


class Process:
    """One worker process."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[End] = loop.create_future()
        self._order: asyncio.Future[Order] = loop.create_future()
        self._link = Link(self._answer)
        self._worker: Worker | None = None
        self._made: asyncio.Future[Worker] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            loop.add_signal_handler(number, self.end, End(restart=number is signal.SIGUSR1))

    def end(self, how: End) -> None:
        """End it; the first one that says so says how."""
        if not self._end.done():
            self._end.set_result(how)

    async def run(self, connected: socket.socket) -> int:
        """Serve until it is to end; the exit code."""
        channel = await Channel.over(connected)
        channel.on_lost = lambda _error: self._lost()
        self._link.use(channel, self._on_pickle)
        either: list[asyncio.Future[Any]] = [self._order, self._end]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._end.done():
            return self._end.result().code
        order = self._order.result()
        settings = order.settings
        configure_logging(settings.service.log_level, f"worker {order.name}")
        worker = self._worker = Worker(order, self._link)
        self._made.set_result(worker)
        self._link.begin(self._heard)
        try:
            await worker.start()
        except OSError as error:
            port = settings.service.port
            log.error("can't listen on port %d: %s [%s]", port, error.strerror or error, START_FAILED)
            self.end(End(EXIT_FAILED, within=0.0))
        else:
            worker.on_supervisor_end(self._supervisor_failed)
            tune_collector()
            self._link.say({"serving": True})
        collecting = asyncio.ensure_future(collect_now_and_then(worker.collections))
        how = await self._end
        collecting.cancel()
        within = settings.limits.shutdown_seconds if how.within is None else how.within
        await worker.stop(within, restart=how.restart)
        await self._link.calls.close()
        channel.close()
        return how.code

    # What happens

    def _on_pickle(self, payload: bytes) -> None:
        told = unpickled(payload)
        if isinstance(told, Order):
            self._order.set_result(told)
            return
        assert isinstance(told, Catalog)
        assert self._worker is not None
        self._worker.adopt(told).add_done_callback(self._applied)

    def _applied(self, applying: asyncio.Task[None]) -> None:
        if not applying.cancelled() and (error := applying.exception()) is not None:
            log.error("the schema file could not be applied; this worker ends", exc_info=error)
            self.end(End(EXIT_FAILED, restart=True))

    def _heard(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self.end(End(restart=message["stop"]["restart"], within=message["stop"]["within"]))
        elif self._worker is not None:
            self._worker.heard(message)

    async def _answer(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "ping":
            return None
        worker = await asyncio.shield(self._made)  # a question may come before the worker is there
        return await worker.answer(name, arguments)

    def _lost(self) -> None:
        self._link.lost()
        if not self._end.done():
            log.error("the process that follows the database is gone, and so this worker ends [%s]", INGEST_LOST)
        self.end(End(EXIT_FAILED, restart=True))

    def _supervisor_failed(self, error: BaseException | None) -> None:
        if not self._end.done():
            text = f"{type(error).__name__}: {error}"
            log.critical("the supervisor failed, and so the process ends: %s [%s]", text, SUPERVISOR_FAILED)
        self.end(End(EXIT_SUPERVISOR_FAILED, restart=True))


async def _run(descriptor: int) -> int:
    return await Process().run(socket.socket(fileno=descriptor))


def main() -> int:
    """Run the worker whose end of the socket has this descriptor."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    return asyncio.run(_run(int(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
