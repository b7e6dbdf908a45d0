"""The pages, in a real browser against the whole service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import chromium, needs_chromium
from tests.support.postgres import Database
from tests.support.service import serving

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""
CELLS = "[...document.querySelectorAll('tbody tr')].map(line => [...line.cells].map(cell => cell.textContent).join(' ')).sort()"

COLOURS = "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('th')).backgroundColor]"


@needs_chromium
async def test_the_query_page_shows_rows_as_they_change(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8)")
    postgres.execute("INSERT INTO trades VALUES (1, 'AAPL', 1.5), (2, '<b>bold</b>', 2.5)")
    environ = postgres.environ | {"GRAPHQL_UI": "true"}
    async with serving(tmp_path, SCHEMA, environ) as service, chromium(tmp_path) as page:
        await page.open(f"http://127.0.0.1:{service.port}/")
        await page.until("[...document.querySelectorAll('button')].some(one => one.textContent.trim() === 'trades')")
        await page.ask(
            "[...document.querySelectorAll('button')].find(one => one.textContent.trim() === 'trades').click()"
        )
        await page.ask("[...document.querySelectorAll('button')].find(one => one.textContent.trim() === 'Run').click()")
        await page.until("document.querySelectorAll('tbody tr').length === 2")
        assert await page.ask(CELLS) == ["1 AAPL 1.5", "2 <b>bold</b> 2.5"]
        await postgres.run("UPDATE trades SET price = 9.5 WHERE id = 1; DELETE FROM trades WHERE id = 2")
        await page.until(f"{CELLS}.join() === '1 AAPL 9.5'")
        await page.ask("document.querySelector('textarea').value = 'subscription { nothing { operation } }'")
        await page.ask("[...document.querySelectorAll('button')].find(one => one.textContent.trim() === 'Run').click()")
        await page.until("document.body.textContent.includes(\"Cannot query field 'nothing'\")")
        assert page.complaints == []


@needs_chromium
@pytest.mark.parametrize("path", ["/", "/graphql"])
async def test_the_query_page_asks_nobody_else(postgres: Database, tmp_path: Path, path: str) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8)")
    postgres.execute("INSERT INTO trades VALUES (1, 'AAPL', 1.5), (2, 'MSFT', NULL)")
    environ = postgres.environ | {"GRAPHQL_UI": "true"}
    async with serving(tmp_path, SCHEMA, environ) as service, chromium(tmp_path) as page:
        await page.open(f"http://127.0.0.1:{service.port}{path}")
        await page.until("document.querySelectorAll('tbody tr').length === 2")
        await page.ask(
            "document.querySelector('#query').value = 'query ($id: Int!) { trades_by_pk(id: $id) { symbol } }'"
        )
        await page.ask("document.querySelector('#variables').value = '{\"id\": 2}'")
        await page.ask("document.querySelector('#run').click()")
        await page.until("document.querySelector('#result').textContent.includes('\"symbol\": \"MSFT\"')")
        assert page.requests[:2] == [
            f"http://127.0.0.1:{service.port}{path}",
            f"ws://127.0.0.1:{service.port}/graphql",
        ]
        assert not [url for url in page.requests[2:] if not url.startswith("data:")]
        assert page.complaints == []


@needs_chromium
async def test_the_query_page_fits_every_screen_in_light_and_dark(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8)")
    postgres.execute("INSERT INTO trades VALUES (1, repeat('long ', 100), 1.5)")
    environ = postgres.environ | {"GRAPHQL_UI": "true"}
    async with serving(tmp_path, SCHEMA, environ) as service, chromium(tmp_path) as page:
        await page.open(f"http://127.0.0.1:{service.port}/")
        await page.until("document.querySelectorAll('tbody tr').length === 1")
        backgrounds = set()
        for width in (390, 1280):
            for scheme in ("light", "dark"):
                await page.look(width, scheme)
                await page.until(f"innerWidth === {width}")
                assert await page.ask("document.documentElement.scrollWidth") == width, "nothing sticks out"
                text, behind = await page.ask(COLOURS)
                assert text != behind
                backgrounds.add(behind)
        assert len(backgrounds) == 2
        assert page.complaints == []


@needs_chromium
async def test_the_page_of_actors_shows_them_all(postgres: Database, tmp_path: Path) -> None:
    postgres.execute("CREATE TABLE trades (id int PRIMARY KEY, symbol text, price float8)")
    async with serving(tmp_path, SCHEMA, postgres.environ) as service, chromium(tmp_path) as page:
        await page.open(f"http://127.0.0.1:{service.port}/debug/actors")
        await page.until("document.querySelectorAll('tr').length >= 4")
        text = await page.ask("document.body.textContent")
        for name in ("supervisor", "feed postgres", "source trades"):
            assert name in text
        await page.ask("[...document.querySelectorAll('a')].find(one => one.textContent === 'source trades').click()")
        await page.until("location.pathname.includes('urn:uuid') && document.querySelectorAll('tr').length === 2")
        assert page.complaints == []
