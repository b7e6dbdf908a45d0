"""psycopg2 on the loop: errors as an operator wants to read them, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket

import psycopg2
import pytest

from tests.support.postgres import Database, Postgres
from tycostream.databases.connection import ConnectionParameters, connect, opened, translate
from tycostream.databases.driver import DatabaseError


async def test_values_are_the_databases_own_text(postgres: Database) -> None:
    async with opened(postgres.parameters) as connection:
        (row,) = await connection.execute(
            "SELECT 1, 1.50, true, NULL, '2024-01-02 03:04:05+02'::timestamptz, '{1,2}'::int[]"
        )
    assert row == ("1", "1.50", "t", None, "2024-01-02 01:04:05+00", "{1,2}")


async def test_the_loop_goes_on_while_a_statement_runs(postgres: Database) -> None:
    async with opened(postgres.parameters) as connection:
        running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(0.05)"))
        turns = 0
        while not running.done():
            await asyncio.sleep(0)
            turns += 1
    assert turns > 10


async def test_a_database_that_is_not_there_is_told_with_a_hint(postgres_server: Postgres) -> None:
    with pytest.raises(DatabaseError, match='database "nowhere" does not exist') as caught:
        await connect(postgres_server.parameters("nowhere"))
    assert caught.value.hint == "check DATABASE_NAME"


async def test_a_port_where_nobody_listens_is_told_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    parameters = ConnectionParameters("127.0.0.1", port, "me", "pa55word", "shop")
    with pytest.raises(DatabaseError, match=f"can't connect to me@127.0.0.1:{port}/shop: Connection refused") as caught:
        await connect(parameters)
    assert caught.value.hint == "check that the database runs, and DATABASE_HOST and DATABASE_PORT"


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        parameters = ConnectionParameters("127.0.0.1", silent.getsockname()[1], "me", "", "shop")
        with pytest.raises(DatabaseError, match=r"no answer from the database at 127\.0\.0\.1:\d+ within 0\.1 s"):
            await connect(parameters, timeout=0.1)


async def test_a_statement_that_is_wrong_leaves_the_connection_usable(postgres: Database) -> None:
    async with opened(postgres.parameters) as connection:
        with pytest.raises(DatabaseError, match=r"^relation \"nothing\" does not exist$") as caught:
            await connection.execute("SELECT * FROM nothing")
        assert caught.value.sqlstate == "42P01"
        assert await connection.execute("SELECT 1") == [("1",)]


async def test_a_wait_that_is_cancelled_leaves_no_handler_on_the_loop(postgres: Database) -> None:
    async with opened(postgres.parameters) as connection:
        running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not asyncio.get_running_loop().remove_reader(connection.raw.fileno())


async def test_a_server_that_dies_is_an_error(postgres: Database) -> None:
    async with opened(postgres.parameters) as connection:
        running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        await postgres.run("SELECT pg_terminate_backend(%s)", (connection.backend_pid,))
        with pytest.raises(DatabaseError, match="terminating connection"):
            await running


def test_the_password_is_in_no_text() -> None:
    parameters = ConnectionParameters("localhost", 5432, "me", "pa55word", "shop")
    assert "pa55word" not in repr(parameters)
    error = translate(psycopg2.OperationalError("connection failed: password=pa55word rejected"), parameters)
    assert "pa55word" not in f"{error} {error!r} {error.hint}"
