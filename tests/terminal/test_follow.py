"""`tycostream subscribe` against a running service: what it shows, how it comes back, and how it ends."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.terminal.client import LostError, RefusedError
from tycostream.terminal.follow import Wanted, follow
from tycostream.terminal.table import TableColumn

WAIT_SECONDS = 20.0
SCHEMA = """
sources:
  trades:
    primary_key: [id, day]
    columns: {id: Integer, symbol: String, price: Float, day: Date}
"""
TABLE = "CREATE TABLE trades (id int, symbol text, price float8, day date, PRIMARY KEY (id, day))"
ROWS = "INSERT INTO trades VALUES (1, 'AAPL', 1.5, '2024-01-02'), (2, NULL, 2.5, '2024-01-03')"


class Recorder:
    """A view that keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.columns: list[TableColumn] = []
        self.key: list[str] = []
        self.starts = 0
        self.updates: list[dict[str, Any]] = []
        self.losses: list[str] = []
        self._told = asyncio.Event()

    def start(self, columns: Sequence[TableColumn], key: Sequence[str]) -> None:
        self.columns, self.key, self.starts = list(columns), list(key), self.starts + 1
        self._told.set()

    def update(self, update: Any) -> None:
        self.updates.append(update)
        self._told.set()

    def lost(self, message: str) -> None:
        self.losses.append(message)
        self._told.set()

    def finish(self) -> None:
        """Nothing is kept back."""

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                self._told.clear()
                await self._told.wait()


def url_of(port: int) -> str:
    return f"ws://127.0.0.1:{port}/graphql"


@asynccontextmanager
async def following(wanted: Wanted) -> AsyncIterator[Recorder]:
    """`follow` in the background; it is cancelled at the end, and its errors are the test's."""
    view = Recorder()
    task = asyncio.ensure_future(follow(wanted, view, first_wait=0.02))
    task.add_done_callback(lambda _: view._told.set())
    try:
        yield view
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def test_key_and_columns_come_from_the_service_and_changes_follow(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        async with following(Wanted(url_of(service.port), "trades")) as view:
            await view.until(lambda: len(view.updates) == 2)
            assert view.columns == [
                TableColumn("id", True),
                TableColumn("symbol"),
                TableColumn("price", True),
                TableColumn("day"),
            ]
            assert view.key == ["id", "day"]
            postgres.execute("UPDATE trades SET price = 3 WHERE id = 1; DELETE FROM trades WHERE id = 2")
            await view.until(lambda: len(view.updates) == 4)
        insert, _, update, delete = view.updates
        assert (insert["operation"], insert["data"]) == (
            "INSERT",
            {"id": 1, "day": "2024-01-02", "symbol": "AAPL", "price": 1.5},
        )
        assert (update["operation"], update["fields"], update["data"]["price"]) == ("UPDATE", ["price"], 3)
        assert (delete["operation"], delete["data"]["id"]) == ("DELETE", 2)
        assert int(delete["timestamp"]) >= int(update["timestamp"])
        assert not view.losses


async def test_filter_columns_and_limit(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        wanted = Wanted(url_of(service.port), "trades", "{price: {_gt: 2}}", ["price", "symbol"], updates=1)
        view = Recorder()
        await asyncio.wait_for(follow(wanted, view), WAIT_SECONDS)
        assert [column.name for column in view.columns] == ["price", "symbol"]
        assert [update["data"] for update in view.updates] == [
            {"id": 2, "day": "2024-01-03", "price": 2.5, "symbol": None}
        ]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"source": "trade"}, "there is no source trade; did you mean trades?"),
        ({"source": "tradesUpdate"}, "there is no source tradesUpdate; did you mean trades?"),
        ({"source": "} { x"}, "there is no source } { x; there are trades"),
        ({"columns": ["id", "pric"]}, "--columns: there is no column pric; did you mean price?"),
        ({"where": "{pric: {_gt: 1}}"}, "Expected value of type 'tradesExpression' not to include unknown field 'pric'. Did you mean 'price'? Found: { pric: { _gt: 1 } }."),
        ({"where": "{price: "}, "--where: Syntax Error: Unexpected <EOF>."),
        ({"where": "{price: {_gt: $x}}"}, "--where: Syntax Error: Unexpected variable '$x' in constant value."),
        ({"where": "{}) { operation } } #"}, "--where: Syntax Error: Expected <EOF>, found ')'."),
        ({"where": "1"}, '--where: expected an object such as {symbol: {_eq: "AAPL"}}'),
    ],
)  # fmt: skip
async def test_what_the_service_does_not_accept_is_told(
    postgres: Database, tmp_path: Path, wanted: dict[str, Any], told: str
) -> None:
    postgres.execute(TABLE)
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        asked = Wanted(**{"url": url_of(service.port), "source": "trades"} | wanted)
        with pytest.raises(RefusedError) as refused:
            await asyncio.wait_for(follow(asked, Recorder()), WAIT_SECONDS)
    assert refused.value.reasons == (told,)


