"""The composition root: the one place that knows everything. It builds settings -> actors -> web server, and stops them
in the right order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any

import pykka
from pykka import ActorRef

from actors.connection import (
    CloseConnection,
    ConnectionActor,
    ConnectionConfig,
    FrameReceived,
    SocketClosed,
    SocketDrained,
)
from actors.runtime import Dispatcher, stop_actor, tell
from actors.source import ReadRows, SourceActor, SourceConfig, SourceMemory, SourceUnavailableError
from actors.supervisor import ListActors, Restart, SourceBoard, StartChild, StopChildren, Supervisor
from tycostream import model
from tycostream.filters import Filter
from tycostream.graphql import Engine, Limits, UnavailableError
from tycostream.model import Catalog, Row
from tycostream.settings import Settings
from tycostream.views import RowCache

log = logging.getLogger("tycostream")

STOP_ORDER = ("connection", "source", "feed")


class Service:
    """A running tycostream. `start`, then `stop`; or `running()` as an async context."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self.port = 0
        self.board = SourceBoard()
        self._directory: dict[tuple[str, str], ActorRef[Any]] = {}
        self._numbers = count(1)
