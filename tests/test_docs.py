"""What the documents say is so: examples are executed, and tables are held against the code."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

import benchmarks.__main__ as benchmarks
from tests.end_to_end.test_queries import http
from tests.support.client import connected
from tests.support.databases import AnyDatabase
from tests.support.postgres import Database
from tests.support.receiver import receiving
from tests.support.service import serving
from tycostream.cli import make_parser
from tycostream.filters import OPERATORS
from tycostream.graphql import Engine, Limits, PreparedQuery, SubscriptionPlan
from tycostream.model import ColumnType
from tycostream.settings import load_schema
from tycostream.triggers.codes import Code
from tycostream.web.close_codes import CloseCode

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDE = (ROOT / "docs" / "guide.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
CALCULATED = ROOT / "docs" / "calculated-states.md"
TRIGGERS = (ROOT / "docs" / "triggers.md").read_text()
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


def shell_lines(text: str) -> list[str]:
    """The lines of a page's shell blocks: fenced ones, and those indented by four spaces."""
    indented = re.findall(r"(?:\A|(?<=\n\n))((?: {4}.*\n|\n(?= {4}))+)", text)
    lines = "".join([*indented, *blocks(text, r"(?:sh|bash|shell|console)")]).replace("\\\n", " ").splitlines()
    return [line.strip().removeprefix("$ ") for line in lines]


def commands_of(text: str) -> list[list[str]]:
    """What a page tells to run that is ours, in words: shell blocks, and whole commands within a sentence."""
    found = []
    for line in [*shell_lines(text), *re.findall(r"`((?:python -m )?tycostream [^`]+|scripts/[^`]+)`", text)]:
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        try:
            listed = list(words)
        except ValueError:  # a quote that is never closed: output, or prose
            continue
        for word in [*listed, ";"]:
            if word in {"|", "||", "&&", ";", "&", ">", ">>", "<"}:
                while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
                    del command[0]
                found.append(command[2:] if command[:2] == ["python", "-m"] else command)
                command = []
            else:
                command.append(word)
    return [words for words in found if words and (words[0] == "tycostream" or words[0].startswith("scripts/"))]


def parse_command(words: list[str]) -> None:
    """Raises where the command is not one of ours, or does not know what it is given."""
    program, *arguments = words
    try:
        if program == "tycostream":
            make_parser().parse_args(arguments)
        else:
            assert os.access(ROOT / program, os.X_OK), f"there is no {program}"
            if program == "scripts/run":
                make_parser().parse_args(["demo", *arguments])
            elif program == "scripts/bench":
                benchmarks.parse(arguments)
    except SystemExit as ended:
        raise AssertionError(f"{' '.join(words)}: exit code {ended.code}") from None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_known_with_all_their_arguments(page: Path) -> None:
    for words in commands_of(page.read_text()):
        parse_command(words)


def test_commands_are_found_wherever_a_page_has_them() -> None:
    page = """
Run:

    $ tycostream check --offline
    A=1 B='x y' python -m tycostream schema diff a.yaml b.yaml --json | jq . && scripts/bench --quick

or `tycostream demo --port 1`; not `tycostream` alone.

```bash
tycostream schema generate \\
  -s trades > schema.yaml  # a comment
```
"""
    assert commands_of(page) == [
        ["tycostream", "check", "--offline"],
        ["tycostream", "schema", "diff", "a.yaml", "b.yaml", "--json"],
        ["scripts/bench", "--quick"],
        ["tycostream", "schema", "generate", "-s", "trades"],
        ["tycostream", "demo", "--port", "1"],
    ]
    readme = commands_of((ROOT / "README.md").read_text())
    assert ["scripts/run"] in readme
    assert ["tycostream", "check"] in readme


@pytest.mark.parametrize(
    "command", ["tycostream check --onlin", "tycostream serve", "scripts/nothing", "scripts/bench everything", "scripts/run --por 1"]
)  # fmt: skip
def test_commands_that_are_not_known_are_noticed(command: str) -> None:
    with pytest.raises(AssertionError):
        parse_command(command.split())


