"""The replication stream that all sources of a database share: its slot, its publication, its reading."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from zlib import crc32

import psycopg2

from tycostream.databases.connection import AsyncConnection, ConnectionParameters, connect, translate
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres.catalog import Table
from tycostream.databases.postgres.kept import History, Kept, RowMessage
from tycostream.databases.postgres.pgoutput import ROWS, Begin, Commit, Truncate, WireRelation, decode
from tycostream.databases.postgres.slots import DurableSlot, TemporarySlot, column_types

TICK_MESSAGES = 2000
TICK_SECONDS = 0.005
"""How much is read before the loop has its turn."""

STATUS_SECONDS = 5.0
"""How often the connection is looked at when nothing comes, so that the server hears from us before it gives us up
(wal_sender_timeout, 60 s by default)."""

QUIET_SHARE = 0.25
"""After this share of the silence that is borne, the server is asked for a sign of life."""

PROGRESS_SECONDS = 0.25
"""How soon followers of a durable slot are told how far the stream has come."""

KEEP_SECONDS = 60.0
"""For how long followers may come back to a durable slot's stream that was opened again, or that they have left: longer
than the longest wait between two attempts (RECONNECT_MAX_MS) by default."""

_MARK_SECONDS = 1.0


class Follower(Protocol):
    """Who is told of a table's changes."""

    tables: Sequence[Table]

    def on_transaction(
        self, lsn: int, committed_at: float, changes: Sequence[tuple[WireRelation, RowMessage]], xid: int
    ) -> None:
        """The changes of one transaction to this follower's tables, in order; `lsn` is the commit's end. Other sessions
        may not see them yet."""

    def on_start(self, history: History | None) -> None:
        """What the slot tells of the past; before anything else. None where a follower has several tables, and where
        the slot is a temporary one, which has no past. After it, with a durable slot, comes whatever is committed."""

    def on_progress(self, lsn: int) -> None:
        """All that was committed up to there has been told. Durable slots only."""

    async def ready(self) -> None:
        """Wait until this follower has handled most of what it was told."""


@dataclass(frozen=True, slots=True)
class DurableOptions:
    """A slot that stays. `hold_back`: how many seconds of the log it keeps although they have been read, so that
    cursors of that time outlive the process."""

    slot: str
    hold_back: float = 300.0


@dataclass(frozen=True, slots=True)
class Left:
    """Where a stream was when it was lost, the server process that served it, and how many followed which tables."""

    lsn: int
    pid: int
    followers: Mapping[int, int] = field(default_factory=dict)


