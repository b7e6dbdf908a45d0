"""Replication slots and the publications that go with them: temporary ones, made for one stream, and durable ones, from
which the next stream goes on.

A durable slot keeps the log from its confirmed position on, and its publication says what is sent of it. PostgreSQL
reads the publication's definition as it was at each position of the log (logical decoding looks at the catalog of that
time), so a table has a past in the slot from when it was added, and a publication must be older than its slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from psycopg2 import sql

from tycostream.databases.connection import AsyncConnection
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres.catalog import Table
from tycostream.errors import known

log = logging.getLogger("tycostream.postgres")

NAME = re.compile(r"^tycostream_([0-9a-f]{12})$")
WRITERS_SECONDS = 0.1
"""How long whoever writes has to look up the publications that its table was in a moment ago."""

SLOT_LOST = known("SLOT_LOST")

Waiting = Callable[[str | None], None]


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
    export: bool = False,
    durable: bool = False,
    timeout: float,
    waiting: Waiting,
) -> tuple[int, str | None]:
    """Make a slot on a replication connection: (consistent point, exported snapshot's name).

    The server waits for the transactions that are open at this moment to end (PostgreSQL documentation, "Logical
    Decoding Concepts"); `waiting` is told of them. Raises DatabaseError when they have not ended within `timeout`
    seconds: close the connection then.
    """
    kind = "" if durable else "TEMPORARY "
    mode = "EXPORT_SNAPSHOT" if export else "NOEXPORT_SNAPSHOT"
    creating = asyncio.ensure_future(
        connection.execute(f"CREATE_REPLICATION_SLOT {name} {kind}LOGICAL pgoutput {mode}")
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


class Publication:
    """What is sent of the log. Statements run on an ordinary connection."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def exists(self, admin: AsyncConnection) -> bool:
        """Whether it is there."""
        return bool(await admin.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", (self.name,)))

    async def create(self, admin: AsyncConnection) -> None:
        """Make it, without tables."""
        await admin.execute(
            sql.SQL("CREATE PUBLICATION {} WITH (publish_via_partition_root = true)").format(sql.Identifier(self.name))
        )

    async def add(self, admin: AsyncConnection, table: Table) -> None:
        """Send a table's changes from now on. ONLY: a table's partitions follow from the publication's option, other
        children are not ours."""
        await admin.execute(
            sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}").format(sql.Identifier(self.name), table.identifier)
        )

    async def withdraw(self, admin: AsyncConnection, table: Table) -> None:
        """Send them no more."""
        await admin.execute(
            sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(sql.Identifier(self.name), table.identifier)
        )

    async def drop(self, admin: AsyncConnection) -> None:
        """First its tables, then the publication. The server looks up a table's publications for whoever writes to it,
        one after the other: if one of them goes in the middle of that, the writer's statement fails with "cache lookup
        failed for publication" (RelationBuildPublicationDesc in src/backend/utils/cache/relcache.c)."""
        tables = await self.memberships(admin)
        if tables:
            named = sql.SQL(", ").join(table.identifier for table, _membership in tables.values())
            with contextlib.suppress(DatabaseError):  # a table may be gone
                await admin.execute(
                    sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(sql.Identifier(self.name), named)
                )
                await asyncio.sleep(WRITERS_SECONDS)
        await admin.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self.name)))

    async def memberships(self, admin: AsyncConnection) -> dict[int, tuple[Table, str]]:
        """Its tables by OID, each with what tells this membership from a later one of the same table."""
        rows = await admin.execute(
            "SELECT c.oid, n.nspname, c.relname, r.oid FROM pg_publication p"
            " JOIN pg_publication_rel r ON r.prpubid = p.oid JOIN pg_class c ON c.oid = r.prrelid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s",
            (self.name,),
        )
        return {int(oid): (Table(int(oid), schema, name), membership) for oid, schema, name, membership in rows}


async def column_types(connection: AsyncConnection, table: Table) -> dict[str, int]:
    """The types of a table's columns, as OIDs."""
    rows = await connection.execute(
        "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped",
        (table.oid,),
    )
    return {name: int(oid) for name, oid in rows}


class TemporarySlot:
    """A slot that ends with its connection, and a publication of the same name. An advisory lock on the name is held
    for as long as the ordinary connection lives: a publication whose lock can be had, and whose slot is gone, is the
    left-over of a process that was killed."""

    durable = False

    def __init__(self) -> None:
        self.name = new_name()
        self.publication = Publication(self.name)

    async def open(
        self, admin: AsyncConnection, replication: AsyncConnection, timeout: float, waiting: Waiting
    ) -> None:
        """Make both."""
        await _remove_left_overs(admin)
        await admin.execute("SELECT pg_advisory_lock(%s)", (_lock_key(self.name),))
        await self.publication.create(admin)
        await create_slot(replication, admin, self.name, timeout=timeout, waiting=waiting)


