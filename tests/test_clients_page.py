"""The recipes of docs/clients.md do what the page says."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest
from pykka import ActorRegistry

from actors.connection import CloseConnection
from tests.support.needs import needs
from tests.support.node import FOLDER, Script, needs_node, running, started
from tests.support.postgres import Database
from tests.support.service import serving
from tycostream.web.close_codes import CloseCode

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "clients.md").read_text()
TABLES = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE trades (id int PRIMARY KEY, symbol text, side side, price float8, executed_at timestamptz);
INSERT INTO trades VALUES (1, 'AAPL', 'buy', 228.5), (2, 'MSFT', 'sell', 415), (3, 'F', 'buy', 11);
"""
Start = Callable[[int], AbstractAsyncContextManager[Script]]
RECIPES = {  # heading: which Apollo Client is meant by @apollo/client
    "graphql-ws": "",
    "graphql-ws, with a cursor": "",
    "Apollo Client 4": "apollo-client-4",
    "Apollo Client 3": "apollo-client-3",
    "urql": "",
    "subscriptions-transport-ws": "",
}


def blocks(heading: str, language: str) -> list[str]:
    """The code blocks of a section in this language."""
    section = re.split(rf"^## {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def schema() -> str:
    """The schema file of the README."""
    return re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]


def application(folder: Path, heading: str, port: int) -> Path:
    """An application that consists of a recipe, with the packages that it needs."""
    (program,) = blocks(heading, "js")
    (rows,) = blocks("Keeping the rows", "js")
    modules = folder / "node_modules"
    (modules / "@apollo").mkdir(parents=True)
    if RECIPES[heading]:
        (modules / "@apollo" / "client").symlink_to(FOLDER / "node_modules" / RECIPES[heading])
    for package in ("graphql", "graphql-ws", "@urql", "subscriptions-transport-ws"):
        (modules / package).symlink_to(FOLDER / "node_modules" / package)
    (folder / "package.json").write_text('{"type": "module"}')
    assert rows.startswith("// rows.js\n")
    (folder / "rows.js").write_text(rows)
    (folder / "main.js").write_text(program.replace("localhost:4000", f"127.0.0.1:{port}"))
    return folder / "main.js"


def test_every_recipe_in_javascript_is_run() -> None:
    assert PAGE.count("```js\n") == len(RECIPES) + 1


@needs_node
@pytest.mark.parametrize("heading", RECIPES)
async def test_a_recipe_in_javascript_keeps_the_rows(postgres: Database, tmp_path: Path, heading: str) -> None:
    def program(port: int) -> list[str]:
        return ["--import", str(FOLDER / "browser.mjs"), str(application(tmp_path / "app", heading, port))]

    await keeps_the_rows(postgres, tmp_path, lambda port: running(*program(port)))


@needs_node
async def test_the_recipe_with_a_cursor_is_told_only_what_it_missed(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLES)
    async with serving(tmp_path, schema(), postgres.environ) as service:
        main = application(tmp_path / "app", "graphql-ws, with a cursor", service.port)
        async with running("--import", str(FOLDER / "browser.mjs"), str(main)) as script:
            await script.until(lambda: len(script.records) == 2)
            (connection,) = await service.actors("connection")
            ref = ActorRegistry.get_by_urn(connection["urn"])
            assert ref is not None
            ref.tell(CloseConnection(CloseCode.SERVICE_RESTART))
            await postgres.run("UPDATE trades SET price = 230 WHERE id = 1")
            await script.until(lambda: len(script.records) == 3)
            assert sorted((row["id"], row["price"]) for row in script.records[2]) == [(1, 230), (2, 415)]
            details = (await service.actors("connection"))[0]["details"]
            assert details["subscriptions"], "it is another connection, which was sent no snapshot"


async def test_the_recipe_in_python_keeps_the_rows(postgres: Database, tmp_path: Path) -> None:
    (program,) = blocks("Python", "python")

    def run(port: int) -> AbstractAsyncContextManager[Script]:
        return started(sys.executable, "-c", program.replace("localhost:4000", f"127.0.0.1:{port}"))

    await keeps_the_rows(postgres, tmp_path, run)


async def keeps_the_rows(postgres: Database, folder: Path, start: Start) -> None:
    """A program that shows trades above 100 shows them always, whatever happens to the rows and to the service."""
    postgres.execute(TABLES)
    async with AsyncExitStack() as first:
        service = await first.enter_async_context(serving(folder, schema(), postgres.environ))
        async with start(service.port) as script:

            async def until(*rows: tuple[int, str | None, float]) -> None:
                def shown() -> bool:
                    told = script.records[-1] if script.records else []
                    return sorted((row["id"], row["symbol"], row["price"]) for row in told) == sorted(rows)

                await script.until(shown)

            await until((1, "AAPL", 228.5), (2, "MSFT", 415))
            await postgres.run("UPDATE trades SET price = 230 WHERE id = 1")
            await postgres.run("UPDATE trades SET symbol = NULL WHERE id = 2")
            await postgres.run("UPDATE trades SET price = 101 WHERE id = 3")
            await until((1, "AAPL", 230), (2, None, 415), (3, "F", 101))
            await postgres.run("DELETE FROM trades WHERE id = 1")
            await until((2, None, 415), (3, "F", 101))
            await first.aclose()
            await postgres.run("DELETE FROM trades WHERE id = 2")
            await postgres.run("INSERT INTO trades VALUES (4, 'NVDA', 'buy', 140)")
            async with serving(folder, schema(), postgres.environ | {"GRAPHQL_PORT": str(service.port)}):
                await until((3, "F", 101), (4, "NVDA", 140))


@needs("curl is not installed" if shutil.which("curl") is None else None)
async def test_curl_is_answered(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLES)
    answers = []
    async with serving(tmp_path, schema(), postgres.environ) as service:
        for command in blocks("Over HTTP", "sh"):
            process = await asyncio.create_subprocess_shell(
                command.replace("localhost:4000", f"127.0.0.1:{service.port}"), stdout=asyncio.subprocess.PIPE
            )
            answers.append(json.loads((await asyncio.wait_for(process.communicate(), 30))[0]))
    assert answers == [{"data": {"trades_by_pk": {"symbol": "AAPL"}}}, {"data": {"trades": [{"id": 1}]}}]
