"""The settings that come from environment variables and the `.env` file."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dotenv.parser import parse_stream

from tycostream.settings.problems import Problem, SettingsError, did_you_mean
from tycostream.settings.variables import (
    DatabaseType,
    Variable,
    addresses,
    at_least_zero,
    hosts,
    networks,
    networks_and_hosts,
    one_of,
    optional_path,
    origins,
    path,
    port,
    seconds,
    slot_name,
    text,
    variable,
    variables_of,
    whole_number,
    yes_or_no,
)

LogLevel = Literal["error", "warn", "info", "debug", "verbose"]
DebugAccess = Literal["loopback", "any"]
DatabaseReader = Literal["loop", "process"]
SourceStart = Literal["lazy", "eager"]
SlowConsumer = Literal["conflate", "drop_oldest", "disconnect"]

_MILLISECONDS = whole_number(1, 86_400_000)
_COUNT = whole_number(1, 1_000_000_000)
_COUNT_OR_NONE = whole_number(0, 1_000_000_000)
_BYTES = whole_number(1024, 1 << 50)


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Which database, and how to reach it. The embedded database has its own address: only the paths concern it."""

    type: DatabaseType = variable(
        "DATABASE_TYPE",
        "materialize",
        one_of(DatabaseType),
        "The kind of database: materialize, postgres, risingwave or embedded.",
    )
    host: str = variable(
        "DATABASE_HOST",
        "localhost",
        hosts,
        "The database's host name, address or socket folder; or several (a:6875,b:6875), of which one is used.",
    )
    port: int = variable(
        "DATABASE_PORT",
        "6875",
        port(1),
        "The database's port.",
        defaults={"postgres": "5432", "risingwave": "4566", "embedded": "5432"},
    )
    user: str = variable(
        "DATABASE_USER",
        "materialize",
        text,
        "The user to connect as.",
        defaults={"postgres": "postgres", "risingwave": "root", "embedded": "postgres"},
    )
    password: str = variable(
        "DATABASE_PASSWORD",
        "materialize",
        text,
        "The user's password.",
        defaults={"postgres": "", "risingwave": "", "embedded": ""},
        secret=True,
    )
    name: str = variable(
        "DATABASE_NAME",
        "materialize",
        text,
        "The database to connect to.",
        defaults={"postgres": "postgres", "risingwave": "dev", "embedded": "postgres"},
    )
    cluster: str = variable(
        "DATABASE_CLUSTER",
        "",
        text,
        "Materialize: the cluster that runs the subscriptions; the user's default where it is empty.",
    )
    reader: DatabaseReader = variable(
        "DATABASE_READER",
        "loop",
        one_of(DatabaseReader),
        "Materialize: who reads rows from the database: loop (the service itself) or process (one more for each source"
        " that is followed).",
    )
    embedded_path: Path = variable(
        "EMBEDDED_PATH",
        "./.tycostream/postgres",
        path,
        "The folder of the embedded database; made where it is missing.",
    )
    embedded_init: Path | None = variable(
        "EMBEDDED_INIT", "", optional_path, "An SQL file that is run once, when the embedded database is first made."
    )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Every host with its port."""
        return addresses(self.host, self.port)


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What is served, where, and to whom. `allowed_origins` is empty where any origin may connect."""

    port: int = variable("GRAPHQL_PORT", "4000", port(0), "The port to listen on; 0 takes any free one.")
    host: str = variable("GRAPHQL_HOST", "", text, "The address to listen on; all of them where it is empty.")
    workers: int = variable(
        "WORKERS",
        "0",
        whole_number(0, 64),
        "Processes that serve clients, beside the one that follows the database; 0: one process does everything.",
    )
    ui: bool = variable("GRAPHQL_UI", "false", yes_or_no, "Whether browsers get a console to write queries in.")
    schema_path: Path = variable("SCHEMA_PATH", "./schema.yaml", path, "The schema file, which names the sources.")
    log_level: LogLevel = variable(
        "LOG_LEVEL", "info", one_of(LogLevel), "How much is logged: error, warn, info, debug or verbose."
    )
    allowed_origins: tuple[str, ...] = variable(
        "ALLOWED_ORIGINS", "*", origins, "Web origins whose pages may connect, separated by commas; * for any."
    )
    trusted_proxies: tuple[str, ...] = variable(
        "TRUSTED_PROXIES",
        "",
        networks,
        "Networks of the proxies (10.0.0.0/8, ::1) whose X-Forwarded-For is believed; nobody's where it is empty.",
    )
    debug_access: DebugAccess = variable(
        "DEBUG_ACCESS",
        "loopback",
        one_of(DebugAccess),
        "Who may see the debug pages: loopback (this machine alone) or any.",
    )


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """When sources read their relations, and how they wait."""

    start: SourceStart = variable(
        "SOURCE_START",
        "lazy",
        one_of(SourceStart),
        "When a source is read: lazy (once somebody asks for it) or eager (at start).",
    )
    linger_seconds: float = variable(
        "SOURCE_LINGER_SECONDS", "60", seconds(0), "How long a lazy source is kept after its last client has gone."
    )
    poll_interval_ms: int = variable(
        "POLL_INTERVAL_MS", "1000", _MILLISECONDS, "Time between two queries of a relation that can't be streamed."
    )
    view_interval_ms: int = variable(
        "VIEW_INTERVAL_MS", "100", _MILLISECONDS, "Least time between two queries of a view whose tables change."
    )
    slot_timeout_seconds: float = variable(
        "SLOT_TIMEOUT_SECONDS",
        "30",
        seconds(1),
        "How long a new replication slot waits for transactions that are open.",
    )
    replication_slot: str = variable(
        "REPLICATION_SLOT",
        "",
        slot_name,
        "PostgreSQL: a replication slot that stays, from which a lost connection and the next start go on; where it is"
        " empty, each connection makes a temporary one.",
    )
    silence_seconds: float = variable(
        "DATABASE_SILENCE_SECONDS",
        "30",
        seconds(0),
        "How long the database may say nothing though it was asked, or though, as with Materialize, it always has"
        " something to say, before the connection counts as lost; 0 for ever.",
    )
    reconnect_min_ms: int = variable(
        "RECONNECT_MIN_MS",
        "100",
        _MILLISECONDS,
        "The first wait before a lost connection is opened again; it doubles each time.",
    )
    reconnect_max_ms: int = variable(
        "RECONNECT_MAX_MS", "30000", _MILLISECONDS, "The longest wait before a lost connection is opened again."
    )
    recent_changes_rows: int = variable(
        "RECENT_CHANGES_ROWS",
        "100000",
        whole_number(0, 1_000_000_000),
        "Changes that a source remembers for clients that come back with a cursor; 0 remembers none.",
    )
    recent_changes_bytes: int = variable(
        "RECENT_CHANGES_BYTES",
        "67108864",
        whole_number(0, 1_000_000_000_000),
        "About how much memory the rows that these changes replaced may take, for each source.",
    )
    recent_changes_seconds: float = variable(
        "RECENT_CHANGES_SECONDS", "300", seconds(0), "How long a source remembers its changes."
    )
    query_timeout_seconds: float = variable(
        "QUERY_TIMEOUT_SECONDS", "10", seconds(0.001), "How long a query waits for the first snapshot of its source."
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may ask for, and what is kept for one that is slow."""

    max_tokens: int = variable("MAX_TOKENS", "10000", _COUNT, "Tokens of a GraphQL document.")
    max_depth: int = variable(
        "MAX_DEPTH", "50", whole_number(1, 100), "Selection sets within one another in a GraphQL document."
    )
    max_aliases: int = variable("MAX_ALIASES", "100", _COUNT, "Aliases in a GraphQL document, fragments written out.")
    max_message_bytes: int = variable(
        "MAX_MESSAGE_BYTES",
        "1048576",
        whole_number(1024, 1_073_741_824),
        "Bytes of a client's message or request body.",
    )
    max_connections: int = variable("MAX_CONNECTIONS", "10000", _COUNT, "WebSocket clients at one time.")
    max_connections_per_address: int = variable(
        "MAX_CONNECTIONS_PER_ADDRESS",
        "0",
        _COUNT_OR_NONE,
        "WebSocket clients at one time from one address (of IPv6: from one /64); 0 for no limit of its own.",
    )
    max_subscriptions_per_connection: int = variable(
        "MAX_SUBSCRIPTIONS_PER_CONNECTION", "1000", _COUNT, "Subscriptions of one client at one time."
    )
    operations_per_second: float = variable(
        "OPERATIONS_PER_SECOND",
        "100",
        at_least_zero(1_000_000),
        "Operations that one client may start a second in the long run; 0 for any number.",
    )
    operations_burst: int = variable(
        "OPERATIONS_BURST", "2000", _COUNT, "Operations that one client may start at once."
    )
    max_triggers: int = variable("MAX_TRIGGERS", "10000", _COUNT, "Triggers at one time, on all sources together.")
    outbox_rows: int = variable(
        "OUTBOX_ROWS", "10000", _COUNT, "Changes held for a slow client before those of the same row are merged."
    )
    outbox_max_rows: int = variable(
        "OUTBOX_MAX_ROWS", "200000", _COUNT, "Merged changes held for a slow client before it is disconnected."
    )
    slow_consumer: SlowConsumer = variable(
        "SLOW_CONSUMER",
        "conflate",
        one_of(SlowConsumer),
        "What becomes of changes for a slow client whose subscription does not say: conflate, drop_oldest, disconnect.",
    )
    outbox_drop_rows: int = variable(
        "OUTBOX_DROP_ROWS",
        "1000",
        _COUNT,
        "Changes held for a slow subscription of drop_oldest before the oldest transactions are dropped.",
    )
    max_pending_bytes: int = variable(
        "MAX_PENDING_BYTES",
        "16777216",
        _BYTES,
        "Bytes of answers that wait for one client that does not read, before it is disconnected.",
    )
    max_total_pending_bytes: int = variable(
        "MAX_TOTAL_PENDING_BYTES",
        "1073741824",
        _BYTES,
        "About how many bytes wait for all clients together, before those that the most waits for are disconnected.",
    )
    worker_backlog_bytes: int = variable(
        "WORKER_BACKLOG_BYTES",
        "67108864",
        _BYTES,
        "How many bytes of changes may wait for a worker process, before it has to ask for its sources' rows again.",
    )
    init_timeout_seconds: float = variable(
        "INIT_TIMEOUT_SECONDS", "3", seconds(0.001), "How long a WebSocket client may take for its connection_init."
    )
    idle_seconds: float = variable(
        "IDLE_SECONDS",
        "0",
        seconds(0),
        "How long a WebSocket client may have no operation before it is disconnected; 0 for ever.",
    )
    ping_seconds: float = variable(
        "PING_SECONDS", "12", seconds(0), "Time between two pings to a client; 0 sends none."
    )
    shutdown_seconds: float = variable(
        "SHUTDOWN_SECONDS", "5", seconds(0), "How long a stop may take, webhooks that wait included."
    )
    drain_seconds: float = variable(
        "DRAIN_SECONDS",
        "3",
        seconds(0),
        "Over how long clients are sent away at a stop, so that they don't all come back at once; part of that time.",
    )


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """How triggers' webhooks are called, and which."""

    timeout_seconds: float = variable(
        "WEBHOOK_TIMEOUT_SECONDS", "15", seconds(0.001), "How long a webhook may take to answer, connecting included."
    )
    connect_seconds: float = variable(
        "WEBHOOK_CONNECT_SECONDS", "5", seconds(0.001), "How long connecting to a webhook's host may take."
    )
    concurrency: int = variable("WEBHOOK_CONCURRENCY", "64", whole_number(1, 10_000), "Calls of webhooks at one time.")
    concurrency_per_endpoint: int = variable(
        "WEBHOOK_CONCURRENCY_PER_ENDPOINT",
        "8",
        whole_number(1, 10_000),
        "Calls at one time to the same scheme, host and port.",
    )
    attempts: int = variable(
        "WEBHOOK_ATTEMPTS", "8", whole_number(1, 1_000), "How often one event is tried before it has failed for good."
    )
    retry_min_ms: int = variable(
        "WEBHOOK_RETRY_MIN_MS",
        "1000",
        _MILLISECONDS,
        "The longest first wait before an event is tried again; it is four times as long each time.",
    )
    retry_max_ms: int = variable(
        "WEBHOOK_RETRY_MAX_MS",
        "300000",
        _MILLISECONDS,
        "The longest wait before an event is tried again, whatever a Retry-After header asks for.",
    )
    max_age_seconds: float = variable(
        "WEBHOOK_MAX_AGE_SECONDS", "3600", seconds(1, 604_800), "How old an event may be when it is tried."
    )
    queue: int = variable(
        "WEBHOOK_QUEUE", "100000", _COUNT, "Events that wait for all webhooks together before the oldest is dropped."
    )
    queue_per_endpoint: int = variable(
        "WEBHOOK_QUEUE_PER_ENDPOINT",
        "10000",
        _COUNT,
        "Events that wait for the same scheme, host and port before the oldest is dropped.",
    )
    allow: tuple[str, ...] = variable(
        "WEBHOOK_ALLOW",
        "",
        networks_and_hosts(),
        "Networks and hosts (10.0.0.0/8, *.example.com) that webhooks may go to although they are denied by default.",
    )
    deny: tuple[str, ...] = variable(
        "WEBHOOK_DENY",
        "",
        networks_and_hosts("private", "*"),
        "Networks and hosts that webhooks never go to; private (loopback and private networks) and * (everything)"
        " deny what WEBHOOK_ALLOW doesn't name.",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the environment says. Paths are joined to the folder that the settings were loaded for.

    `warnings` are sentences about variables that look like misspelled ones of ours.
    """

    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    service: ServiceSettings = field(default_factory=ServiceSettings)
    sources: SourceSettings = field(default_factory=SourceSettings)
    limits: Limits = field(default_factory=Limits)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    warnings: tuple[str, ...] = ()


_GROUPS: dict[str, type] = {
    "database": DatabaseSettings,
    "service": ServiceSettings,
    "sources": SourceSettings,
    "limits": Limits,
    "webhooks": WebhookSettings,
}

VARIABLES: tuple[Variable, ...] = tuple(
    found for group, settings in _GROUPS.items() for found in variables_of(group, settings)
)
"""Every variable, in the order of the documentation."""


class _Found(NamedTuple):
    place: str
    text: str


def load_settings(environ: Mapping[str, str], folder: Path) -> Settings:
    """The settings from these variables and from `.env` in the folder. Raises SettingsError with every problem."""
    settings, problems = read_settings(environ, folder)
    if problems:
        raise SettingsError(problems)
    return settings


def read_settings(environ: Mapping[str, str], folder: Path) -> tuple[Settings, list[Problem]]:
    """As `load_settings`, but with the problems beside the settings, which then have defaults for what is wrong.

    A variable of the environment goes before one of `.env`; an empty one counts as not set.
    """
    found, problems = _read_dotenv(folder / ".env")
    found |= {name: _Found(name, value) for name, value in environ.items() if value.strip()}
    database_type: DatabaseType = "materialize"
    groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
    for known in VARIABLES:
        try:
            value = _value(known, found, database_type, folder)
        except ValueError as error:
            problems.append(Problem(found[known.name].place, str(error)))
            continue
        if known.name == "DATABASE_TYPE":
            database_type = value
        groups[known.group][known.field] = value
    settings = Settings(
        **{group: made(**groups[group]) for group, made in _GROUPS.items()}, warnings=tuple(_near_misses(found))
    )
    problems += _contradictions(settings, found)
    return settings, problems


def _value(known: Variable, found: Mapping[str, _Found], database_type: DatabaseType, folder: Path) -> Any:
    given = found.get(known.name)
    if given is None:
        given = _Found("", known.defaults.get(database_type, known.default))
    value = known.parse(given.text if known.secret else given.text.strip())
    return folder / value if isinstance(value, Path) else value


def _read_dotenv(file: Path) -> tuple[dict[str, _Found], list[Problem]]:
    try:
        content = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}, []
    except UnicodeDecodeError:
        return {}, [Problem(".env", "is not UTF-8 text")]
    except (OSError, ValueError) as error:
        return {}, [Problem(".env", f"can't be read: {getattr(error, 'strerror', None) or 'not a file name'}")]
    found: dict[str, _Found] = {}
    problems = []
    # dotenv_values would only log the lines that it can't read, and would replace ${...} inside of passwords
    for binding in parse_stream(io.StringIO(content)):
        original = binding.original.string
        blank_lines = original[: len(original) - len(original.lstrip())].count("\n")
        place = f".env:{binding.original.line + blank_lines}"
        if binding.error:
            problems.append(Problem(place, "this line can't be read, expected NAME=value (is a quote left open?)"))
        elif binding.key and binding.value and binding.value.strip():
            found[binding.key] = _Found(f"{place} {binding.key}", binding.value)
    return found, problems


def _contradictions(settings: Settings, found: Mapping[str, _Found]) -> Iterable[Problem]:
    def place(name: str, other: str = "") -> str:
        return found[name if name in found or not other else other].place

    sources, limits, database, webhooks = settings.sources, settings.limits, settings.database, settings.webhooks
    if sources.reconnect_min_ms > sources.reconnect_max_ms:
        message = (
            f"RECONNECT_MIN_MS ({sources.reconnect_min_ms}) is more than RECONNECT_MAX_MS ({sources.reconnect_max_ms})"
        )
        yield Problem(place("RECONNECT_MIN_MS", "RECONNECT_MAX_MS"), message)
    if limits.outbox_rows > limits.outbox_max_rows:
        message = f"OUTBOX_ROWS ({limits.outbox_rows}) is more than OUTBOX_MAX_ROWS ({limits.outbox_max_rows})"
        yield Problem(place("OUTBOX_ROWS", "OUTBOX_MAX_ROWS"), message)
    if limits.drain_seconds > limits.shutdown_seconds and "DRAIN_SECONDS" in found:
        message = (
            f"DRAIN_SECONDS ({limits.drain_seconds:g}) is more than SHUTDOWN_SECONDS ({limits.shutdown_seconds:g})"
        )
        yield Problem(place("DRAIN_SECONDS"), message)
    if webhooks.retry_min_ms > webhooks.retry_max_ms:
        message = (
            f"WEBHOOK_RETRY_MIN_MS ({webhooks.retry_min_ms}) is more than"
            f" WEBHOOK_RETRY_MAX_MS ({webhooks.retry_max_ms})"
        )
        yield Problem(place("WEBHOOK_RETRY_MIN_MS", "WEBHOOK_RETRY_MAX_MS"), message)
    if database.type == "embedded" and database.embedded_init and not database.embedded_init.is_file():
        yield Problem(place("EMBEDDED_INIT"), f"there is no file {str(database.embedded_init)!r}")


def _near_misses(found: Mapping[str, _Found]) -> Iterable[str]:
    """Sentences about names that are none of ours and look like one: after the same first word, or nearly the same."""
    ours = [known.name for known in VARIABLES]
    for name in sorted(set(found).difference(ours)):
        first, _, rest = name.partition("_")
        family = {known.partition("_")[2]: known for known in ours if known.startswith(first + "_")}
        near = difflib.get_close_matches(rest, family, n=1, cutoff=0.65) if rest else []
        close = [family[near[0]]] if near else difflib.get_close_matches(name, ours, n=1, cutoff=0.9)
        if close:
            yield f"{found[name].place} is not a variable of tycostream{did_you_mean(close[0], ours)}"
