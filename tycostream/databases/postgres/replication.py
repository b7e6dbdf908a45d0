"""The replication stream that all sources of a database share: its slot, its publication, its reading."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import psycopg2
from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, connect, translate
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres.catalog import Table
from tycostream.databases.postgres.pgoutput import (
    Begin,
    Commit,
    Delete,
    Insert,
    Truncate,
    Update,
    WireRelation,
    decode,
)

_PUBLISHED = """
SELECT n.nspname, c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s
"""

RowMessage = Insert | Update | Delete | Truncate

TICK_MESSAGES = 2000
TICK_SECONDS = 0.005
"""How much is read before the loop has its turn."""

STATUS_SECONDS = 5.0
"""How often the connection is looked at when nothing comes, so that the server hears from us before it gives us up
(wal_sender_timeout, 60 s by default)."""

QUIET_SHARE = 0.25
"""After this share of the silence that is borne, the server is asked for a sign of life."""

WRITERS_SECONDS = 0.1
"""How long whoever writes has to look up the publications that its table was in a moment ago."""

NAME = re.compile(r"^tycostream_([0-9a-f]{12})$")


class Follower(Protocol):
    """Who is told of a table's changes."""

    tables: Sequence[Table]

    def on_transaction(
        self, lsn: int, committed_at: float, changes: Sequence[tuple[WireRelation, RowMessage]], xid: int
    ) -> None:
        """The changes of one transaction to this follower's tables, in order; `lsn` is the commit's end. Other sessions
        may not see them yet."""

    async def ready(self) -> None:
        """Wait until this follower has handled most of what it was told."""


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def new_name() -> str:
    """A name for a slot or publication, recognised as ours."""
    return f"tycostream_{secrets.token_hex(6)}"