class ReplicationStream:
    """One replication connection with its slot and publication, and who follows which tables.

    A second, ordinary connection manages the publication. With a durable slot, what is committed to tables that were
    followed before is kept for a while, for those who come back to them. `left` is where the stream before this one
    was: everybody who followed has been told everything up to there.
    """

    def __init__(
        self,
        parameters: ConnectionParameters,
        *,
        slot_timeout: float,
        durable: DurableOptions | None = None,
        left: Left | None = None,
    ) -> None:
        self._parameters = parameters
        self._slot_timeout = slot_timeout
        self._durable = None if durable is None else DurableSlot(durable.slot)
        self._hold_back = 0.0 if durable is None else durable.hold_back
        self._left = left
        self._slot: DurableSlot | TemporarySlot = self._durable or TemporarySlot()
        self._admin: AsyncConnection | None = None
        self._replication: AsyncConnection | None = None
        self._cursor: Any = None
        self._altering = asyncio.Lock()
        self._published: dict[int, set[Follower]] = {}
        self._memberships: dict[int, tuple[Table, str]] = {}
        """Of a durable slot's publication."""
        self._kept: dict[int, Kept] = {}
        self._awaited = {} if left is None else dict(left.followers)
        """How many of a table's followers are not back yet."""
        self._followers: dict[int, dict[Follower, None]] = {}
        self._relations: dict[int, WireRelation] = {}
        self._transaction: dict[Follower, list[tuple[WireRelation, RowMessage]]] = {}
        self._paused: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heard = time.monotonic()
        self._within = False
        self._xid = 0
        self._marks: deque[tuple[float, int]] = deque()
        self._told = 0
        self.lsn = 0
        self.pid = 0
        self.transactions = 0

    @property
    def slot(self) -> str:
        """The slot's name."""
        return self._slot.name

    async def open(self, waiting: Callable[[str | None], None]) -> None:
        """Connect, make the slot or find it, and start streaming. Raises DatabaseError."""
        self._admin = await connect(self._parameters)
        self._replication = await connect(self._parameters, replication=True)
        self.pid = self._replication.backend_pid
        start = 0
        if self._durable is not None:
            left_pid = None if self._left is None else self._left.pid
            await self._durable.open(self._admin, self._replication, self._slot_timeout, waiting, left_pid)
            start = self._durable.confirmed if self._left is None else max(self._durable.confirmed, self._left.lsn)
            await self._expect_back(self._admin, start)
        else:
            await self._slot.open(self._admin, self._replication, self._slot_timeout, waiting)
        self._cursor = self._replication.raw.cursor()
        try:
            self._cursor.start_replication(
                slot_name=self._slot.name,
                start_lsn=start,
                decode=False,
                options={"proto_version": "1", "publication_names": self._slot.name},
                status_interval=10,
            )
            await self._replication.wait()
        except psycopg2.Error as error:
            raise translate(error, self._parameters) from None

    async def _expect_back(self, admin: AsyncConnection, start: int) -> None:
        """Tables that were followed before have a past from where the stream starts."""
        self.lsn = self._told = start
        self._memberships = await self._slot.publication.memberships(admin)
        for oid, (table, _membership) in self._memberships.items():
            kept = self._kept[oid] = Kept(table, start)
            self._followers[oid] = {kept: None}
        self._sweep_later()

    async def follow(self, follower: Follower) -> None:
        """Publish the follower's tables, and tell it of everything that is committed after this returns."""
        async with self._altering:
            for table in follower.tables:
                if table.oid not in self._published and table.oid not in self._memberships:
                    await self._publish(table)
                self._published.setdefault(table.oid, set()).add(follower)
            types = None
            if self._durable is not None and self._admin is not None and len(follower.tables) == 1:
                types = await column_types(self._admin, follower.tables[0])
            for table in follower.tables:
                self._followers.setdefault(table.oid, {})[follower] = None
            self._tell_past(follower, types)
            for table in follower.tables:
                self._is_back(table.oid)

    def _tell_past(self, follower: Follower, types: dict[str, int] | None) -> None:
        """Nothing comes between what was kept and what follows. Rows that were written anew with other types are not in
        the log: such a table has another history."""
        if self._durable is None or types is None:
            follower.on_start(None)
            return
        oid = follower.tables[0].oid
        form = crc32(repr(sorted(types.items())).encode())
        relation = f"{self._durable.history}.{self._memberships[oid][1]}.{form:x}"
        kept = self._kept.get(oid)
        if kept is None:
            follower.on_start(History(relation, types))
        else:
            follower.on_start(History(relation, types, kept.since, list(kept.transactions)))
            if kept in self._transaction:  # one of which the end has not been read
                self._transaction[follower] = list(self._transaction[kept])
        follower.on_progress(self._told)

    def _is_back(self, oid: int) -> None:
        """One of a table's followers has been told its past. Of a stream before this one it is known how many there
        were; of a process before this one it is not."""
        awaited = self._awaited.get(oid, 0)
        self._awaited[oid] = awaited - 1
        if awaited == 1 and (kept := self._kept.pop(oid, None)) is not None:
            self._followers[oid].pop(kept)
            self._transaction.pop(kept, None)

    def left(self) -> Left:
        """What the next stream has to know, should this one be lost."""
        return Left(self.lsn, self.pid, {oid: len(followers) for oid, followers in self._published.items()})

    async def unfollow(self, follower: Follower) -> None:
        """The follower hears nothing more; tables that nobody follows are published no longer, those of a durable slot
        after a while."""
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
                        if self._durable is None:
                            await self._withdraw(table)
                        else:
                            self._sweep_later()

    async def _publish(self, table: Table) -> None:
        admin = self._admin
        if admin is None:
            raise DatabaseError("the replication stream is closed")
        await self._slot.publication.add(admin, table)
        if self._durable is not None:
            self._memberships = await self._slot.publication.memberships(admin)

    async def _withdraw(self, table: Table) -> None:
        admin = self._admin
        if admin is None:
            raise DatabaseError("the replication stream is closed")
        with contextlib.suppress(DatabaseError):  # the table may be gone
            await self._slot.publication.withdraw(admin, table)

    def _sweep_later(self) -> None:
        if self._sweep is None and self._sweeping is None:
            self._sweep = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._start_sweep)

    def _start_sweep(self) -> None:
        self._sweep = None
        self._sweeping = asyncio.ensure_future(self._withdraw_unfollowed())

    async def _withdraw_unfollowed(self) -> None:
        """Nobody else is expected back."""
        for oid, kept in self._kept.items():
            self._followers.get(oid, {}).pop(kept, None)
        self._kept.clear()
        async with self._altering:
            for oid, (table, _membership) in list(self._memberships.items()):
                if oid not in self._published and self._admin is not None:
                    await self._withdraw(table)
                    del self._memberships[oid]
        self._sweeping = None

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
            self._tell_progress()

    async def close(self) -> None:
        """Disconnect, and remove what was made in the database and is not to stay."""
        for timer in (self._sweep, self._telling):
            if timer is not None:
                timer.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})
        # Its error's traceback keeps this object until garbage is collected, and is not to keep all that came
        for held in (self._kept, self._followers, self._transaction):
            held.clear()
        if self._replication is not None:
            self._replication.close()
            self._replication = None
        if self._admin is not None:
            admin, self._admin = self._admin, None
            async with self._altering:
                try:
                    if self._durable is None:
                        async with asyncio.timeout(2.0):
                            await self._slot.publication.drop(admin)
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
                    self._tell_progress_soon()
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
        if isinstance(message, ROWS):
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
            self._within = True

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
        self._within = False
        if self._durable is None:
            self._cursor.send_feedback(write_lsn=commit.end_lsn, flush_lsn=commit.end_lsn, apply_lsn=commit.end_lsn)
        else:
            self._tell_progress_soon()

    # Progress of a durable slot

    def _tell_progress_soon(self) -> None:
        if self._durable is not None and self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(PROGRESS_SECONDS, self._tell_progress)

    def _tell_progress(self) -> None:
        """Tell followers how far the stream has come, also where nothing concerned them; confirm what is old enough."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._durable is None or self._cursor is None:
            return
        if not self._within:  # the server has nothing for us before the end of the log that it has told
            self.lsn = max(self.lsn, self._cursor.wal_end)
        if self.lsn > self._told:
            self._told = self.lsn
            for follower in {one for followers in self._followers.values() for one in followers}:
                follower.on_progress(self.lsn)
            self._cursor.send_feedback(write_lsn=self.lsn)
        self._confirm(time.monotonic())

    def _confirm(self, now: float) -> None:
        """What the slot need not keep any more. While somebody is expected back, it keeps everything."""
        marks = self._marks
        if not marks or (self._told > marks[-1][1] and now >= marks[-1][0] + _MARK_SECONDS):
            marks.append((now, self._told))
        confirmed = 0
        while marks and marks[0][0] <= now - self._hold_back and not self._kept:
            confirmed = marks.popleft()[1]
        if confirmed:
            self._cursor.send_feedback(flush_lsn=confirmed, apply_lsn=confirmed)
