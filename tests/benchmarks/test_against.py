"""The load generator against servers that are not ours to start: here, two real services on a real database."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import parse
from benchmarks.against import Table
from tests.support.postgres import Database
from tests.support.service import serving

ROOT = Path(__file__).parents[2]
SCHEMA = """
sources:
  bench:
    primary_key: id
    columns: {id: Integer, price: Float, made_at: BigInt, note: String}
"""


async def against(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, while this loop goes on to serve."""
    command = [sys.executable, "-m", "benchmarks", "against", *arguments]
    return await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)


def dsn(postgres: Database) -> str:
    environ = postgres.environ
    return (
        f"host={environ['DATABASE_HOST']} port={environ['DATABASE_PORT']} dbname={environ['DATABASE_NAME']}"
        f" user={environ['DATABASE_USER']}"
    )


async def test_two_servers_side_by_side(postgres: Database, tmp_path: Path) -> None:
    prepared = await against("--prepare", "20", "--writer", dsn(postgres))
    assert prepared.returncode == 0, prepared.stderr
    assert postgres.execute("SELECT count(*), min(made_at) FROM bench") == [(20, 0)]
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    async with (
        serving(folders[0], SCHEMA, postgres.environ) as one,
        serving(folders[1], SCHEMA, postgres.environ) as two,
    ):
        urls = [f"ws://127.0.0.1:{service.port}/graphql" for service in (one, two)]
        options = "--clients", "3", "--seconds", "0.5", "--rate", "200", "--at-once", "2", "--json"
        finished = await against(*urls, "--writer", dsn(postgres), *options)
        assert finished.returncode == 0, finished.stderr
        both = json.loads(finished.stdout)
        assert [found["url"] for found in both] == urls
        for found in both:
            assert found["made"] > 0
            assert found["changes"] == found["made"], "each client was told of each change"
            assert found["messages"] == 3 * found["made"]
            assert found["behind"] == 0
            assert 0 < found["latencies"][0] <= found["latencies"][-1]
        alone = await against(urls[0], "--writer", dsn(postgres), "--seconds", "0.2", "--rate", "100", "--json")
        assert alone.returncode == 0, alone.stderr
        (found,) = json.loads(alone.stdout)
        assert 0 < found["made"] == found["changes"], "one change to a transaction"
        counted = await against(urls[0], "--seconds", "0.1")
        assert counted.returncode == 0, counted.stderr
        assert f"| {urls[0]} | 0 | 0 |" in counted.stdout
        refused = await against(urls[0], "--query", "subscription { nothing { id } }")
        assert refused.returncode == 1
        assert "Cannot query field 'nothing'" in refused.stderr
    gone = await against(urls[0], "--seconds", "0.1")
    assert gone.returncode == 1
    assert "refused" in gone.stderr


def test_what_makes_no_sense_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, error in (
        ([], "which server"),
        (["--prepare"], "--prepare needs --writer"),
        (["ws://a", "--query", "a", "--query", "b"], "2 queries for 1 servers"),
        (["ws://a", "--table", "bench"], "expected TABLE:KEY:STAMP:VALUE"),
        (["ws://a", "--init", "secret"], "found 'secret', expected JSON"),
    ):
        with pytest.raises(SystemExit):
            parse(["against", *arguments])
        assert error in capsys.readouterr().err


def test_a_table_may_be_in_a_schema() -> None:
    assert Table.parse("risk.bench:id:made_at:price").name.strings == ("risk", "bench")
