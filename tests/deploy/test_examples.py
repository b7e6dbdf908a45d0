"""The databases of the compose files: their SQL is run, and tycostream follows what comes of it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.image import ROOT
from tests.deploy.test_compose import composed, environment
from tests.support.client import connected
from tests.support.materialize.database import MaterializeDatabase
from tests.support.postgres import Database, Postgres
from tests.support.service import serving

POSTGRES = ROOT / "deploy" / "postgres"
MATERIALIZE = ROOT / "deploy" / "materialize"

AUCTION_HOUSE = """
CREATE TABLE organizations (id bigint, name text);
CREATE TABLE users (id bigint, org_id bigint, name text);
CREATE TABLE accounts (id bigint, org_id bigint, balance bigint);
CREATE TABLE auctions (id bigint, seller bigint, item text, end_time timestamptz);
CREATE TABLE bids (id bigint, buyer bigint, auction_id bigint, amount integer, bid_time timestamptz);
CREATE FUNCTION mz_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';
"""
"""What Materialize's load generator AUCTION makes (MaterializeInc/materialize doc/user/content/sql/create-source/load-generator.md
and src/storage-types load generator), and its clock, in PostgreSQL's words."""


async def check(folder: Path, environ: dict[str, str], schema: Path) -> tuple[int | None, str]:
    """`tycostream check` with a schema file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tycostream", "check", cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "SCHEMA_PATH": str(schema)} | environ,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, output.decode()


# PostgreSQL


@pytest.fixture
def shop() -> Iterator[Database]:
    """A server with nothing set but what the compose file's command sets, and the example's database on it."""
    words = composed(POSTGRES / "docker-compose.yaml")["postgres"]["command"]
    assert words[:2] == ["postgres", "-c"]
    server = Postgres("\n".join(words[2::2]))
    name = environment(POSTGRES / "docker-compose.yaml")["DATABASE_NAME"]
    admin = Database(server.parameters("postgres"))
    admin.execute(f"CREATE DATABASE {name}")
    admin.close()
    database = Database(server.parameters(name))
    database.execute((POSTGRES / "init.sql").read_text())
    yield database
    database.close()
    server.stop()


async def test_postgresql_is_followed_as_its_own_user_with_the_rights_of_the_example(
    shop: Database, tmp_path: Path
) -> None:
    environ = environment(POSTGRES / "docker-compose.yaml") | {
        "DATABASE_HOST": shop.parameters.host, "DATABASE_PORT": str(shop.parameters.port),
    }  # fmt: skip
    assert environ["DATABASE_USER"] == "tycostream"
    code, told = await check(tmp_path, environ, POSTGRES / "schema.yaml")
    assert code == 0, told
    for line in (
        "products: fits; followed by logical replication",
        "orders: fits; followed by logical replication",
        "sales: fits; followed by a query whenever a table beneath it changes",
        "Everything fits.",
    ):
        assert f"{line}\n" in told
    ((password,),) = shop.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'tycostream'")
    assert password.startswith("SCRAM-SHA-256$")
    async with serving(tmp_path, (POSTGRES / "schema.yaml").read_text(), environ | {"GRAPHQL_UI": "false"}) as service:
        async with connected(service.port) as client:
            orders = await client.subscribe("subscription { orders { operation data { id status } fields timestamp } }")
            sales = await client.subscribe(
                "subscription { sales { operation data { sku orders revenue } fields timestamp } }", key=("sku",)
            )
            await client.until(lambda: len(orders.rows) == 3 and len(sales.rows) == 3)
            await shop.run("UPDATE orders SET status = 'shipped' WHERE sku = 'mug'")
            await client.until(lambda: orders.rows[("1",)]["status"] == "shipped")
            await shop.run("INSERT INTO orders (sku, quantity) VALUES ('mug', 1)")
            await client.until(lambda: sales.rows[("mug",)] == {"sku": "mug", "orders": "2", "revenue": "37.50"})
        assert await shop.run("SELECT DISTINCT usename FROM pg_stat_replication") == [("tycostream",)]


# Materialize


def statements() -> list[str]:
    """The statements of the example."""
    text = re.sub(r"--.*", "", (MATERIALIZE / "init.sql").read_text())
    return [one.strip() for one in text.split(";") if one.strip()]


def test_materializes_example_can_be_run_again() -> None:
    source, *views = statements()
    assert (
        source
        == "CREATE SOURCE IF NOT EXISTS auction_house FROM LOAD GENERATOR AUCTION (TICK INTERVAL '1s') FOR ALL TABLES"
    )
    for view in views:
        assert re.match(r"CREATE MATERIALIZED VIEW IF NOT EXISTS \w+ AS\sSELECT ", view)
        # Materialize compares mz_now() as a whole: there is no arithmetic on its side
        assert not re.search(r"mz_now\(\)\s*[-+]", view)


async def test_materializes_views_fit_the_schema_file_and_are_followed(
    materialize: MaterializeDatabase, tmp_path: Path
) -> None:
    await materialize.run(AUCTION_HOUSE)
    await materialize.run("""
        INSERT INTO auctions VALUES (1, 7, 'Gift Basket', now() + interval '1 hour'), (2, 8, 'Custom Art', now() - interval '1 minute'), (3, 8, 'Old', now() - interval '1 hour');
        INSERT INTO bids VALUES (10, 1, 1, 59, now()), (11, 2, 1, 60, now()), (20, 1, 2, 5, now()), (30, 1, 3, 9, now())
    """)
    for view in statements()[1:]:  # a view of PostgreSQL's is up to date, as a materialized one of Materialize's is
        await materialize.run(view.replace("CREATE MATERIALIZED VIEW IF NOT EXISTS", "CREATE VIEW"))
    code, told = await check(tmp_path, materialize.environ, MATERIALIZE / "schema.yaml")
    assert code == 0, told
    for source in ("open_auctions", "standings", "items"):
        assert f"{source}: fits; followed by SUBSCRIBE; whether" in told
    schema = (MATERIALIZE / "schema.yaml").read_text()
    async with serving(tmp_path, schema, materialize.environ) as service, connected(service.port) as client:
        standings = await client.subscribe(
            "subscription { standings { operation data { auction_id item bids highest_bid } fields timestamp } }",
            key=("auction_id",),
        )
        opened = await client.subscribe(
            "subscription { open_auctions { operation data { id item } fields timestamp } }"
        )
        await client.until(lambda: len(standings.rows) == 2 and len(opened.rows) == 1)
        await materialize.run("INSERT INTO bids VALUES (12, 3, 1, 75, now())")
        await client.until(
            lambda: (
                standings.rows[("1",)] == {"auction_id": "1", "item": "Gift Basket", "bids": "3", "highest_bid": "75"}
            )
        )
        await materialize.run("UPDATE auctions SET end_time = now() WHERE id = 1")
        await client.until(lambda: not opened.rows)