async def test_after_a_restart_of_the_service_the_rows_come_again(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with AsyncExitStack() as stack:
        async with serving(tmp_path, SCHEMA, postgres.environ) as service:
            port = service.port
            view = await stack.enter_async_context(following(Wanted(url_of(port), "trades")))
            await view.until(lambda: len(view.updates) == 2)
        await view.until(lambda: len(view.losses) >= 3)  # gone, and not back yet
        stopped, refused, again = view.losses[:3]
        assert stopped == (
            "the connection was closed: 1001 the server is being stopped; rows cleared, trying again in 0.02 s"
        )
        assert refused.endswith("Connection refused; rows cleared, trying again in 0.04 s")
        assert again.endswith("trying again in 0.08 s")
        await postgres.run("UPDATE trades SET price = 7 WHERE id = 1")
        async with serving(tmp_path, SCHEMA, postgres.environ | {"GRAPHQL_PORT": str(port)}):
            await view.until(lambda: len(view.updates) == 4)
        assert view.starts == 2
        came = [(update["operation"], update["data"]["price"]) for update in view.updates[2:]]
        assert sorted(came) == [("INSERT", 2.5), ("INSERT", 7)]


async def test_a_connection_that_is_cut_is_made_again(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with (
        serving(tmp_path, SCHEMA, postgres.environ) as service,
        cutting(service.port) as cable,
        following(Wanted(url_of(cable.port), "trades")) as view,
    ):
        for rounds in (1, 2, 3):
            await view.until(lambda rounds=rounds: len(view.updates) == 2 * rounds)
            assert view.starts == rounds
            cable.cut()
            await view.until(lambda rounds=rounds: len(view.losses) == rounds)
            assert view.losses[-1].startswith("the connection was closed: ")
            assert view.losses[-1].endswith("again in 0.02 s")  # an update came between, so the wait is the first again


class Cable:
    """TCP between a client and a service, to be cut without a word."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, there_writer}
        await asyncio.gather(self._copy(reader, there_writer), self._copy(there_reader, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def cutting(port: int) -> AsyncIterator[Cable]:
    cable = Cable(port)
    server = await asyncio.start_server(cable.carry, "127.0.0.1", 0)
    cable.port = server.sockets[0].getsockname()[1]
    try:
        yield cable
    finally:
        cable.cut()
        server.close()
        await server.wait_closed()


async def test_a_service_that_is_not_there_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(LostError, match=r"can't connect to ws://127.0.0.1:.*Connection refused"):
        await asyncio.wait_for(follow(Wanted(url_of(port), "trades"), Recorder()), WAIT_SECONDS)


class OtherServer(WebSocketHandler):
    """Answers what the test wants, and speaks the protocol or not."""

    def initialize(self, protocol: str | None, answer: str, code: int | None) -> None:
        self.protocol, self.answer, self.code = protocol, answer, code

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return self.protocol

    async def on_message(self, message: str | bytes) -> None:
        if self.answer:
            await self.write_message(self.answer)
        if self.code:
            self.close(self.code, "so it is")


@pytest.mark.parametrize(
    ("protocol", "answer", "code", "told"),
    [
        (None, "", None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", "hello", None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", "[]", None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", '{"type": "connection_error"}', None, "what answers there does not speak graphql-transport-ws"),
        ("graphql-transport-ws", '{"type": "ping"}', 4401, "the service closed the connection: 4401 so it is"),
    ],
)  # fmt: skip
async def test_other_servers(protocol: str | None, answer: str, code: int | None, told: str) -> None:
    options = {"protocol": protocol, "answer": answer, "code": code}
    async with listening_for(Application([("/graphql", OtherServer, options)])) as port:
        with pytest.raises(RefusedError) as refused:
            await asyncio.wait_for(follow(Wanted(url_of(port), "trades"), Recorder()), WAIT_SECONDS)
    assert refused.value.reasons == (told,)


class EndingServer(WebSocketHandler):
    """Speaks the protocol, tells of a source, and ends each subscription after one row."""

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return subprotocols[0]

    async def on_message(self, text: str | bytes) -> None:
        message = json.loads(text)
        if message["type"] == "connection_init":
            await self.write_message({"type": "connection_ack"})
            return
        query = message["payload"]["query"]
        if "__schema" in query:
            fields = [{"name": "id", "type": {"kind": "NON_NULL", "name": None, "ofType": {"name": "Int"}}}]
            data: dict[str, Any] = {
                "__schema": {"subscriptionType": {"fields": [{"name": "trades"}]}}, "__type": {"fields": fields},
            }  # fmt: skip
        else:
            data = {
                "trades": {
                    "operation": "INSERT",
                    "data": {"id": 1},
                    "fields": ["id"],
                    "timestamp": "1",
                    "event_id": "x",
                }
            }
        await self.write_message({"id": message["id"], "type": "next", "payload": {"data": data}})
        await self.write_message({"id": message["id"], "type": "complete"})


async def test_a_subscription_that_the_service_ends_is_begun_again() -> None:
    async with listening_for(Application([("/graphql", EndingServer)])) as port:
        async with following(Wanted(url_of(port), "trades")) as view:
            await view.until(lambda: view.starts == 3)
        assert view.losses[0] == "the service ended the subscription; rows cleared, trying again in 0.02 s"
        assert len(view.updates) == 2


@asynccontextmanager
async def listening_for(application: Application) -> AsyncIterator[int]:
    """The port of an HTTP server."""
    server = HTTPServer(application)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        server.add_socket(listening)
        try:
            yield listening.getsockname()[1]
        finally:
            server.stop()
            await server.close_all_connections()


# The command


async def command(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tycostream", "subscribe", *arguments, **{"stdout": pipe, "stderr": pipe} | options
    )


async def test_json_lines(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        environ = os.environ | {"GRAPHQL_PORT": str(service.port)}
        process = await command("trades", "--json", "--limit-updates", "2", env=environ, cwd=tmp_path)
        out, errors = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert (process.returncode, errors) == (0, b"")
    updates = [json.loads(line) for line in out.decode().splitlines()]
    assert [list(update) for update in updates] == [["operation", "data", "fields", "timestamp", "event_id"]] * 2
    assert [update["data"]["id"] for update in updates] == [1, 2]


async def test_lines_for_people_until_it_is_interrupted(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        process = await command("trades", "--url", f"http://127.0.0.1:{service.port}/graphql")
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            assert await process.stdout.readline() == b"INSERT  id=1  day=2024-01-02  symbol=AAPL  price=1.5\n"
            assert await process.stdout.readline() == b"INSERT  id=2  day=2024-01-03  symbol=null  price=2.5\n"
            await postgres.run("UPDATE trades SET symbol = E'a\\033[2J' WHERE id = 2")
            assert await process.stdout.readline() == b"UPDATE  id=2  day=2024-01-03  symbol=a\\u001b[2J\n"
            await postgres.run("DELETE FROM trades WHERE id = 1")
            assert await process.stdout.readline() == b"DELETE  id=1  day=2024-01-02\n"
            process.send_signal(signal.SIGINT)
            out, errors = await process.communicate()
    assert (process.returncode, out, errors) == (0, b"", b"")


async def test_a_reader_that_has_enough(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service:
        reading, writing = os.pipe()
        process = await command("trades", "--url", url_of(service.port), stdout=writing)
        os.close(writing)
        try:
            assert b"INSERT" in await asyncio.to_thread(os.read, reading, 100)
        finally:
            os.close(reading)
        await postgres.run("UPDATE trades SET price = 9; UPDATE trades SET price = 10")
        _, errors = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert (process.returncode, errors) == (0, b"")


async def test_errors_end_it_with_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = await command("trades", "--url", url_of(port))
    _, errors = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    assert process.returncode == 1
    assert errors.decode().startswith("tycostream subscribe: can't connect to ws://127.0.0.1:")
    assert errors.decode().endswith("Connection refused (is tycostream running there? --url says where)\n")


class Screen:
    """What a terminal of this size shows, of the few sequences that are used; anything else is an error."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines, self.broken_lines = columns, lines, 0
        self.rows, self.row, self.column = [[" "] * columns for _ in range(lines)], 0, 0

    def feed(self, text: str) -> None:
        for found in re.finditer(r"\x1b\[(\d*)([A-Za-z])|\x1b|.", text, re.DOTALL):
            if found[2]:
                self._command(int(found[1] or 0), found[2])
            elif found[0] == "\r":
                self.column = 0
            elif found[0] == "\n":
                self.row += 1
                if self.row == self.lines:
                    self.row -= 1
                    self.rows = [*self.rows[1:], [" "] * self.columns]
            else:
                assert found[0].isprintable(), repr(found[0])
                if self.column >= self.columns:
                    self.broken_lines += 1
                    return  # what it would show now depends on the terminal
                self.rows[self.row][self.column] = found[0]
                self.column += 1

    def _command(self, number: int, kind: str) -> None:
        if kind == "A":
            self.row = max(self.row - number, 0)
        elif kind == "K":
            self.rows[self.row][self.column :] = [" "] * (self.columns - self.column)
        elif kind == "J":
            if number == 2:
                self.rows = [[" "] * self.columns for _ in range(self.lines)]
            else:
                self._command(0, "K")
                self.rows[self.row + 1 :] = [[" "] * self.columns for _ in range(self.lines - self.row - 1)]
        elif kind == "H":
            self.row = self.column = 0
        else:
            assert kind == "m", f"an unknown sequence: {kind}"

    @property
    def text(self) -> list[str]:
        shown = ["".join(row).rstrip() for row in self.rows]
        while shown and not shown[-1]:
            shown.pop()
        return shown


class Terminal:
    """A pseudo-terminal with a process in it."""

    def __init__(self, columns: int, lines: int) -> None:
        self.own, self.theirs = pty.openpty()
        self.screen = Screen(columns, lines)
        self.resize(columns, lines)
        self._told = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.own, self._read)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.columns, self.screen.lines = columns, lines
        self.screen.rows = [[" "] * columns for _ in range(lines)]

    def _read(self) -> None:
        self.screen.feed(os.read(self.own, 65536).decode())
        self._told.set()

    async def until(self, *expected: str) -> None:
        """Until the screen shows these lines."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self.screen.text != list(expected):
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            raise AssertionError("the screen shows:\n" + "\n".join(self.screen.text)) from None

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.own)
        os.close(self.own)
        os.close(self.theirs)


async def test_the_live_table_in_a_terminal(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; {ROWS}")
    terminal = Terminal(50, 8)
    try:
        async with serving(tmp_path, SCHEMA, postgres.environ) as service, cutting(service.port) as cable:
            process = await command(
                "trades", "--url", url_of(cable.port),
                stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs, env=os.environ | {"TERM": "xterm"},
            )  # fmt: skip
            await terminal.until(
                "  id  symbol  price  day",
                "   1  AAPL      1.5  2024-01-02",
                ">  2  null      2.5  2024-01-03",
                "2 rows, newest: INSERT id=2 day=2024-01-03",
            )
            await postgres.run("UPDATE trades SET price = 20.25 WHERE id = 1")
            await terminal.until(
                "  id  symbol  price  day",
                ">  1  AAPL    20.25  2024-01-02",
                "   2  null      2.5  2024-01-03",
                "2 rows, newest: UPDATE id=1 day=2024-01-02",
            )
            await postgres.run("INSERT INTO trades SELECT n, 'x', 0, '2024-01-04' FROM generate_series(3, 12) n")
            await terminal.until(
                "  id  symbol  price  day",
                "   8  x           0  2024-01-04",
                "   9  x           0  2024-01-04",
                "  10  x           0  2024-01-04",
                "  11  x           0  2024-01-04",
                "> 12  x           0  2024-01-04",
                "12 rows, 7 not shown, newest: INSERT id=12 day=2…",
            )
            await postgres.run("DELETE FROM trades WHERE id > 1")
            await terminal.until(
                "  id  symbol  price  day",
                "   1  AAPL    20.25  2024-01-02",
                "1 row, newest: DELETE id=12 day=2024-01-04",
            )
            assert not terminal.screen.broken_lines
            terminal.resize(24, 8)
            await postgres.run("UPDATE trades SET price = 3 WHERE id = 1")
            await terminal.until(
                "  id  symbol  price",
                ">  1  AAPL        3",
                "1 row, 1 column not sh…",
            )
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
            assert terminal.screen.text[0] == "  id  symbol  price"
            assert (terminal.screen.row, terminal.screen.column) == (3, 0)
    finally:
        terminal.close()


async def test_the_table_after_a_cut_stands_below_what_is_said_of_it(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(f"{TABLE}; INSERT INTO trades VALUES (1, 'AAPL', 1.5, '2024-01-02')")
    terminal = Terminal(120, 10)
    try:
        async with serving(tmp_path, SCHEMA, postgres.environ) as service, cutting(service.port) as cable:
            process = await command(
                "trades", "--columns", "symbol", "--url", url_of(cable.port),
                stdin=terminal.theirs, stdout=terminal.theirs, stderr=terminal.theirs, env=os.environ | {"TERM": "xterm"},
            )  # fmt: skip
            table = ["  symbol", "> AAPL", "1 row, newest: INSERT id=1 day=2024-01-02"]
            await terminal.until(*table)
            cable.cut()
            await terminal.until(
                "the connection was closed: without a word; rows cleared, trying again in 0.2 s", *table
            )
            process.terminate()
            assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
    finally:
        terminal.close()
