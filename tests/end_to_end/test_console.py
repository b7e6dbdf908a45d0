"""The console in a real browser, against the whole service over a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.browser import chromium, needs_chromium
from tests.support.console import Console
from tests.support.postgres import Database
from tests.support.receiver import receiving
from tests.support.service import serving

pytestmark = needs_chromium

SCHEMA = """
enums:
  side: [buy, sell]
sources:
  trades:
    description: Every trade
    primary_key: id
    columns: {id: Integer, symbol: String, side: side, price: Float}
  missing:
    primary_key: id
    columns: {id: Integer}
"""
TABLE = """
CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TABLE trades (id int PRIMARY KEY, symbol text, side side, price float8);
INSERT INTO trades VALUES (1, 'AAPL', 'buy', 1.5), (2, '<b>bold</b>', 'sell', 2.5), (10, 'MSFT', 'buy', NULL);
"""
ONE, TWO, TEN = ["1", "AAPL", "buy", "1.5"], ["2", "<b>bold</b>", "sell", "2.5"], ["10", "MSFT", "buy", "NULL"]
SUBSCRIPTION = "subscription { news: trades(where: {id: {_lt: 5}}) { operation data { id symbol price } fields } }"
FLASHED = """t.seen('.grid tbody tr:not(.space)').flatMap((row) => [...row.cells])
  .filter((cell) => cell.getAnimations().length > 0).map((cell) => cell.textContent)"""
SOMETHING_STICKS_OUT = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def environ(postgres: Database) -> dict[str, str]:
    return {**postgres.environ, "GRAPHQL_UI": "true", "RECONNECT_MIN_MS": "10", "LOG_LEVEL": "error"}


@asynccontextmanager
async def console(postgres: Database, folder: Path, where: str = "/", sql: str = TABLE) -> AsyncIterator[Console]:
    """A console on the service; at the end nothing may have been asked of anybody else, nor complained about."""
    postgres.execute(sql)
    async with serving(folder, SCHEMA, environ(postgres)) as service, chromium(folder) as page:
        shown = Console(page, service.port)
        await shown.open(where)
        yield shown
        origins = {url.split("://")[1].split("/")[0] for url in page.requests if not url.startswith("data:")}
        assert origins == {f"127.0.0.1:{service.port}"}
        assert page.complaints == []


async def test_rows_are_shown_as_they_change(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#rows/trades") as shown:
        await shown.until_rows(ONE, TWO, TEN)
        assert await shown.ask(FLASHED) == [], "what was there is no news"
        await postgres.run("UPDATE trades SET price = 9.5 WHERE id = 1")
        await shown.until(f"{FLASHED}.join() === '9.5'")
        await postgres.run("DELETE FROM trades WHERE id = 2; INSERT INTO trades VALUES (3, 'NVDA', 'sell', 7)")
        await shown.until_rows([*ONE[:3], "9.5"], ["3", "NVDA", "sell", "7"], TEN)
        await shown.until(f"{FLASHED}.join() === '3,NVDA,sell,7'")
        await shown.see("3 rows, 3 changes")


async def test_rows_sort_and_pause(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#rows/trades") as shown:
        await shown.until_rows(ONE, TWO, TEN)
        await shown.press("price")
        await shown.press("price")
        await shown.until_rows(TEN, TWO, ONE)
        assert await shown.ask("t.seen('th[aria-sort=descending]').map((one) => one.textContent)") == ["price"]
        await shown.press("Pause")
        await postgres.run("UPDATE trades SET price = 100 WHERE id = 1; DELETE FROM trades WHERE id = 10")
        await shown.see("2 changes")
        await shown.until("t.named('button', 'Resume').length === 1")
        assert await shown.rows() == [TEN, TWO, ONE]
        await shown.press("Resume")
        await shown.until_rows([*ONE[:3], "100"], TWO)


async def test_many_rows_are_not_all_in_the_page(postgres: Database, tmp_path: Path) -> None:
    many = "INSERT INTO trades SELECT i, 'X', 'buy', i FROM generate_series(11, 20000) i;"
    async with console(postgres, tmp_path, "/#rows/trades", TABLE + many) as shown:
        await shown.see("19,993 rows")
        assert len(await shown.rows()) < 100
        # The number is there a frame before the height that can be scrolled through
        await shown.until("(t.seen('.rows .scroll')[0].scrollTop = 1e9, t.rows().at(-1)[0] === '20000')")
        assert len(await shown.rows()) < 100
        assert await shown.ask("t.seen('.grid')[0].getAttribute('aria-rowcount')") == "19994"
        await postgres.run("UPDATE trades SET symbol = 'last' WHERE id = 20000")
        await shown.until("t.rows().at(-1)[1] === 'last'")


async def test_a_filter_is_put_together(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#rows/trades") as shown:
        await shown.until_rows(ONE, TWO, TEN)
        await shown.press("Add condition")
        await shown.choose("Operator", "_lte")
        await shown.fill("Value", "x")
        await shown.see("x is not a whole number")
        assert len(await shown.rows()) == 3
        await shown.fill("Value", "2")
        await shown.until_rows(ONE, TWO)
        await shown.press("Add group")
        await shown.press("Add condition", which=1)
        await shown.choose("Column", "side", which=1)
        await shown.choose("Value", "sell")
        await shown.press("Add condition", which=1)
        await shown.choose("Column", "symbol", which=2)
        await shown.choose("Operator", "_in", which=2)
        await shown.fill("Value", "AAPL, MSFT", which=1)
        await shown.choose("How the conditions are joined", "none", which=1)
        await shown.see("{_not: {_or: [{side: {_eq: sell}}, {symbol:")
        await shown.until_rows()
        await shown.choose("How the conditions are joined", "or", which=1)
        await shown.until_rows(ONE, TWO)
        where = '{_and: [{id: {_lte: 2}}, {_or: [{side: {_eq: sell}}, {symbol: {_in: ["AAPL", "MSFT"]}}]}]}'
        assert f"trades(where: {where})" in await shown.ask("t.seen('.code')[0].textContent")
        await postgres.run("UPDATE trades SET symbol = 'NVDA' WHERE id = 1")
        await shown.until_rows(TWO)
        await shown.press("Open in the editor")
        await shown.until(f"t.named('textarea', 'GraphQL document')[0].value.includes({json.dumps(where)})")


async def test_queries_and_mutations_are_run(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#graphql") as shown:
        await shown.press("Variables", "summary")
        await shown.press("Headers", "summary")
        await shown.write("query ($id: Int!) { trades_by_pk(id: $id) { symbol } }")
        await shown.fill("Variables, as JSON", "{")
        await shown.press("Run")
        await shown.see("The variables are not JSON")
        await shown.fill("Variables, as JSON", '{"id": 2}')
        await shown.fill("Headers, as JSON", '{"X-Secret": "hidden"}')
        await shown.write("query ($id: Int!) { trades_by_pk(id: $id) { symbol } }")
        await shown.key("Enter", "Control")
        await shown.see('"symbol": "<b>bold</b>"')
        await shown.see("200 OK in")
        mutation = 'mutation { create_trades_trigger(input: {name: "n", webhook: "http://127.0.0.1:9/", '
        mutation += "fire: {id: {_gt: 100}}}) { name watching } }"
        await shown.write(mutation)
        await shown.fill("Variables, as JSON", "")
        await shown.press("Run")
        await shown.see('"watching": true')
        # A new page knows what was run, not the headers
        await shown.page.call("Page.reload")
        await shown.until("window.t === undefined")
        await shown.ready()
        assert await shown.ask("document.querySelector('.editor textarea').value") == mutation
        kept = await shown.ask("JSON.stringify({...localStorage})")
        assert "trades_by_pk" in kept
        assert "hidden" not in kept
        await shown.press("History", "summary")
        await shown.press("query ($id: Int!) { trades_by_pk(id: $id) { symbol } }")
        assert await shown.ask("document.querySelector('textarea[aria-label^=Variables]').value") == '{"id": 2}'


async def test_a_subscription_is_shown_as_rows_and_as_messages(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#graphql") as shown:
        await shown.write(SUBSCRIPTION)
        await shown.press("Run")
        await shown.until_rows(["1", "AAPL", "1.5"], ["2", "<b>bold</b>", "2.5"])
        await postgres.run("UPDATE trades SET price = 3 WHERE id = 2; DELETE FROM trades WHERE id = 1")
        await shown.until_rows(["2", "<b>bold</b>", "3"])
        await shown.press("Messages")
        await shown.see('{"news":{"operation":"DELETE","data":{"id":1,"symbol":null,"price":null}')
        assert await shown.ask("t.seen('.messages > div').length") == 4
        await shown.press("Stop")
        await shown.see("stopped")
        await postgres.run("INSERT INTO trades VALUES (4, 'NVDA', 'buy', 1)")
        await shown.write("subscription { trades { operation data { symbol } } }")
        await shown.press("Run")
        await shown.press("Rows")
        await shown.see("Select the key to see rows: id.")
        await shown.write("subscription { nothing { operation } }")
        await shown.press("Run")
        await shown.see("Cannot query field 'nothing'")


async def test_completion_offers_what_the_schema_has(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#graphql") as shown:
        await shown.write("{ trades { ")
        for letter in "si":
            await shown.key(letter)
        await shown.until("t.seen('.suggestions li').map((one) => one.firstChild.textContent).join() === 'side'")
        await shown.key("Enter")
        area = "t.named('textarea', 'GraphQL document')[0]"
        assert await shown.ask(f"{area}.value") == "{ trades { side"
        assert await shown.ask("t.seen('.suggestions').length") == 0
        await shown.write("{ trades(where: {side: {_eq: ")
        await shown.page.call("Input.dispatchKeyEvent", type="keyDown", key=" ", modifiers=2)
        await shown.until("t.seen('.suggestions li').map((one) => one.firstChild.textContent).join() === 'buy,sell'")
        await shown.key("ArrowDown")
        assert await shown.ask(f"document.getElementById({area}.getAttribute('aria-activedescendant')).innerText") != ""
        await shown.key("Tab")
        assert await shown.ask(f"{area}.value") == "{ trades(where: {side: {_eq: sell"
        # Without suggestions, Tab leaves the editor
        await shown.key("Tab")
        assert await shown.ask(f"document.activeElement !== {area}")


async def test_the_schema_is_explained(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#graphql") as shown:
        await shown.fill("Search the schema", "price")
        await shown.press("trades", ".docs button")
        await shown.see("Every trade")
        await shown.press("side", ".docs button")
        await shown.until("t.seen('.docs code').map((one) => one.textContent).join() === 'side,buy,sell'")


async def test_triggers_are_made_and_managed(postgres: Database, tmp_path: Path) -> None:
    async with receiving() as receiver, console(postgres, tmp_path, "/#triggers") as shown:
        await shown.see("No triggers")
        await shown.press("New trigger", "summary")
        await shown.fill("Name", "dear")
        await shown.fill("Webhook", receiver.url())
        await shown.press("Create trigger")
        await shown.see("EMPTY_FIRE")
        await shown.press("Add condition")
        await shown.choose("Column", "price")
        await shown.choose("Operator", "_gt")
        await shown.fill("Value", "100")
        await shown.press("Create trigger")
        await shown.see("Created dear.")
        await postgres.run("UPDATE trades SET price = 101 WHERE id = 1")
        await receiver.until(1)
        cells = "t.seen('#view-triggers tbody tr')[0].innerText.replace(/\\s+/g, ' ')"
        await shown.until(f"{cells}.startsWith('dear trades watching 1 1 0 1 0 0 200')")
        await shown.press("Test dear")
        await receiver.until(2)
        assert json.loads(receiver.bodies[1])["event_type"] == "TEST"
        await shown.press("Disable dear")
        await shown.until(f"{cells}.startsWith('dear trades disabled')")
        await shown.choose("Triggers of", "missing")
        await shown.see("No triggers")
        await shown.choose("Triggers of", "trades")
        await shown.press("Details of dear")
        await shown.see('{"price":{"_gt":100')
        await shown.press("Enable dear")
        await shown.until(f"{cells}.startsWith('dear trades watching')")
        await shown.press("Delete dear")
        await shown.see("Really delete?")
        await shown.press("Delete dear")
        await shown.see("No triggers")


async def test_after_a_restart_it_is_live_again_with_the_right_rows(postgres: Database, tmp_path: Path) -> None:
    postgres.execute(TABLE)
    async with chromium(tmp_path) as page:
        async with serving(tmp_path, SCHEMA, environ(postgres)) as service:
            shown = Console(page, service.port)
            await shown.open("/#rows/trades")
            await shown.until_rows(ONE, TWO, TEN)
        await shown.until("document.querySelector('#state').textContent === 'reconnecting'")
        assert await shown.rows() == [ONE, TWO, TEN], "what was known stays to be seen"
        await shown.until("t.seen('.standing .pill')[0].textContent === 'unknown'")
        await postgres.run("DELETE FROM trades WHERE id = 1; UPDATE trades SET price = 7 WHERE id = 2")
        port: Mapping[str, str] = {"GRAPHQL_PORT": str(service.port)}
        async with serving(tmp_path, SCHEMA, {**environ(postgres), **port}):
            await shown.until("document.querySelector('#state').textContent === 'live'")
            await shown.until_rows([*TWO[:3], "7"], TEN)
            await postgres.run("UPDATE trades SET price = 8 WHERE id = 2")
            await shown.until_rows([*TWO[:3], "8"], TEN)
            await shown.until("t.seen('.standing .pill')[0].textContent === 'live'")


async def test_sources_are_shown_as_they_stand(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path) as shown:
        card = "t.seen('[aria-label=\"Source %s\"]')[0].innerText.replace(/\\s+/g, ' ')"
        trades = card % "trades"
        await shown.until(f"{trades}.startsWith('trades idle Watch rows Every trade Rows 0')")
        assert "id key Int symbol String side side: buy, sell price Float" in await shown.ask(trades)
        await shown.press("Watch rows", "a")
        await shown.until_rows(ONE, TWO, TEN)
        await shown.show("Sources")
        await shown.until(f"{trades}.startsWith('trades live Watch rows Every trade Rows 3')")
        await postgres.run("UPDATE trades SET price = 3 WHERE id = 2")
        await shown.until(f"/Lag [0-9.,]+ ms/.test({trades})")
        await shown.press("Watch rows", "a", which=1)
        await shown.see("there is no relation missing")
        await shown.until("document.querySelector('#connection').title === 'stale: missing'")
        # States come by a subscription where the service has one, and are asked for otherwise
        await shown.ask(
            "fetch('/graphql?query={__type(name:\"SourceStatus\"){name}}').then((one) => one.json())"
            ".then((one) => (t.tells = one.data.__type !== null))"
        )
        await shown.until("t.tells !== undefined")
        asked = any(url.endswith("/health") for url in shown.page.requests)
        assert asked != await shown.ask("t.tells")


async def test_actors_are_shown(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path, "/#actors") as shown:
        await shown.see("2 sources")
        await shown.press("trades", "#view-actors button")
        await shown.see('"relation": "trades"')
        await shown.see('"rows": 0')
        await shown.ask("fetch('/graphql?query={trades{id}}')")
        await shown.see('"rows": 3')


async def test_where_the_debug_pages_are_refused_the_console_says_so(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path) as shown:
        card = "t.seen('.card')[0].innerText.replace(/\\s+/g, ' ')"
        await shown.until(f"{card}.includes('Subscriptions 0')")
        await shown.page.call("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "10.0.0.1"})
        await shown.see("Row counts and rates are not shown: debug pages are for this machine alone")
        await shown.until(f"{card}.includes('Rows – Changes / s – Lag – Subscriptions –')")
        await shown.show("Actors")
        await shown.see("The actors are not shown")
        assert "403" in shown.page.complaints[0]
        shown.page.complaints.clear()
        await shown.page.call("Network.setExtraHTTPHeaders", headers={})
        await shown.see("1 connection")
        shown.page.complaints.clear()


async def test_it_is_used_by_keyboard(postgres: Database, tmp_path: Path) -> None:
    async with console(postgres, tmp_path) as shown:
        focused = "t.name(document.activeElement)"
        ring = "getComputedStyle(document.activeElement).outlineStyle"
        for name in ("Skip to the content", "Sources", "Rows", "GraphQL", "Triggers", "Actors", "Keyboard shortcuts"):
            await shown.key("Tab")
            assert await shown.ask(focused) == name
            assert await shown.ask(ring) == "solid"
        for letter, view in (("r", "Rows"), ("q", "GraphQL"), ("t", "Triggers"), ("a", "Actors"), ("s", "Sources")):
            await shown.key("g")
            await shown.key(letter)
            await shown.until(f"document.title === '{view} – tycostream'")
        await shown.key("?")
        await shown.see("Pause the rows, and go on")
        await shown.key("Escape")
        await shown.until("!document.querySelector('dialog').open")
        await shown.key("g")
        await shown.key("q")
        await shown.until("document.title === 'GraphQL – tycostream'")
        await shown.key("e")
        await shown.until(f"{focused} === 'GraphQL document'")
        await shown.key("g")
        await shown.key("s")
        assert await shown.ask("document.title") == "GraphQL – tycostream", "in a field, letters are letters"


@pytest.mark.parametrize("path", ["/", "/graphql"])
async def test_every_view_fits_and_breaks_no_rule(postgres: Database, tmp_path: Path, path: str) -> None:
    long = "INSERT INTO trades VALUES (3, repeat('long ', 100), 'buy', 1.5);"
    async with receiving() as receiver, console(postgres, tmp_path, path, TABLE + long) as shown:
        create = 'mutation { create_trades_trigger(input: {name: "%s", webhook: "%s", fire: {id: {_gt: 1}}}) { name } }'
        body = json.dumps({"query": create % ("long" * 20, receiver.url("/hook" * 20))})
        await shown.ask(
            f"fetch('/graphql', {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, body: {json.dumps(body)}}})"
        )
        looks = set()
        for width in (390, 1280):
            for scheme in ("light", "dark"):
                await shown.page.look(width, scheme)
                await shown.until(f"innerWidth === {width}")
                for view in ("Sources", "Rows", "GraphQL", "Triggers", "Actors"):
                    await shown.show(view)
                    await shown.until(f"t.seen('main > section[aria-label={view}]')[0]?.innerText.length > 20")
                    if view == "GraphQL":
                        await shown.write(SUBSCRIPTION)
                        await shown.press("Run")
                        await shown.until("t.rows().length === 3")
                    elif view == "Triggers":
                        await shown.until("t.seen('#view-triggers tbody tr').length > 0")
                    elif view == "Rows":
                        await shown.until("t.rows().length === 4")
                    assert not await shown.ask(SOMETHING_STICKS_OUT), (view, width)
                    assert await shown.unnamed() == [], view
                text, behind = await shown.ask(
                    "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
                )
                assert text != behind
                looks.add((text, behind))
        assert len(looks) == 2