def generator() -> ModuleType:
    """docs/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    return generate


@pytest.mark.parametrize("page", ["configuration.md", "errors.md", "cli.md", "metrics.md"])
def test_generated_pages_are_those_of_the_code(page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == generator().PAGES[page](), "run: python docs/generate.py"


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


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "docs" / "guide.md", ROOT / "docs" / "triggers.md", CALCULATED],
    ids=lambda page: page.name,
)
def test_examples_of_graphql_are_valid_for_the_examples_of_schema_files(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    engine = Engine(load_schema(schema_of(text, tmp_path)), Limits(), rows=None)  # type: ignore[arg-type]
    examples = blocks(text, "graphql") + re.findall(r"""-d '(\{"query".*?\})'""", text)
    assert examples
    for example in examples:
        query = json.loads(example)["query"] if example.startswith('{"') else example
        assert isinstance(engine.prepare(query, None, None), SubscriptionPlan | PreparedQuery)


async def test_states_are_as_the_page_on_them_says(postgres: Database, tmp_path: Path) -> None:
    text = CALCULATED.read_text()
    schema = schema_of(text, tmp_path).read_text()
    first, remembered, query, trigger = blocks(text, "graphql")
    walk = re.findall(r"^\| (\d+|NULL) \| (null|`\w+`) \|", text, re.MULTILINE)
    assert len(walk) == 10
    postgres.execute("CREATE TABLE positions (id int PRIMARY KEY, symbol text, value float8)")
    postgres.execute("INSERT INTO positions VALUES (1, 'A', 100), (2, 'B', 20000), (3, 'C', NULL)")
    async with (
        serving(tmp_path, schema, postgres.environ) as service,
        connected(service.port) as client,
        http(service.port) as ask,
        receiving() as receiver,
    ):
        made = await ask(trigger.replace("http://localhost:8080/hooks", receiver.url()), None)
        assert made == {"data": {"create_positions_trigger": {"fired_rows": ['{"id":2}']}}}
        positions = await client.subscribe(remembered)
        for value, state in walk:
            await postgres.run(f"UPDATE positions SET value = {value} WHERE id = 1")
            wanted = {"id": 1, "value": None if value == "NULL" else float(value), "risk_level": _named(state)}
            await client.until(lambda wanted=wanted: positions.rows.get((1,)) == wanted)
        dangerous = await client.subscribe(first.replace("fields", "fields timestamp"))
        await client.until(lambda: dangerous.rows)
        await postgres.run("UPDATE positions SET value = 6000 WHERE id = 1")
        await postgres.run("UPDATE positions SET value = 10001 WHERE id = 1")
        await postgres.run("UPDATE positions SET value = 5000 WHERE id = 1")
        await client.until(lambda: len(dangerous.messages) == 4)
        assert [(one["operation"], one["fields"]) for one in dangerous.messages[2:]] == [
            ("UPDATE", ["value", "risk_level"]), ("DELETE", ["id", "symbol", "value", "risk_level"]),
        ]  # fmt: skip
        assert (await ask(query, None))["data"] == {"positions": [{"id": 2, "risk_level": "critical"}]}
        told = [json.loads(body) for body in receiver.bodies]
        assert [one["event_type"] for one in told[:2]] == ["FIRE", "CLEAR"]
        assert [one["data"] for one in told[:2]] == [
            {"symbol": "A", "risk_level": "critical"}, {"symbol": "A", "risk_level": None},
        ]  # fmt: skip


def _named(state: str) -> str | None:
    return None if state == "null" else state.strip("`")


def test_every_code_of_triggers_is_explained() -> None:
    assert re.findall(r"^\| `([A-Z_]+)` \|", TRIGGERS, re.MULTILINE) == [code.value for code in Code]


async def test_the_triggers_of_the_page_do_what_it_says(database: AnyDatabase, tmp_path: Path) -> None:
    create, show, manage = blocks(TRIGGERS, "graphql")
    (insert,), (body,) = blocks(TRIGGERS, "sql"), blocks(TRIGGERS, "json")
    schema = schema_of(TRIGGERS, tmp_path).read_text()
    await database.run("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8, quantity int8)")
    async with (
        serving(tmp_path, schema, database.environ) as service,
        http(service.port) as ask,
        receiving() as receiver,
    ):
        answer = await ask(create.replace("http://localhost:8080/hooks", receiver.url()), None)
        assert answer == {"data": {"create_trades_trigger": {"name": "large trade", "watching": True}}}
        await database.run(insert)
        await receiver.until(1)
        expected, found = json.loads(body), json.loads(receiver.bodies[0])
        assert list(found) == list(expected)
        for varies in ("event_id", "timestamp", "source_timestamp"):
            text, example = found.pop(varies), expected.pop(varies)
            assert re.sub(r"[0-9a-f]+", "0", text) == re.sub(r"[0-9a-f]+", "0", example)
        assert found == expected
        shown = (await ask(show, None))["data"]["trades_trigger"]
        assert (shown["fired"], shown["fired_rows"]) == (1, ['{"id":7}'])
        managed = (await ask(manage, None))["data"]
        assert managed["disable_trades_trigger"] == {"enabled": False}
        assert managed["delete_trades_trigger"] == {"name": "large trade"}
        assert (await ask(show, None))["data"]["trades_triggers"] == []


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
