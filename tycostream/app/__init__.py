"""The composition root: the one place that knows everything. It builds settings -> actors -> web server, and takes them
down in the opposite order."""

from actors.worker import WorkerFailedError
from tycostream.app.core import MakeDriver
from tycostream.app.order import WITH_WORKERS
from tycostream.app.service import PACKAGES, Companion, Service

__all__ = ["PACKAGES", "WITH_WORKERS", "Companion", "MakeDriver", "Service", "WorkerFailedError"]
