"""Runs commands of `tycostream schema` against a database on the test's loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.databases import AnyDatabase
from tycostream.cli import make_parser
from tycostream.schema.commands import run_generate
from tycostream.settings import load_settings


class Generator:
    """`schema generate` for one database: `await generator("-s", "trades")`."""

    def __init__(self, environ: dict[str, str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings = load_settings(environ, folder)
        self.capsys = capsys

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        parsed = make_parser().parse_args(["schema", "generate", *arguments])
        self.capsys.readouterr()
        code = await run_generate(self.settings, parsed.given, all_relations=parsed.all)
        told = self.capsys.readouterr()
        return code, told.out, told.err


def generator_of(database: AnyDatabase, folder: Path, capsys: pytest.CaptureFixture[str]) -> Generator:
    """The generator for a database of a test."""
    return Generator(database.environ, folder, capsys)
