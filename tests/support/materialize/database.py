"""The simulator with a real PostgreSQL as its SQL engine, so that the same tests run against both.

SQL is run by PostgreSQL. Then all that its schema public holds, tables and views, is read in one snapshot and compared with what the
simulator holds; the differences become one commit of the simulator, at one timestamp, as a transaction of Materialize would.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import extensions, sql

from tests.support.materialize.relations import Row
from tests.support.materialize.server import HOST, Simulator
from tests.support.materialize.world import Change
from tests.support.postgres import Database
from tycostream.databases.connection import SESSION_OPTIONS, ConnectionParameters

_RELATIONS = """
SELECT c.oid, c.relname, json_object_agg(
    a.attname, format_type(a.atttypid, NULL) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') GROUP BY c.oid, c.relname ORDER BY c.oid
"""


@dataclass(frozen=True, slots=True)
class _Found:
    """A relation of PostgreSQL: its identity, and what it holds or why that can't be told."""

    identity: tuple[str, dict[str, str]]
    rows: Counter[Row]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    number: int
    relations: dict[str, _Found]


class MaterializeDatabase:
    """As tests.support.postgres.Database, for a service that is told that this is Materialize."""

    def __init__(self, simulator: Simulator, database: Database) -> None:
        self.simulator, self.database = simulator, database
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._newest = 0
        self._identities: dict[str, tuple[str, dict[str, str]]] = {}
        self._reader: Any = None

    @property
    def environ(self) -> dict[str, str]:
        """The service's environment variables for this database."""
        return self.simulator.environ

    @property
    def parameters(self) -> ConnectionParameters:
        """How to reach the simulator."""
        behaviour = self.simulator.behaviour
        return ConnectionParameters(
            HOST, self.simulator.port, behaviour.user, behaviour.password or "", behaviour.database
        )

    def connect(self) -> Any:
        """A psycopg2 connection to PostgreSQL; what it commits reaches the simulator with the next `capture` (or `execute`, ...)."""
        return self.database.connect()

    def execute(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run SQL; the last statement's rows. All that it changed is one commit of the simulator. On the loop's thread only."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("the simulator lives on the loop's thread: use run or transaction")
        rows = self.database.execute(statement, parameters)
        self._apply(self._read())
        return rows

    async def run(self, statement: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """As `execute`, while the loop goes on."""
        rows = await self.database.run(statement, parameters)
        await self.capture()
        return rows

    async def transaction(self, statements: Sequence[str], *, commit: bool = True) -> None:
        """Run statements in one transaction, which is committed or rolled back."""
        await self.database.transaction(statements, commit=commit)
        await self.capture()

    async def until(self, statement: str, expected: list[tuple[Any, ...]]) -> None:
        """Wait until a query of PostgreSQL has this answer."""
        deadline = time.monotonic() + 10
        while (found := await self.database.run(statement)) != expected:
            assert time.monotonic() < deadline, f"{statement}: {found}, not {expected}"
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Let go of the connections."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.database.close()

    def drop(self) -> None:
        """The end of the database."""
        self.close()
        self.database.drop()

    # From PostgreSQL to the simulator

    async def capture(self) -> None:
        """What PostgreSQL holds now is what the simulator holds."""
        self._apply(await asyncio.to_thread(self._read))

    def _read(self) -> _Snapshot:
        """One snapshot of all relations, values as PostgreSQL prints them. From any thread."""
        with self._lock:
            if self._reader is None or self._reader.closed:
                self._reader = psycopg2.connect(self.database.dsn, options=f"{SESSION_OPTIONS} -c lock_timeout=10s")
                self._reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
                for oid in extensions.string_types:
                    self._reader.string_types[oid] = extensions.UNICODE
            number = next(self._numbers)
            try:
                with self._reader.cursor() as cursor:
                    cursor.execute(_RELATIONS)
                    found = {name: self._read_one(cursor, oid, name, json.loads(columns)) for oid, name, columns in cursor.fetchall()}  # fmt: skip
            finally:
                self._reader.rollback()
            return _Snapshot(number, found)

    @staticmethod
    def _read_one(cursor: Any, oid: str, name: str, columns: dict[str, str]) -> _Found:
        wanted = sql.SQL(", ").join(map(sql.Identifier, columns))
        cursor.execute("SAVEPOINT relation")
        try:
            cursor.execute(sql.SQL("SELECT {} FROM public.{}").format(wanted, sql.Identifier(name)))
        except psycopg2.DataError as error:  # a view that divides by zero, say
            cursor.execute("ROLLBACK TO relation")
            return _Found((oid, columns), Counter(), error.diag.message_primary)
        return _Found((oid, columns), Counter(cursor.fetchall()))

    def _apply(self, snapshot: _Snapshot) -> None:
        """Make the simulator's relations and rows those of a snapshot, unless a newer one has been there."""
        if snapshot.number < self._newest:
            return
        self._newest = snapshot.number
        found = snapshot.relations
        for name, identity in list(self._identities.items()):
            if name not in found or found[name].identity != identity:
                self.simulator.drop(name)
                del self._identities[name]
        changes: list[Change] = []
        for name, one in found.items():
            if name not in self._identities:
                self.simulator.create(name, one.identity[1])
                self._identities[name] = one.identity
            poison = self.simulator.relation(name).poison
            if one.error is None:
                self.simulator.heal(name)
                changes += self._differences(name, one.rows)
            elif one.error != poison:
                self.simulator.poison(name, one.error)
        if changes:
            self.simulator.commit(changes)

    def _differences(self, name: str, wanted: Counter[Row]) -> list[Change]:
        held = self.simulator.relation(name).contents()
        gone = [(name, row, -count) for row, count in held.items() if row not in wanted]
        return gone + [
            (name, row, count - held.get(row, 0)) for row, count in wanted.items() if held.get(row, 0) != count
        ]
