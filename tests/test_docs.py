"""What the documents say is so: examples are executed, and tables are held against the code."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.filters import OPERATORS
from tycostream.graphql import Engine, Limits, PreparedQuery, SubscriptionPlan
from tycostream.model import ColumnType
from tycostream.settings import load_schema
from tycostream.web.close_codes import CloseCode

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDE = (ROOT / "docs" / "guide.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

TABLES = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE trades (id int PRIMARY KEY, symbol text, side side, price float8, executed_at timestamptz);
INSERT INTO trades VALUES (1, 'AAPL', 'buy', 228.5, '2024-01-02 03:04:05+00');
CREATE SCHEMA risk;
CREATE TABLE risk.live_positions (account uuid, symbol text, quantity int8, value numeric, PRIMARY KEY (account, symbol));
"""


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in this language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def schema_of(text: str, folder: Path) -> Path:
    """The page's schema file."""
    (example,) = blocks(text, "yaml")
    file = folder / "schema.yaml"
    file.write_text(example)
    return file


def test_configuration_lists_every_variable() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert (ROOT / "docs" / "configuration.md").read_text() == generate.render(), "run: python docs/generate.py"


def test_every_close_code_is_explained() -> None:
    explained = {int(code) for code in re.findall(r"^\| (\d{4}) \|", OPERATIONS, re.MULTILINE)}
    assert explained == {int(code) for code in CloseCode}


def test_every_operator_and_type_is_in_the_guide() -> None:
    for operator in OPERATORS:
        assert f"`{operator.name}`" in GUIDE
    for kind in ColumnType:
        assert kind is ColumnType.ENUM or f"`{kind.value}`" in GUIDE


def test_every_statement_of_the_protocol_names_tests_that_exist() -> None:
    statements = [line for line in PROTOCOL.splitlines() if re.match(r"\| (?!statement |---)", line)]
    assert len(statements) > 50
    for line in statements:
        named = re.findall(r"`([a-z_/0-9]+\.py)::(test_\w+)`", line.split(" | ")[-1])
        assert named, f"no test is named: {line}"
        for file, test in named:
            found = re.search(rf"^(async )?def {test}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
            assert found, f"{file} has no {test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "guide.md"], ids=lambda page: page.name)
def test_examples_of_graphql_are_valid_for_the_examples_of_schema_files(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    engine = Engine(load_schema(schema_of(text, tmp_path)), Limits(), rows=None)  # type: ignore[arg-type]
    examples = blocks(text, "graphql") + re.findall(r"""-d '(\{"query".*?\})'""", text)
    assert examples
    for example in examples:
        query = json.loads(example)["query"] if example.startswith('{"') else example
        assert isinstance(engine.prepare(query, None, None), SubscriptionPlan | PreparedQuery)


async def test_the_python_client_of_the_guide_gets_rows(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLES)
    schema = schema_of(GUIDE, tmp_path).read_text()
    (example,) = blocks(GUIDE, "python")
    async with serving(tmp_path, schema, postgres.environ) as service:
        script = example.replace("localhost:4000", f"127.0.0.1:{service.port}")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-u", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            assert "'operation': 'INSERT', 'data': {'id': 1, 'symbol': 'AAPL', 'price': 228.5}" in line.decode()
        finally:
            process.kill()
            await process.communicate()
