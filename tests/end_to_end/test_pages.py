"""The debug pages, in a real browser against the whole service. The console has tests of its own."""

from __future__ import annotations

from pathlib import Path

from tests.support.browser import chromium, needs_chromium
from tests.support.postgres import Database
from tests.support.service import serving

SCHEMA = """
sources:
  trades:
    primary_key: id
    columns: {id: Integer, symbol: String, price: Float}
"""


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
