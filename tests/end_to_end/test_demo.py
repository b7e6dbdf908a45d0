"""The demonstration's page, in a real browser against the whole service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.demo.support import Demo, demonstrating, fill
from tests.support.browser import Page, chromium, needs_chromium
from tests.support.postgres import Database, Postgres
from tycostream.demo.market import NAMED, Trade

# What the tests ask the page for
READY = (
    "document.querySelectorAll('#positions tr.row').length && document.querySelector('#badge').textContent === 'Live'"
)
ROW = "[...document.querySelectorAll('#positions tr.row')].find(row => row.cells[0].textContent === '{}')"
PRICE, PNL, RISK = 4, 6, 7
SYMBOLS = "[...document.querySelectorAll('#positions tr.row')].map(row => row.cells[0].textContent)"
TRADES = "[...document.querySelectorAll('#trades tbody tr')].map(row => +row.dataset.id)"
TRIGGERS = "[...document.querySelectorAll('#triggers li:not(.empty)')]"
ALERTS = "[...document.querySelectorAll('#alerts li:not(.empty)')].map(one => [one.querySelector('b').textContent, one.querySelector('.kind').dataset.kind, one.dataset.trigger].join())"


def cell(symbol: str, place: int) -> str:
    return f"{ROW.format(symbol)}.cells[{place}]"


def button(within: str, text: str) -> str:
    return f"[...({within}).querySelectorAll('button')].find(one => one.textContent === '{text}')"


async def visit(page: Page, demo: Demo) -> None:
    await page.open(demo.url)
    await page.until(READY)


async def press(page: Page, key: str) -> None:
    """A key as a person presses it: page and form controls react as the browser has it."""
    codes = {
        "ArrowDown": 40,
        "ArrowUp": 38,
        "ArrowRight": 39,
        "ArrowLeft": 37,
        "End": 35,
        "Home": 36,
        "Enter": 13,
        "Tab": 9,
        " ": 32,
    }
    text = {"Enter": "\r", " ": " "}.get(key, "")
    for kind in ("keyDown", "keyUp"):
        await page.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], code=key, text=text if kind == "keyDown" else "")  # fmt: skip


async def slide(page: Page, name: str, value: int) -> None:
    await page.ask(
        f"(() => {{ const one = document.querySelector('#{name}'); one.value = {value}; one.dispatchEvent(new Event('input')); }})()"
    )


async def value(demo: Demo, column: str, symbol: str) -> float:
    ((found,),) = await demo.rows(f"SELECT {column}::float8 FROM live_pnl WHERE symbol = '{symbol}'")
    assert isinstance(found, float)
    return found


@needs_chromium
async def test_a_price_that_changes_flashes_and_has_an_arrow(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        where = cell("BRNT", PRICE)
        assert await page.ask(f"[{where}.dataset.moved ?? null, {where}.getAnimations().length]") == [None, 0]
        assert await page.ask(f"getComputedStyle({where}, '::after').content") == '""'
        arrows, colours = {}, {}
        for direction, price in (("up", 1234.5), ("down", 12.25)):
            await demo.price("BRNT", price)
            await page.until(f"{where}.textContent === '{price:,.2f}' && {where}.dataset.moved === '{direction}'")
            flashed = f"{where}.getAnimations().map(one => one.effect.getKeyframes()[0].backgroundColor).join()"
            assert f"--{direction}" in await page.ask(flashed)
            arrows[direction] = await page.ask(f"getComputedStyle({where}, '::after').content")
            colours[direction] = await page.ask(f"getComputedStyle({where}, '::after').color")
            assert await page.ask(f"{cell('BRNT', PNL)}.dataset.moved") == direction
        assert arrows == {"up": '"▲" / "up"', "down": '"▼" / "down"'}
        assert colours["up"] != colours["down"]
        assert await page.ask(f"{cell('CADE', PRICE)}.dataset.moved ?? null") is None
        await page.until(f"{where}.getAnimations().length === 0")
        # who wants no motion sees the arrow alone
        await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        await demo.price("BRNT", 13.5)
        await page.until(f"{where}.dataset.moved === 'up'")
        assert await page.ask(f"{where}.getAnimations().length") == 0
        assert page.complaints == []


@needs_chromium
async def test_totals_are_those_of_all_positions(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        for _ in range(2):
            ((total, unrealized, exposure),) = await demo.rows(
                "SELECT sum(total_pnl)::float8, sum(unrealized_pnl)::float8, sum(exposure)::float8 FROM live_pnl"
            )
            wanted = [round(float(str(one))) for one in (total, unrealized, exposure)]
            shown = "['pnl', 'unrealized', 'exposure'].map(one => +document.querySelector(`#total-${one}`).textContent.replaceAll(/[,+]/g, '').replace('−', '-'))"
            await page.until(f"{shown}.every((one, at) => Math.abs(one - {wanted}[at]) <= 1)")
            await demo.price("ONYX", 321.0)
        assert page.complaints == []


@needs_chromium
async def test_a_trigger_fires_clears_is_disabled_and_deleted(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        await page.until("document.querySelectorAll('#triggers .empty, #alerts .empty').length === 2")
        await page.ask("document.querySelector('#trigger-column').value = 'last_price'")
        await page.ask("document.querySelector('#trigger-column').onchange()")
        await page.ask("document.querySelector('#trigger-fire').value = 5000")
        await page.ask("document.querySelector('#trigger-clear').value = 6000")
        create = button("document.querySelector('#trigger-form')", "Create trigger")
        await page.ask(f"{create}.click()")
        await page.until("document.querySelector('#trigger-error').textContent.includes('mend one of the two')")
        await page.ask("document.querySelector('#trigger-clear').value = 4000")
        await page.ask(f"{create}.click()")
        await page.until(f"{TRIGGERS}.length === 1")
        assert await page.ask("document.querySelector('#trigger-error').textContent") == ""
        name = "Price above 5,000"
        assert await page.ask(f"{TRIGGERS}[0].querySelector('b').textContent") == name
        await page.ask(f"{create}.click()")  # there is one of that name
        await page.until("document.querySelector('#trigger-error').textContent !== ''")

        await demo.price("GALE", 5001)
        await page.until(f"{ALERTS}.join('|') === 'GALE,FIRE,{name}'")
        assert "now 5,001" in await page.ask("document.querySelector('#alerts li').textContent")
        await demo.price("GALE", 4500)
        await demo.price("GALE", 3999)
        await page.until(f"{ALERTS}.join('|') === 'GALE,CLEAR,{name}|GALE,FIRE,{name}'")
        await page.until(f"{TRIGGERS}[0].textContent.includes('Fired for 0 now; fired 1, cleared 1 times')")

        await page.ask(f"({button(TRIGGERS + '[0]', 'Test')}).click()")
        await page.until(f"{ALERTS}[0].endsWith(',TEST,{name}')")
        await page.ask(f"({button(TRIGGERS + '[0]', 'Disable')}).click()")
        await page.until(f"{TRIGGERS}[0].dataset.enabled === 'false'")
        await demo.price("GALE", 5002)
        await page.until(f"{TRIGGERS}[0].textContent.includes('Fired for 1 now')")
        await page.ask(f"({button(TRIGGERS + '[0]', 'Enable')}).click()")
        await page.until(f"{TRIGGERS}[0].dataset.enabled === 'true'")
        await demo.price("HALO", 5003)
        await page.until(f"{ALERTS}[0] === 'HALO,FIRE,{name}'")
        assert await page.ask(f"{ALERTS}.length") == 4, "nobody heard of GALE while it was disabled"
        await page.ask(f"({button(TRIGGERS + '[0]', 'Delete')}).click()")
        await page.until("document.querySelector('#triggers .empty') !== null")
        assert page.complaints == []


@needs_chromium
async def test_a_trigger_for_the_selected_position_alone(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        await page.ask(f"{ROW.format('CADE')}.click()")
        await page.ask("document.querySelector('#trigger-column').value = 'change_percent'")
        await page.ask("document.querySelector('#trigger-side').value = 'below'")
        await page.ask("document.querySelector('#trigger-side').onchange()")
        assert await page.ask("['fire', 'clear'].map(one => +document.querySelector(`#trigger-${one}`).value)") == [
            -1,
            -0.5,
        ]
        await page.ask("document.querySelector('#trigger-fire').value = -50")
        await page.ask("document.querySelector('#trigger-scope').value = 'one'")
        await page.ask(f"{button('document', 'Create trigger')}.click()")
        await page.until(f"{TRIGGERS}.length === 1")
        await demo.price("BRNT", 1)
        await demo.price("CADE", 1)
        await page.until(f"{ALERTS}.join('|') === 'CADE,FIRE,CADE change % below −50'")
        assert page.complaints == []


@needs_chromium
async def test_a_thumb_that_moves_changes_risk_levels_at_once(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        exposure = await value(demo, "exposure", "BRNT")
        assert 2000 < exposure < 99_000
        level = f"{cell('BRNT', RISK)}.textContent"
        below, above = int(exposure // 1000) * 1000, (int(exposure // 1000) + 1) * 1000
        await slide(page, "warning", 0)
        await slide(page, "critical", above)
        await page.until(f"{level} === 'warning'")
        await slide(page, "critical", below)
        await page.until(f"{level} === 'critical'")
        query = await page.ask("document.querySelector('#risk-query').textContent")
        assert (
            f"{{state: critical, when: {{exposure: {{_gt: {below}}}}}, until: {{exposure: {{_lt: {round(below * 0.95)}}}}}}}"
            in query
        )
        counts = "document.querySelector('#risk-shares').textContent"
        ((critical, warning),) = await demo.rows(
            f"SELECT count(*) FILTER (WHERE exposure > {below}), count(*) FILTER (WHERE exposure > 0 AND exposure <= {below}) FROM live_pnl"
        )
        await page.until(f"{counts} === '{critical} critical, {warning} warning'")

        # It is let go some way below, not at once
        price = await value(demo, "last_price", "BRNT")
        await demo.price("BRNT", round(price * below / exposure * 0.97, 2))
        shown = f"{cell('BRNT', PRICE)}.textContent"
        await page.until(f"{shown} === '{price * below / exposure * 0.97:,.2f}'")
        assert await page.ask(level) == "critical"
        await demo.price("BRNT", round(price * below / exposure * 0.9, 2))
        await page.until(f"{level} === 'warning'")

        # A thumb pushes the other one
        await slide(page, "warning", 90_000)
        assert await page.ask("document.querySelector('#critical').value") == "90000"
        await page.until(f"{level} === 'normal'")
        await page.ask("document.querySelector('#only-risky').click()")
        ((risky,),) = await demo.rows("SELECT count(*) FROM live_pnl WHERE exposure > 90000")
        await page.until(f"{SYMBOLS}.length === {risky}")
        assert page.complaints == []


@needs_chromium
async def test_trades_follow_the_selected_position(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        wanted: dict[str, list[Any]] = {}
        for symbol in ("ALDR", "DUNE"):
            found = await demo.rows(f"SELECT id FROM trades WHERE symbol = '{symbol}' ORDER BY id DESC")
            wanted[symbol] = [number for (number,) in found]
        await page.until(f"{TRADES}.join() === '{','.join(map(str, wanted['ALDR']))}'")
        await page.ask(f"{ROW.format('DUNE')}.click()")
        await page.until(f"{TRADES}.join() === '{','.join(map(str, wanted['DUNE']))}'")
        assert await page.ask("document.querySelector('#trades-name').textContent") == "DUNE · Dune Solar"
        assert await page.ask(f"{ROW.format('DUNE')}.getAttribute('aria-selected')") == "true"
        await demo.trade(Trade("ALDR", "buy", 1, 5.0), Trade("DUNE", "sell", 1234, 7.0))
        await page.until(f"{TRADES}.length === {len(wanted['DUNE']) + 1}")
        newest = "document.querySelector('#trades tbody tr').textContent"
        assert "↓ sell1,2347.008,638" in await page.ask(newest)
        position = await value(demo, "net_position", "DUNE")
        await page.until(f"document.querySelector('#figures b').textContent === '{position:,.0f}'.replace('-', '−')")
        assert page.complaints == []


@needs_chromium
async def test_a_restart_shows_and_ends_in_the_right_rows(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    badge = "document.querySelector('#badge').textContent"
    async with chromium(tmp_path) as page:
        async with demonstrating(postgres) as demo:
            port = demo.service.port
            await visit(page, demo)
            await page.ask(f"{ROW.format('BRNT')}.click()")
            await page.until(f"{TRADES}.length > 0")
        await page.until(f"{badge} === 'Reconnecting'")
        assert await page.ask(f"{SYMBOLS}.length") > 5, "what was shown stays"
        postgres.execute("UPDATE instruments SET price = 77.77 WHERE symbol = 'ALDR'")
        postgres.execute("DELETE FROM trades WHERE symbol IN ('CADE', 'BRNT')")
        postgres.execute("DELETE FROM holdings WHERE symbol = 'CADE'")
        async with demonstrating(postgres, port) as demo:
            await page.until(f"{badge} === 'Live'")
            await page.until(f"{cell('ALDR', PRICE)}.textContent === '77.77'")
            await page.until(f"!{SYMBOLS}.includes('CADE') && {TRADES}.length === 0")
            assert await page.ask("document.querySelector('#trades-name').textContent") == "BRNT · Brent Harbour"
            await page.until(f"document.querySelector('#positions-count').textContent === '{NAMED - 1}'")
            total = await demo.rows("SELECT round(sum(total_pnl))::integer FROM live_pnl")
            shown = "+document.querySelector('#total-pnl').textContent.replaceAll(/[,+]/g, '').replace('−', '-')"
            await page.until(f"Math.abs({shown} - {total[0][0]}) <= 1")
            await page.until(f"['normal', 'warning', 'critical'].includes({cell('ALDR', RISK)}.textContent)")
            await demo.price("ALDR", 78.88)
            await page.until(f"{cell('ALDR', PRICE)}.textContent === '78.88'")


@needs_chromium
async def test_a_lost_database_makes_the_page_stale_until_it_is_back(tmp_path: Path) -> None:
    server = await asyncio.to_thread(Postgres)
    badge = "document.querySelector('#badge').textContent"
    try:
        database = server.create_database()
        await fill(database, NAMED)
        async with demonstrating(database) as demo, chromium(tmp_path) as page:
            await visit(page, demo)
            database.close()
            await asyncio.to_thread(server.halt)
            await page.until(f"{badge} === 'Stale'")
            await page.until("document.querySelector('#badge').title.includes('live_pnl: ')")
            await asyncio.to_thread(server.start)
            await page.until(f"{badge} === 'Live'")
            await demo.price("ALDR", 79.99)
            await page.until(f"{cell('ALDR', PRICE)}.textContent === '79.99'")
    finally:
        await asyncio.to_thread(server.stop)


@needs_chromium
async def test_everything_can_be_done_with_the_keyboard(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        await page.look(1280, "light")
        reached = []
        for _ in range(40):
            await press(page, "Tab")
            reached.append(await page.ask("(one => one.id || one.textContent)(document.activeElement)"))
        for name in (
            "Console",
            "only-risky",
            "search",
            "Price",
            "positions",
            "trades",
            "warning",
            "critical",
            "slack",
            "trigger-fire",
            "Create trigger",
        ):
            assert name in reached, reached
        selected = "document.querySelector('#positions [aria-selected=true]')?.cells[0].textContent"
        await page.ask("document.querySelector('#positions').focus()")
        for key, symbol in (
            ("ArrowDown", "BRNT"),
            ("ArrowDown", "CADE"),
            ("ArrowUp", "BRNT"),
            ("End", "WREN"),
            ("Home", "ALDR"),
        ):
            await press(page, key)
            await page.until(f"{selected} === '{symbol}'")
            assert (
                await page.ask("document.querySelector('#positions').getAttribute('aria-activedescendant')")
                == f"position-{symbol}"
            )
            inside = f"(([one, all]) => one.top >= all.top && one.bottom <= all.bottom + 1)([{ROW.format(symbol)}, document.querySelector('#positions')].map(one => one.getBoundingClientRect()))"
            assert await page.ask(inside)
        await page.ask("document.querySelector('th[data-name=last_price] button').focus()")
        for direction, order in (("descending", "DESC"), ("ascending", "ASC")):
            await press(page, "Enter")
            first = await demo.rows(f"SELECT symbol FROM live_pnl ORDER BY last_price {order} LIMIT 1")
            await page.until(f"{SYMBOLS}[0] === '{first[0][0]}'")
            assert (
                await page.ask("document.querySelector('th[data-name=last_price]').getAttribute('aria-sort')")
                == direction
            )
        before = int(await page.ask("document.querySelector('#critical').value"))
        await page.ask("document.querySelector('#critical').focus()")
        await press(page, "ArrowRight")
        await page.until(f"document.querySelector('#critical-at').textContent === '{before + 1000:,}'")
        await page.ask("document.querySelector('#trigger-fire').focus()")
        await press(page, "Enter")
        await page.until(f"{TRIGGERS}.length === 1")
        await page.ask(f"({button(TRIGGERS + '[0]', 'Delete')}).focus()")
        await press(page, "Enter")
        await page.until(f"{TRIGGERS}.length === 0")
        assert page.complaints == []


@needs_chromium
async def test_it_fits_every_screen_in_light_and_dark_and_asks_nobody_else(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, NAMED)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        await page.ask(f"{button('document', 'Create trigger')}.click()")
        await demo.price("ALDR", 9_999_999.99)  # as long as a number gets
        await page.until(f"{ALERTS}.length === 1 && {cell('ALDR', PRICE)}.textContent === '9,999,999.99'")
        looks = set()
        for width in (320, 390, 768, 1280, 1920):
            for scheme in ("light", "dark"):
                await page.look(width, scheme)
                await page.until(f"innerWidth === {width}")
                out = "[...document.querySelectorAll('body *')].filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !one.closest('.scroll')).map(one => one.outerHTML.slice(0, 90))"
                assert await page.ask(out) == [], f"sticks out at {width}"
                assert await page.ask("document.documentElement.scrollWidth <= innerWidth")
                looks.add(
                    await page.ask(
                        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color].join()"
                    )
                )
        assert len(looks) == 2
        there = f"127.0.0.1:{demo.service.port}/"
        assert f"ws://{there}graphql" in page.requests
        strangers = [url for url in page.requests if not url.startswith((f"http://{there}", f"ws://{there}", "data:"))]
        assert strangers == []
        assert page.complaints == []


@needs_chromium
async def test_thousands_of_rows_of_which_few_are_drawn(postgres: Database, tmp_path: Path) -> None:
    await fill(postgres, 5000)
    async with demonstrating(postgres) as demo, chromium(tmp_path) as page:
        await visit(page, demo)
        await page.until("document.querySelector('#positions-count').textContent === '5,000'")
        await page.until("document.querySelector('#total-risk').textContent.endsWith('of 5,000')")
        assert await page.ask("document.querySelectorAll('#positions tr').length") < 60
        ((last,),) = await demo.rows('SELECT max(symbol COLLATE "C") FROM instruments')
        scroll = "document.querySelector('#positions')"
        await page.ask(f"{scroll}.scrollTop = {scroll}.scrollHeight")
        await page.until(f"{SYMBOLS}.at(-1) === '{last}'")
        assert await page.ask(f"{ROW.format(last)}.getAttribute('aria-rowindex')") == "5001"
        await demo.price(str(last), 4321.0)
        await page.until(f"{cell(str(last), PRICE)}.textContent === '4,321.00'")
        await page.ask("(one => { one.value = 'alder'; one.oninput(); })(document.querySelector('#search'))")
        await page.until(f"{SYMBOLS}.join() === 'ALDR'")
        assert await page.ask("document.querySelector('#positions-count').textContent") == "1 of 5,000"
        assert page.complaints == []
