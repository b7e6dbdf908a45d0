"""Is the service well, and are new clients welcome? What load balancers and people at night ask first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How a source stands: IDLE, CONNECTING, LIVE, STALE or FAILED; `since` in seconds since 1970."""

    name: str
    state: str
    reason: str | None
    since: float


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The schema file that is served: when it was read, in seconds since 1970; and what is wrong with the file of this
    moment, where it can't be used."""

    loaded_at: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How a worker process stands: starting, running, restarting or stopped; `last_exit` is how the last one ended."""

    name: str
    state: str
    pid: int | None
    restarts: int
    last_exit: str | None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`ready`: new clients are welcome. `workers` are none where one process does everything."""

    ready: bool
    sources: tuple[SourceStatus, ...]
    schema: SchemaStatus = SchemaStatus(0.0)
    workers: tuple[WorkerStatus, ...] = ()


def health(status: ServiceStatus) -> tuple[int, dict[str, Any]]:
    """Status code and body of /health: 503 where no source can be served, `degraded` where one is stale, has failed,
    or does not get its first rows, or where a worker does not run."""
    troubled = [
        source
        for source in status.sources
        if source.state in ("STALE", "FAILED") or (source.state == "CONNECTING" and source.reason is not None)
    ]
    missing = [worker for worker in status.workers if worker.state != "running"]
    failed = [source for source in status.sources if source.state == "FAILED"]
    served = not status.sources or len(failed) < len(status.sources)
    body: dict[str, Any] = {
        "status": "failed" if not served else "degraded" if troubled or missing else "ok",
        "sources": {
            source.name: {"state": source.state, "reason": source.reason, "since": source.since}
            for source in status.sources
        },
        "schema": {"loaded_at": status.schema.loaded_at, "error": status.schema.error},
    }
    if status.workers:
        body["workers"] = [asdict(worker) for worker in status.workers]
    return (200 if served else 503), body


def readiness(status: ServiceStatus) -> tuple[int, dict[str, Any]]:
    """Status code and body of /ready."""
    return (200 if status.ready else 503), {"ready": status.ready}