@dataclass(frozen=True, slots=True)
class Found:
    """A slot as the server shows it."""

    plugin: str | None
    here: bool
    temporary: bool
    pid: str | None
    application: str | None
    usable: bool
    confirmed: int


class DurableSlot:
    """A slot that stays, with a publication of the same name. After `open`, `confirmed` is from where it can be read,
    and `history` names the server whose log that is: another timeline may lack what this one had."""

    durable = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.publication = Publication(name)
        self.confirmed = 0
        self.history = ""

    async def open(
        self,
        admin: AsyncConnection,
        replication: AsyncConnection,
        timeout: float,
        waiting: Waiting,
        left_pid: int | None = None,
    ) -> None:
        """Find it, or make it. `left_pid` is the server process of a connection of ours that was lost, which may hold
        the slot until the server notices."""
        ((system, timeline, *_),) = await replication.execute("IDENTIFY_SYSTEM")
        self.history = f"{system}.{timeline}"
        found = await self._find(admin)
        if found is not None and found.pid is not None and found.pid == str(left_pid):
            await admin.execute("SELECT pg_terminate_backend(%s, 1000)", (left_pid,))
            found = await self._find(admin)
        if found is not None:
            self._refuse(found)
        published = await self.publication.exists(admin)
        why = "it can't be used any more (wal_status lost)" if found is not None and not found.usable else None
        if found is not None and not published:
            why = "its publication is gone"
        if why is not None:
            log.warning(
                "replication slot %s is made anew: %s; sources read new snapshots [%s]", self.name, why, SLOT_LOST
            )
            await admin.execute("SELECT pg_drop_replication_slot(%s)", (self.name,))
            found = None
        if not published:
            await self.publication.create(admin)
        if found is not None:
            self.confirmed = found.confirmed
            return
        self.confirmed, _ = await create_slot(
            replication, admin, self.name, durable=True, timeout=timeout, waiting=waiting
        )

    async def _find(self, admin: AsyncConnection) -> Found | None:
        rows = await admin.execute(
            "SELECT s.plugin, s.database = current_database(), s.temporary, s.active_pid, a.application_name,"
            " s.wal_status IS DISTINCT FROM 'lost' AND s.confirmed_flush_lsn IS NOT NULL, s.confirmed_flush_lsn"
            " FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = %s",
            (self.name,),
        )
        for plugin, here, temporary, pid, application, usable, confirmed in rows:
            lsn = 0 if confirmed is None else parse_lsn(confirmed)
            return Found(plugin, here == "t", temporary == "t", pid, application, usable == "t", lsn)
        return None

    def _refuse(self, found: Found) -> None:
        """Raises DatabaseError where the slot is not ours to use."""
        name = f"replication slot {self.name}"
        elsewhere = "name another one in REPLICATION_SLOT"
        if found.plugin != "pgoutput":
            kind = "physical" if found.plugin is None else f"for {found.plugin}, not pgoutput"
            raise DatabaseError(f"{name} is {kind}", hint=elsewhere, permanent=True)
        if not found.here or found.temporary:
            kind = "temporary" if found.temporary else "of another database"
            raise DatabaseError(f"{name} is {kind}", hint=elsewhere, permanent=True)
        if found.pid is not None:
            by = f" ({found.application})" if found.application else ""
            raise DatabaseError(
                f"{name} is in use by process {found.pid} of the server{by}",
                hint="each tycostream needs a REPLICATION_SLOT of its own",
            )


async def _remove_left_overs(admin: AsyncConnection) -> None:
    names = await admin.execute(
        "SELECT p.pubname FROM pg_publication p WHERE p.pubname LIKE 'tycostream\\_%%' AND NOT EXISTS"
        " (SELECT FROM pg_replication_slots s WHERE s.slot_name = p.pubname AND (s.active OR NOT s.temporary))",
        (),
    )
    for (name,) in names:
        if not NAME.match(name):
            continue
        key = _lock_key(name)
        ((free,),) = await admin.execute("SELECT pg_try_advisory_lock(%s)", (key,))
        if free == "t":
            with contextlib.suppress(DatabaseError):  # somebody else's, by rights
                await Publication(name).drop(admin)
            await admin.execute("SELECT pg_advisory_unlock(%s)", (key,))


def _lock_key(name: str) -> int:
    """An advisory lock's number for one of our names: "ty" and the name's digits, in 64 bits."""
    return (0x7479 << 48) | int(name.rpartition("_")[2], 16)
