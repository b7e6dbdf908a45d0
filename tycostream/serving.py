"""The life of the process that serves: its signals, what runs beside the service, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence

from tycostream.app import PACKAGES, WITH_WORKERS, Companion, Service, WorkerFailedError
from tycostream.databases.driver import DatabaseError
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.ending import EXIT_SIGNALLED, EXIT_SUPERVISOR_FAILED, End, Ending, exit_at_once
from tycostream.errors import known
from tycostream.garbage import collect_now_and_then
from tycostream.logs import configure_logging, tune_collector
from tycostream.model import Catalog
from tycostream.reload import POLL_SECONDS, Reloader
from tycostream.reload.restart import CodeWatch
from tycostream.settings import Settings
from tycostream.web.application import Route

log = logging.getLogger("tycostream")

START_FAILED = known("START_FAILED")
SUPERVISOR_FAILED = known("SUPERVISOR_FAILED")

RESTART = -1
"""In the place of an exit code: the process is to start again."""


async def serve(
    settings: Settings,
    catalog: Catalog,
    *,
    started: Companion | None = None,
    routes: Sequence[Route] = (),
    embedded: EmbeddedPostgres | None = None,
    reload: bool = False,
) -> int:
    """Serve until the process is to end (see ending.py). Returns its exit code, or RESTART. `started` runs beside the
    service; for `routes` and `embedded` see `Service`.

    SIGHUP has the schema file read again; with `reload` it is also read when it has changed, and the process starts
    again when its code has.
    """
    workers = settings.service.workers
    configure_logging(settings.service.log_level, WITH_WORKERS if workers else "")
    ending = Ending()
    service = Service(settings, catalog, routes, embedded)
    reloader = Reloader(settings.service.schema_path, service)
    _heed_hangup(ending.hung_up, reloader.ask)
    try:
        await service.start()
    except DatabaseError as error:
        log.error("can't start: %s%s [%s]", error, f" ({error.hint})" if error.hint else "", START_FAILED)
        return 1
    except OSError as error:
        log.error("can't listen on port %d: %s [%s]", settings.service.port, error.strerror or error, START_FAILED)
        return 1
    except WorkerFailedError as error:
        log.error("can't start: %s [%s]", error, START_FAILED)
        return 1
    service.on_supervisor_end(ending.failed)
    tune_collector()
    also = f" with {workers} workers" if workers else ""
    log.info("serving %s at http://localhost:%d/graphql%s", ", ".join(catalog.sources), service.port, also)
    companions = [asyncio.ensure_future(reloader.run(POLL_SECONDS if reload else None))]
    companions.append(asyncio.ensure_future(collect_now_and_then(service.collections)))
    if started is not None:
        companions.append(asyncio.ensure_future(started(service)))
    code = asyncio.ensure_future(CodeWatch(PACKAGES, POLL_SECONDS).changed()) if reload else None
    if code is not None:
        code.add_done_callback(lambda _changed: ending.changed())
        companions.append(code)
    end = await ending.wait()
    again = end.error is None and code is not None and code.done()
    _tell(end, again=again)
    for companion in companions:
        companion.cancel()
    await asyncio.gather(*companions, return_exceptions=True)
    signalled = await ending.hurried(service.stop(restart=end.restart or end.error is not None))
    if signalled is not None:
        log.warning("told twice: ending at once")
        await service.stop_database()
        exit_at_once(EXIT_SIGNALLED + signalled)
    if end.error is not None:
        return EXIT_SUPERVISOR_FAILED
    return RESTART if again else 0


def _tell(end: End, *, again: bool) -> None:
    if end.error is not None:
        text = f"{type(end.error).__name__}: {end.error}"
        log.critical("the supervisor failed, and so the process ends: %s [%s]", text, SUPERVISOR_FAILED)
    elif again:
        log.info("the code has changed: starting again")
    else:
        log.info("stopping%s", ", to be restarted" if end.restart else "")


def _heed_hangup(stop: Callable[[], None], reload: Callable[[], None]) -> None:
    """SIGHUP reloads, unless it says that the terminal is gone that this was started in; then it stops, as it always
    did."""
    loop = asyncio.get_running_loop()
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup: nothing that happens to the terminal matters
    had_terminal = not ignored and _has_terminal()
    loop.add_signal_handler(signal.SIGHUP, lambda: stop() if had_terminal and not _has_terminal() else reload())


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
