"""The simulator as tests see it: a server on a free port, and a hand on everything that it does."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.materialize.behaviour import Behaviour
from tests.support.materialize.connection import Connection
from tests.support.materialize.session import Session
from tests.support.materialize.wire import SqlError
from tests.support.materialize.world import World

WAIT_SECONDS = 20.0
HOST = "127.0.0.1"


class Simulator(World):
    """A Materialize on this machine that lives in the running loop. What it holds and how time passes: World."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(behaviour)
        self.world: World = self
        self.port = 0
        self.sessions: list[Session] = []
        self.all_sessions: list[Session] = []
        """Those that have ended too, cancel requests included."""
        self._listener: socket.socket | None = None
        self._reserved: socket.socket | None = None
        self._accepted: set[asyncio.Task[Any]] = set()
        """Those that become connections: not asyncio's, whose server loses what it accepts while it is closed."""
        self._ticker: asyncio.TimerHandle | None = None
        self._pids = itertools.count(1000)
        self._waiters: list[asyncio.Future[None]] = []
        self._failures: list[tuple[str, SqlError]] = []
        self._stalled = False
        self._connections: set[Connection] = set()
        self._cut_new: int | None = None
        self._mistakes: list[Exception] = []

    @classmethod
    async def start(cls, **behaviour: Any) -> Simulator:
        """A running one; keywords are the fields of Behaviour."""
        simulator = cls(Behaviour(**behaviour))
        await simulator.accept_connections()
        simulator._tick_later()
        return simulator

    async def stop(self) -> None:
        """The end, for its clients too. Raises what went wrong in the simulator itself."""
        if self._ticker is not None:
            self._ticker.cancel()
        self._close_listener()
        if self._reserved is not None:
            self._reserved.close()
        await asyncio.gather(*self._accepted, return_exceptions=True)
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._connections:
            await asyncio.sleep(0)
        if self._mistakes:
            raise self._mistakes[0]

    def _tick_later(self) -> None:
        if self.behaviour.tick_seconds is not None:
            self._ticker = asyncio.get_running_loop().call_later(self.behaviour.tick_seconds, self._tick_itself)

    def _tick_itself(self) -> None:
        self.tick()
        self._tick_later()

    @property
    def environ(self) -> dict[str, str]:
        """The service's environment variables for this database."""
        environ = {
            "DATABASE_TYPE": "materialize", "DATABASE_HOST": HOST, "DATABASE_PORT": str(self.port),
            "DATABASE_USER": self.behaviour.user, "DATABASE_NAME": self.behaviour.database,
        }  # fmt: skip
        return environ if self.behaviour.password is None else environ | {"DATABASE_PASSWORD": self.behaviour.password}

    @property
    def dsn(self) -> str:
        """The libpq connection string."""
        secret = "" if self.behaviour.password is None else f" password={self.behaviour.password}"
        return f"host={HOST} port={self.port} user={self.behaviour.user} dbname={self.behaviour.database}{secret}"

    # Connections

    async def _serve(self, connection: Connection) -> None:
        session = Session(self, connection, next(self._pids))
        self.sessions.append(session)
        self.all_sessions.append(session)
        connection.chunk_bytes = self.behaviour.chunk_bytes
        if self._stalled:
            connection.stall()
        if self._cut_new is not None:
            connection.cut_after(self._cut_new)
        self.notify()
        try:
            await session.run()
        except Exception as mistake:  # of the simulator's own
            self._mistakes.append(mistake)
        finally:
            self.sessions.remove(session)
            self.notify()

    async def accept_connections(self) -> None:
        """Listen: at first on a free port, and on the same one after `refuse_connections`."""
        if self._listener is not None:
            return
        self._listener, self._reserved = self._reserved or self._bound(), None
        self._listener.setblocking(False)
        self._listener.listen(100)
        self.port = self._listener.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _bound(self) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, self.port))
        return bound

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        loop = asyncio.get_running_loop()
        connecting = loop.connect_accepted_socket(lambda: Connection(self._serve, self._connections), client)
        task = loop.create_task(connecting)
        self._accepted.add(task)
        task.add_done_callback(self._accepted.discard)

    def _close_listener(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def refuse_connections(self) -> None:
        """New connections are refused; those that are there stay. The port stays reserved: it is bound, and nobody listens."""
        if self._listener is None:
            return
        self._close_listener()
        self._reserved = self._bound()

    def cancel(self, pid: int, secret: int | None) -> bool:
        """Cancel what a session does, as a CancelRequest (with the secret) or pg_cancel_backend (without) does."""
        return any(
            session.cancel() for session in self.sessions if session.pid == pid and secret in (session.secret, None)
        )

    # Watching

    def notify(self) -> None:
        """Something has changed that a test may wait for."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
        """Wait until something that a client does makes the condition true. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter

    @property
    def subscribing_sessions(self) -> list[Session]:
        """Those with a running SUBSCRIBE."""
        return [session for session in self.sessions if session.subscribing]

    # Faults

    def _some(self, *, subscribing: bool) -> list[Session]:
        return self.subscribing_sessions if subscribing else list(self.sessions)

    def drop_connections(self, *, subscribing: bool = False, reset: bool = True) -> int:
        """End all connections, or those that subscribe, with an RST or a FIN; how many they were."""
        sessions = self._some(subscribing=subscribing)
        for session in sessions:
            session.connection.drop(reset=reset)
        return len(sessions)

    def cut_after(self, count: int | None, *, new: bool = False) -> None:
        """Each connection dies when so many further bytes have been sent: those that are there, or (`new`) those to come; None ends that."""
        if new:
            self._cut_new = count
            return
        for session in self.sessions:
            session.connection.cut_after(count)

    def stall(self) -> None:
        """Nothing is sent any more; sockets stay open, new connections are accepted and hear nothing."""
        self._stalled = True
        for session in self.sessions:
            session.connection.stall()

    def resume(self) -> None:
        """Send what has gathered since `stall`."""
        self._stalled = False
        for session in self.sessions:
            session.connection.resume()

    def fail_next(self, kind: str, sqlstate: str, message: str, severity: str = "ERROR", *, times: int = 1) -> None:
        """The next statements of a kind (DECLARE, FETCH, SHOW COLUMNS, ...; CONNECT for connecting) fail; FATAL ends the session."""
        self._failures += [(kind.upper(), SqlError(sqlstate, message, severity))] * times

    def planned_failure(self, kind: str) -> SqlError | None:
        """Takes the failure off the plan."""
        for number, (planned, error) in enumerate(self._failures):
            if planned == kind:
                del self._failures[number]
                return error
        return None

    def cancel_all(self) -> int:
        """57014 for every statement that waits; how many."""
        return sum(session.cancel() for session in list(self.sessions))

    def send_raw(self, data: bytes, *, subscribing: bool = True) -> None:
        """Bytes of the test's own, in the middle of whatever is said."""
        for session in self._some(subscribing=subscribing):
            session.connection.send(data)


@asynccontextmanager
async def simulating(**behaviour: Any) -> AsyncIterator[Simulator]:
    """A simulator that is stopped at the end; keywords are the fields of Behaviour."""
    simulator = await Simulator.start(**behaviour)
    try:
        yield simulator
    finally:
        await simulator.stop()
