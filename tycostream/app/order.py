"""What the process that follows the database hands to a new worker."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from typing import Any

from tycostream.model import Catalog
from tycostream.settings import Settings
from tycostream.settings.environment import DatabaseSettings

LEAST_PENDING_BYTES = 1 << 20


WITH_WORKERS = "ingest"
"""The name of the process that follows the database, where there are others."""


def worker_process(name: str) -> str:
    """The name of a worker's process, to people."""
    return f"worker {name}"


@dataclass(frozen=True, slots=True)
class Order:
    """`settings` are a worker's: see `for_workers`. `status` is what `Workers.publish` said last."""

    name: str
    settings: Settings
    catalog: Catalog
    status: dict[str, Any]

    def pickled(self) -> bytes:
        """For the channel between the two processes, which are of the same program and nobody else's."""
        return pickle.dumps(self)


def unpickled(payload: bytes) -> Any:
    """An order, or a catalog that takes the place of the last."""
    return pickle.loads(payload)  # noqa: S301  # from the process that started this one


def for_workers(settings: Settings, port: int) -> Settings:
    """Settings of each worker: nothing of the database, the port that all share, and its part of what bounds memory."""
    limits, count = settings.limits, settings.service.workers
    pending = max(LEAST_PENDING_BYTES, limits.max_total_pending_bytes // max(1, count))
    return replace(
        settings,
        database=DatabaseSettings(),
        service=replace(settings.service, port=port),
        limits=replace(limits, max_total_pending_bytes=pending),
    )
