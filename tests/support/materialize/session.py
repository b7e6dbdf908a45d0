"""One client's session: authentication, statements, transactions.

Sources: MaterializeInc/materialize src/pgwire/src/protocol.rs (startup, transactions, idle timeout), src/adapter/src/error.rs
(SQLSTATEs and texts), test/pgtest/cursors.pt (cursors and transactions), test/testdrive/cancel-subscribe.td (57014).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from secrets import randbits
from typing import Protocol

from tests.support.materialize import statements as sql
from tests.support.materialize import wire
from tests.support.materialize.answers import Answer, cancelled, oid, relations, select, show_columns
from tests.support.materialize.connection import Connection
from tests.support.materialize.reading import Cursor, collect, copy_out, stream
from tests.support.materialize.relations import column
from tests.support.materialize.startup import CancelRequest, authenticate, greet
from tests.support.materialize.subscribe import Subscription
from tests.support.materialize.syntax import parse
from tests.support.materialize.variables import Variables
from tests.support.materialize.wire import SqlError
from tests.support.materialize.world import World


class Host(Protocol):
    """What a session needs of the simulator."""

    world: World

    def notify(self) -> None:
        """Something has changed that a test may wait for."""

    def cancel(self, pid: int, secret: int | None) -> bool:
        """Cancel what a session does."""

    def planned_failure(self, kind: str) -> SqlError | None:
        """The error that a test wants for a statement of this kind."""


@dataclass
class _Transaction:
    """`reads` is the kind of read that it began with: SELECT or SUBSCRIBE."""

    explicit: bool = False
    failed: bool = False
    reads: str | None = None
    cursors: dict[str, Cursor] = field(default_factory=dict)


class Session:
    """Speaks with one client until it leaves."""

    def __init__(self, host: Host, connection: Connection, pid: int) -> None:
        self.host, self.world, self.connection, self.pid = host, host.world, connection, pid
        self.secret = randbits(32)
        self.parameters: dict[str, str] = {}
        self.options: dict[str, str] = {}
        self.variables = Variables(self.world.behaviour)
        self.statements: list[str] = []
        self.authenticated = self.closed = False
        self._transaction = _Transaction()
        self._running: list[Subscription] = []
        self._waiter: asyncio.Future[None] | None = None
        connection.on_writable = self.wake

    @property
    def status(self) -> str:
        """I (idle), T (in a transaction) or E (in a failed one)."""
        return "E" if self._transaction.failed else "T" if self._transaction.explicit else "I"

    @property
    def waiting(self) -> bool:
        """In the middle of a statement, which waits for rows (or for its client to read)."""
        return self._waiter is not None

    @property
    def subscribing(self) -> bool:
        """Whether it holds a running SUBSCRIBE."""
        return bool(self._running)

    async def run(self) -> None:
        """From the first byte to the last."""
        try:
            if await self._start():
                self.authenticated = True
                self.host.notify()
                while (message := await self._next_message()) is not None:
                    await self._handle(*message)
        except asyncio.IncompleteReadError:
            pass
        except SqlError as error:  # a fatal one
            self.connection.send(wire.error_response(error))
        finally:
            self.closed = True
            self._end_transaction()
            self.connection.finish()
            self.host.notify()

    async def _start(self) -> bool:
        """False for a connection that only brought a CancelRequest."""
        welcome = await greet(self.connection)
        if isinstance(welcome, CancelRequest):
            self.host.cancel(welcome.pid, welcome.secret)
            return False
        self.parameters, self.options = welcome.parameters, welcome.options
        self.variables.update(self.parameters | self.options)
        if error := self.host.planned_failure("CONNECT"):
            raise SqlError(error.sqlstate, error.message, "FATAL")
        await authenticate(self.connection, self.world.behaviour.password)
        reports = b"".join(wire.parameter_status(*report) for report in self.variables.reported())
        self.connection.send(
            wire.AUTHENTICATION_OK + reports + wire.backend_key(self.pid, self.secret) + wire.ready("I")
        )
        return True

    # Messages

    async def _next_message(self) -> tuple[bytes, bytes] | None:
        """None is Terminate. Raises SqlError 25P03 for a transaction that stays idle for too long."""
        seconds = 0.0
        if self._transaction.explicit:
            seconds = self.variables.idle_in_transaction_seconds
        try:
            message = await asyncio.wait_for(self.connection.message(), seconds or None)
        except TimeoutError:
            raise SqlError("25P03", "terminating connection due to idle-in-transaction timeout", "FATAL") from None
        return None if message[0] == b"X" else message

    async def _handle(self, kind: bytes, body: bytes) -> None:
        if kind == b"Q":
            await self._query(body.rstrip(b"\0").decode())
        elif kind not in b"dcf":  # what a client still sends for a COPY that is over
            while kind != b"S":
                kind, _ = await self.connection.message()
            error = SqlError("0A000", "only the simple query protocol is spoken here")
            self.connection.send(wire.error_response(error) + wire.ready(self.status))

    async def _query(self, text: str) -> None:
        """One Query message: all its statements, up to the first that fails."""
        self.statements.append(text)
        self.host.notify()
        try:
            statements = parse(text)
            if not statements:
                self.connection.send(wire.EMPTY_QUERY)
            for statement in statements:
                self._may_run(statement)
                await self._execute(statement)
        except SqlError as error:
            if error.severity == "FATAL":
                raise
            self.connection.send(wire.error_response(error))
            self._transaction.failed = self._transaction.explicit
        if not self._transaction.explicit:
            self._end_transaction()
        elif self._transaction.failed:
            self._close_cursors()
        self.connection.send(wire.ready(self.status))
        self.host.notify()

    def _may_run(self, statement: sql.Statement) -> None:
        if error := self.host.planned_failure(_kind(statement)):
            raise error
        if self._transaction.failed and not isinstance(statement, sql.End):
            raise SqlError("25P02", "current transaction is aborted, commands ignored until end of transaction block")

    # Statements

    async def _execute(self, statement: sql.Statement) -> None:
        match statement:
            case sql.Begin() | sql.End():
                self._transact(statement)
            case sql.Set():
                self._set(statement)
            case sql.Show(name):
                self._answer(Answer([column(name, "text")], [(self.variables.show(name),)], "SHOW"))
            case sql.ShowColumns() | sql.Select() | sql.SelectOid() | sql.SelectRelations():
                self._read_catalog(statement)
            case sql.Declare(name, subscribe):
                self._declare(name, subscribe)
            case sql.Fetch():
                await self._fetch(statement)
            case sql.Close(name):
                self._close(name)
            case sql.Copy(subscribe):
                await copy_out(self, self._open(Cursor(self.world.plan(subscribe)), copy=True))
            case sql.Subscribe():
                await stream(self, self._open(Cursor(self.world.plan(statement))))

    def _transact(self, statement: sql.Begin | sql.End) -> None:
        if isinstance(statement, sql.Begin):
            if self._transaction.explicit:
                self._notice("25001", "there is already a transaction in progress", "WARNING")
            self._transaction.explicit = True
            self._complete("BEGIN")
            return
        if not self._transaction.explicit:
            self._notice("25P01", "there is no transaction in progress", "WARNING")
        commit = statement.commit and not self._transaction.failed
        self._end_transaction()
        self._complete("COMMIT" if commit else "ROLLBACK")

    def _end_transaction(self) -> None:
        self._close_cursors()
        self._transaction = _Transaction()

    def _close_cursors(self) -> None:
        self._transaction.cursors.clear()
        for subscription in self._running:
            self.world.unsubscribe(subscription)
        self._running.clear()

    def _set(self, statement: sql.Set) -> None:
        if statement.name == "cluster" and self._transaction.explicit:
            raise SqlError("25001", "SET cluster cannot be called in an active transaction")
        if (report := self.variables.set(statement.name, statement.value)) is not None:
            self.connection.send(wire.parameter_status(*report))
        self._complete("SET" if statement.value is not None else "RESET")

    def _read_catalog(self, statement: sql.ShowColumns | sql.Select | sql.SelectOid | sql.SelectRelations) -> None:
        if isinstance(statement, sql.ShowColumns | sql.SelectOid):
            relation = self.world.resolve(statement.name)
            self._begin_read("SELECT")
            self._answer(show_columns(relation) if isinstance(statement, sql.ShowColumns) else oid(relation))
            return
        self._begin_read("SELECT")
        if isinstance(statement, sql.SelectRelations):
            self._answer(relations(self.world))
        elif statement.what == "pg_cancel_backend":
            self._answer(cancelled(done=self.host.cancel(statement.argument, None)))
        else:
            self._answer(select(statement.what, self.world))

    def _begin_read(self, kind: str) -> None:
        """A subscribe has its transaction for itself. Cursors read from their first FETCH on, not from DECLARE."""
        transaction = self._transaction
        if transaction.reads is not None and "SUBSCRIBE" in (kind, transaction.reads):
            raise SqlError("25000", "SUBSCRIBE in transactions must be the only read statement")
        transaction.reads = kind

    def _declare(self, name: str, subscribe: sql.Subscribe) -> None:
        if name in self._transaction.cursors:
            raise SqlError("42P03", f'cursor "{name}" already exists')
        self._transaction.cursors[name] = Cursor(self.world.plan(subscribe))
        self._complete("DECLARE CURSOR")

    async def _fetch(self, statement: sql.Fetch) -> None:
        cursor = self._cursor(statement.cursor)
        subscription = cursor.subscription or self._open(cursor)
        rows, count = await collect(self, subscription, statement)
        self.connection.send(wire.row_description(cursor.plan.columns) + rows + wire.command_complete(f"FETCH {count}"))

    def _cursor(self, name: str) -> Cursor:
        if name not in self._transaction.cursors:
            raise SqlError("34000", f'cursor "{name}" does not exist')
        return self._transaction.cursors[name]

    def _open(self, cursor: Cursor, *, copy: bool = False) -> Subscription:
        self._begin_read("SUBSCRIBE")
        cursor.subscription = subscription = cursor.start(self.world, self.wake, copy=copy)
        self._running.append(subscription)
        if cursor.is_empty:
            self._notice("00000", "subscribe is guaranteed to be empty")
        self.host.notify()
        return subscription

    def _close(self, name: str | None) -> None:
        for one in list(self._transaction.cursors) if name is None else [name]:
            subscription = self._cursor(one).subscription
            if subscription is not None:
                self.world.unsubscribe(subscription)
                self._running.remove(subscription)
            del self._transaction.cursors[one]
        self._complete("CLOSE CURSOR")

    def _answer(self, answer: Answer) -> None:
        rows = b"".join(map(wire.data_row, answer.rows))
        self.connection.send(wire.row_description(answer.columns) + rows)
        self._complete(answer.tag)

    def _complete(self, tag: str) -> None:
        self.connection.send(wire.command_complete(tag))

    def _notice(self, sqlstate: str, message: str, severity: str = "NOTICE") -> None:
        self.connection.send(wire.notice_response(SqlError(sqlstate, message, severity)))

    # Waiting

    async def wait(self, seconds: float | None = None) -> bool:
        """Until something has happened, or so long; whether it has. Raises SqlError 57014 if the statement is cancelled."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.host.notify()
        try:
            await asyncio.wait_for(self._waiter, seconds)
        except TimeoutError:
            return False
        finally:
            self._waiter = None
        return True

    def wake(self) -> None:
        """Something has happened."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def cancel(self) -> bool:
        """Cancel the statement that waits, if one does (a CancelRequest for an idle session does nothing)."""
        if self._waiter is None or self._waiter.done():
            return False
        self._waiter.set_exception(SqlError("57014", "canceling statement due to user request"))
        return True


def _kind(statement: sql.Statement) -> str:
    if isinstance(statement, sql.End):
        return "COMMIT" if statement.commit else "ROLLBACK"
    return "SHOW COLUMNS" if isinstance(statement, sql.ShowColumns) else type(statement).__name__.upper()
