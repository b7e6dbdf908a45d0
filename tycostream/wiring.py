"""From settings to what the rooms are handed: which database, how it is reached, how webhooks are called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tycostream.databases.connection import SESSION_OPTIONS, AsyncConnection, ConnectionParameters, opened
from tycostream.databases.driver import DatabaseError
from tycostream.databases.embedded import EmbeddedPostgres
from tycostream.databases.hosts import Address, Hosts
from tycostream.databases.materialize import session_options
from tycostream.settings import Problem, Settings, SettingsError
from tycostream.triggers import CourierConfig, Patience, Schedule, TargetPolicy

SUPPORTED = ("materialize", "postgres", "embedded")


def require_supported(settings: Settings) -> None:
    """Raises SettingsError for a kind of database that there is no driver for, or none that reads as is wished."""
    database = settings.database
    if database.type not in SUPPORTED:
        message = f"{database.type} is not supported yet; {' and '.join(SUPPORTED)} are"
        raise SettingsError([Problem("DATABASE_TYPE", message)])
    if database.reader == "process" and database.type != "materialize":
        message = f"found 'process', which is for materialize alone, expected loop for {database.type}"
        raise SettingsError([Problem("DATABASE_READER", message)])


def connection_parameters(settings: Settings) -> ConnectionParameters:
    """How to reach the database that the settings name; of no meaning for the embedded one."""
    database = settings.database
    options = session_options(database.cluster) if database.type == "materialize" else SESSION_OPTIONS
    addresses = [Address(*address) for address in database.addresses]
    hosts = Hosts(addresses) if len(addresses) > 1 else None
    host, port = addresses[0].host, addresses[0].port
    return ConnectionParameters(host, port, database.user, database.password, database.name, options, hosts)


def courier_config(settings: Settings, policy: TargetPolicy) -> CourierConfig:
    """How webhooks are called."""
    hooks = settings.webhooks
    return CourierConfig(
        policy=policy,
        patience=Patience(connect=hooks.connect_seconds, request=hooks.timeout_seconds),
        schedule=Schedule(
            attempts=hooks.attempts,
            least=hooks.retry_min_ms / 1000,
            most=hooks.retry_max_ms / 1000,
            max_age=hooks.max_age_seconds,
        ),
        concurrency=hooks.concurrency,
        concurrency_per_endpoint=hooks.concurrency_per_endpoint,
        queue=hooks.queue,
        queue_per_endpoint=hooks.queue_per_endpoint,
    )


def embedded_database(settings: Settings) -> EmbeddedPostgres:
    """The embedded database that the settings describe. Raises DatabaseError where its initial SQL can't be read."""
    init = settings.database.embedded_init
    try:
        init_sql = Path(init).read_text(encoding="utf-8") if init is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise DatabaseError(f"EMBEDDED_INIT: {init} can't be read: {error}", permanent=True) from None
    return EmbeddedPostgres(settings.database.embedded_path, init_sql)


@asynccontextmanager
async def database_connection(settings: Settings) -> AsyncIterator[AsyncConnection]:
    """A connection to the database that the settings name; the embedded one runs for so long.

    Raises SettingsError for a kind that there is no driver for, and DatabaseError.
    """
    require_supported(settings)
    embedded = embedded_database(settings) if settings.database.type == "embedded" else None
    try:
        parameters = await embedded.start() if embedded is not None else connection_parameters(settings)
        async with opened(parameters) as connection:
            yield connection
    finally:
        if embedded is not None:
            await embedded.stop()