async def create_slot(
    connection: AsyncConnection,
    admin: AsyncConnection,
    name: str,
    *,
    export: bool,
    timeout: float,
    waiting: Callable[[str | None], None],
) -> tuple[int, str | None]:
    """Make a temporary slot on a replication connection: (consistent point, exported snapshot's name).

    The server waits for the transactions that are open at this moment to end (PostgreSQL documentation, "Logical
    Decoding Concepts"); `waiting` is told of them. Raises DatabaseError when they have not ended within `timeout`
    seconds: close the connection then.
    """
    mode = "EXPORT_SNAPSHOT" if export else "NOEXPORT_SNAPSHOT"
    creating = asyncio.ensure_future(
        connection.execute(f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput {mode}")
    )
    deadline = time.monotonic() + timeout
    reason = None
    try:
        while not (await asyncio.wait({creating}, timeout=1.0))[0]:
            reason = await _open_transactions(admin)
            waiting(reason)
            if time.monotonic() >= deadline:
                raise DatabaseError(
                    f"no replication slot within {timeout:g} s: {reason or 'the server does not answer'}",
                    hint="end the transactions that are open (pg_stat_activity), or raise SLOT_TIMEOUT_SECONDS",
                )
        ((_name, lsn, snapshot, _plugin),) = creating.result()
    finally:
        creating.cancel()
        with contextlib.suppress(asyncio.CancelledError, DatabaseError):
            await creating
        if reason is not None:
            waiting(None)
    return parse_lsn(lsn), snapshot


async def _open_transactions(admin: AsyncConnection) -> str | None:
    found = await admin.execute(
        "SELECT pid, extract(epoch FROM now() - xact_start)::int FROM pg_stat_activity"
        " WHERE backend_xid IS NOT NULL ORDER BY xact_start"
    )
    if not found:
        return None
    pid, age = found[0]
    count = f"{len(found)} open transactions" if len(found) > 1 else "an open transaction"
    return f"waiting for {count} to end (pid {pid}, open for {age} s)"


class ReplicationStream:
    """One replication connection with a slot and a publication of its own, and who follows which tables.

    A second, ordinary connection manages the publication and holds an advisory lock on its name for as long as it
    lives: a publication whose lock can be had, and whose slot is gone, is the left-over of a process that was killed.
    """

    def __init__(self, parameters: ConnectionParameters, *, slot_timeout: float) -> None:
        self._parameters = parameters
        self._slot_timeout = slot_timeout
        self._name = new_name()
        self._admin: AsyncConnection | None = None
        self._replication: AsyncConnection | None = None
        self._cursor: Any = None
        self._altering = asyncio.Lock()
        self._published: dict[int, set[Follower]] = {}
        self._followers: dict[int, dict[Follower, None]] = {}
        self._relations: dict[int, WireRelation] = {}
        self._transaction: dict[Follower, list[tuple[WireRelation, RowMessage]]] = {}
        self._paused: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = time.monotonic()
        self._xid = 0
        self.lsn = 0
        self.transactions = 0

    async def open(self, waiting: Callable[[str | None], None]) -> None:
        """Connect, clean up after processes that were killed, and start streaming. Raises DatabaseError."""
        self._admin = await connect(self._parameters)
        await self._remove_left_overs(self._admin)
        await self._admin.execute("SELECT pg_advisory_lock(%s)", (_lock_key(self._name),))
        await self._admin.execute(
            sql.SQL("CREATE PUBLICATION {} WITH (publish_via_partition_root = true)").format(sql.Identifier(self._name))
        )
        self._replication = await connect(self._parameters, replication=True)
        await create_slot(
            self._replication, self._admin, self._name, export=False, timeout=self._slot_timeout, waiting=waiting
        )
        self._cursor = self._replication.raw.cursor()
        try:
            self._cursor.start_replication(
                slot_name=self._name,
                decode=False,
                options={"proto_version": "1", "publication_names": self._name},
                status_interval=10,
            )
            await self._replication.wait()
        except psycopg2.Error as error:
            raise translate(error, self._parameters) from None

    async def follow(self, follower: Follower) -> None:
        """Publish the follower's tables. It hears of everything that is committed after this returns."""
        assert self._admin is not None
        for table in follower.tables:
            self._followers.setdefault(table.oid, {})[follower] = None
        async with self._altering:
            for table in follower.tables:
                if table.oid not in self._published:
                    await self._alter("ADD", table)
                self._published.setdefault(table.oid, set()).add(follower)

    async def unfollow(self, follower: Follower) -> None:
        """The follower hears nothing more; tables that nobody follows are published no longer."""
        for table in follower.tables:
            self._followers.get(table.oid, {}).pop(follower, None)
        self._transaction.pop(follower, None)
        async with self._altering:
            for table in follower.tables:
                followers = self._published.get(table.oid, set())
                if follower in followers:
                    followers.remove(follower)
                    if not followers:
                        del self._published[table.oid]
                        with contextlib.suppress(DatabaseError):  # the table may be gone
                            await self._alter("DROP", table)

    async def _alter(self, action: str, table: Table) -> None:
        if self._admin is None:
            raise DatabaseError("the replication stream is closed")
        await self._admin.execute(
            sql.SQL("ALTER PUBLICATION {} {} TABLE {}").format(
                sql.Identifier(self._name),
                sql.SQL(action),
                # ONLY: a table's partitions follow from the publication's option, other children are not ours
                sql.SQL("ONLY {}").format(table.identifier) if action == "ADD" else table.identifier,
            )
        )

    async def read(self) -> None:
        """Read and hand on until the stream ends. Raises DatabaseError, also when the server has been silent for too
        long though it was asked for a sign of life."""
        assert self._replication is not None
        loop = asyncio.get_running_loop()
        descriptor = self._replication.raw.fileno()
        quiet = self._parameters.silence * QUIET_SHARE
        loop.add_reader(descriptor, self._hear)
        try:
            self._hear()
            while True:
                done, _ = await asyncio.wait({self._ended}, timeout=min(STATUS_SECONDS, quiet or STATUS_SECONDS))
                if done:
                    return self._ended.result()
                if self._paused is None:
                    self._drain()
                    self._listen(quiet)
        finally:
            loop.remove_reader(descriptor)
            if self._paused is not None:
                self._paused.cancel()

    async def close(self) -> None:
        """Remove what was made in the database, and disconnect."""
        if self._replication is not None:
            self._replication.close()
            self._replication = None
        if self._admin is not None:
            admin, self._admin = self._admin, None
            async with self._altering:
                try:
                    async with asyncio.timeout(2.0):
                        await _drop_publication(admin, self._name)
                except (DatabaseError, TimeoutError):
                    pass  # the next start removes it
                finally:
                    admin.close()

    # Reading

    def _hear(self) -> None:
        """There is something to read."""
        self._heard = time.monotonic()
        self._drain()

    def _listen(self, quiet: float) -> None:
        """Ask the server whether it is there when it has said nothing for these seconds (it answers with a keepalive:
        PostgreSQL documentation, "Streaming Replication Protocol", standby status update), and give it up after all."""
        silent = time.monotonic() - self._heard
        if not quiet or silent < quiet or self._ended.done():
            return
        if silent >= self._parameters.silence:
            self._end(
                DatabaseError(
                    f"the replication stream has been silent for {self._parameters.silence:g} s",
                    hint="does the database run? DATABASE_SILENCE_SECONDS is the limit",
                )
            )
            return
        try:
            self._cursor.send_feedback(reply=True)
        except psycopg2.Error as error:
            self._end(translate(error, self._parameters))

    def _drain(self) -> None:
        """Read what is there, up to a tick's worth."""
        if self._ended.done() or self._paused is not None:
            return
        read = self._cursor.read_message
        deadline = time.perf_counter() + TICK_SECONDS
        try:
            for count in range(1, TICK_MESSAGES + 1):
                message = read()
                if message is None:
                    return
                self._handle(message.payload)
                if count % 64 == 0 and time.perf_counter() > deadline:
                    break
        except psycopg2.Error as error:
            self._end(translate(error, self._parameters))
            return
        except Exception as error:
            self._end(error)
            return
        self._paused = asyncio.ensure_future(self._catch_breath())

    async def _catch_breath(self) -> None:
        """Let the loop go on, and the followers that are behind catch up; then read on."""
        assert self._replication is not None
        loop = asyncio.get_running_loop()
        descriptor = self._replication.raw.fileno()
        loop.remove_reader(descriptor)
        await asyncio.sleep(0)
        for followers in list(self._followers.values()):
            for follower in list(followers):
                await follower.ready()
        self._paused = None
        loop.add_reader(descriptor, self._hear)
        self._hear()  # libpq may hold more than the socket announces

    def _end(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _handle(self, payload: bytes) -> None:
        message = decode(payload)
        if isinstance(message, Insert | Update | Delete):
            self._collect(message.relation, message)
        elif isinstance(message, Commit):
            self._commit(message)
        elif isinstance(message, WireRelation):
            self._relations[message.oid] = message
        elif isinstance(message, Truncate):
            for oid in message.relations:
                self._collect(oid, message)
        elif isinstance(message, Begin):
            self._transaction = {}
            self._xid = message.xid

    def _collect(self, oid: int, message: RowMessage) -> None:
        followers = self._followers.get(oid)
        if followers:
            entry = (self._relations[oid], message)
            for follower in followers:
                changes = self._transaction.get(follower)
                if changes is None:
                    self._transaction[follower] = [entry]
                else:
                    changes.append(entry)

    def _commit(self, commit: Commit) -> None:
        transaction, self._transaction = self._transaction, {}
        self.lsn = commit.end_lsn
        self.transactions += 1
        for follower, changes in transaction.items():
            follower.on_transaction(commit.end_lsn, commit.committed_at, changes, self._xid)
        self._cursor.send_feedback(write_lsn=commit.end_lsn, flush_lsn=commit.end_lsn, apply_lsn=commit.end_lsn)

    # Left-overs

    async def _remove_left_overs(self, admin: AsyncConnection) -> None:
        names = await admin.execute(
            "SELECT p.pubname FROM pg_publication p WHERE p.pubname LIKE 'tycostream\\_%%' AND NOT EXISTS"
            " (SELECT FROM pg_replication_slots s WHERE s.slot_name = p.pubname AND s.active)",
            (),
        )
        for (name,) in names:
            if not NAME.match(name):
                continue
            key = _lock_key(name)
            ((free,),) = await admin.execute("SELECT pg_try_advisory_lock(%s)", (key,))
            if free == "t":
                with contextlib.suppress(DatabaseError):  # somebody else's, by rights
                    await _drop_publication(admin, name)
                await admin.execute("SELECT pg_advisory_unlock(%s)", (key,))


async def _drop_publication(admin: AsyncConnection, name: str) -> None:
    """First its tables, then the publication. The server looks up a table's publications for whoever writes to it, one
    after the other: if one of them goes in the middle of that, the writer's statement fails with "cache lookup failed
    for publication" (RelationBuildPublicationDesc in src/backend/utils/cache/relcache.c)."""
    publication = sql.Identifier(name)
    tables = await admin.execute(_PUBLISHED, (name,))
    if tables:
        named = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
        with contextlib.suppress(DatabaseError):  # a table may be gone
            await admin.execute(sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(publication, named))
            await asyncio.sleep(WRITERS_SECONDS)
    await admin.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(publication))


def _lock_key(name: str) -> int:
    """An advisory lock's number for one of our names: "ty" and the name's digits, in 64 bits."""
    return (0x7479 << 48) | int(name.rpartition("_")[2], 16)
