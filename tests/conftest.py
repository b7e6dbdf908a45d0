"""Fixtures for all tests: the event loop, and the check that a test leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
from collections.abc import Iterator

import psutil
import pytest
from pykka import ActorRegistry
from tornado.ioloop import IOLoop

from tests.support.databases import AnyDatabase
from tests.support.materialize import Simulator
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database, Postgres


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coroutine tests run on a loop of their own, whether they name the fixture or not."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.append("io_loop")


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A fresh loop for each test (in place of pytest-tornasync's), which must have no task left when the test ends."""
    asyncio_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(asyncio_loop)
    loop = IOLoop.current()
    yield loop
    left = loop.run_sync(_tasks_left)
    loop.run_sync(asyncio_loop.shutdown_default_executor)
    loop.close(all_fds=True)
    asyncio_loop.close()
    asyncio.set_event_loop(None)
    assert not left, f"tasks left behind: {left}"


async def _tasks_left() -> list[str]:
    """Tasks that are still there after everything that was about to end has had the chance to."""
    for _ in range(20):
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if not tasks:
            return []
        await asyncio.wait(tasks, timeout=0.05)
    return [repr(task) for task in tasks]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fails a test that leaves an actor, thread, socket or process behind."""
    before = _held()
    yield
    actors = ActorRegistry.get_all()
    for actor in actors:
        ActorRegistry.unregister(actor)
    assert not actors, f"actors left behind: {actors}"
    after = _held()
    if any(after[kind] - before[kind] for kind in after):
        gc.collect()  # what only a cycle holds is not a leak
        after = _held()
    for kind, things in after.items():
        assert not things - before[kind], f"{kind} left behind: {things - before[kind]}"


def _held() -> dict[str, set[str]]:
    sockets = set()
    for descriptor in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:"):
            sockets.add(target)
    children = {
        f"{child.pid} {child.name()}"
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    }
    return {"threads": {thread.name for thread in threading.enumerate()}, "sockets": sockets, "processes": children}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The real PostgreSQL of this test process."""
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def postgres(postgres_server: Postgres) -> Iterator[Database]:
    """A database of the test's own."""
    database = postgres_server.create_database()
    yield database
    database.drop()


@pytest.fixture
def materialize(io_loop: IOLoop, postgres: Database) -> Iterator[MaterializeDatabase]:
    """A Materialize of the test's own, simulated on the test's loop; PostgreSQL runs its SQL."""
    simulator = io_loop.run_sync(Simulator.start)
    database = MaterializeDatabase(simulator, postgres)
    yield database
    database.close()
    io_loop.run_sync(simulator.stop)


@pytest.fixture(params=["postgres", "materialize"])
def database(request: pytest.FixtureRequest) -> AnyDatabase:
    """A database of the test's own, of each kind in turn."""
    found: AnyDatabase = request.getfixturevalue(request.param)
    return found
