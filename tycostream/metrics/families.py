"""The table of all metrics: name, type, labels, and what each tells. docs/metrics.md is written from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """Prometheus's types, by the names that its formats have for them."""

    COUNTER = "counter"
    """Only rises, but for a restart of what it counts. The name ends with `_total`."""
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"
    """Always 1; what it tells is in its labels. The name ends with `_info`."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. Every sample also has the label `process`. `bounds` are the upper ends of a histogram's buckets."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


PROCESS = "process"
"""The label that says whose number it is: `service`, or with workers `ingest`, `worker 1` and so on."""

UP = "tycostream_up"


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"tycostream_{name}_total", Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"tycostream_{name}", Kind.GAUGE, text, labels)


GROUPS: dict[str, tuple[Family, ...]] = {
    "Processes": (
        Family(UP, Kind.GAUGE, "1 where the process has answered this scrape, 0 where it has not in time."),
        Family(
            "tycostream_info",
            Kind.INFO,
            "The version of tycostream and of Python, and the type of the database (empty for workers, who know none).",
            ("version", "python", "database"),
        ),
        _gauge("start_time_seconds", "When the process began to serve, in seconds since 1970."),
        _counter("process_cpu_seconds", "The time that the process has used a processor for."),
        _gauge("process_resident_memory_bytes", "The memory that the process has in use. Linux alone tells it."),
        _gauge("process_virtual_memory_bytes", "The memory that the process may address. Linux alone tells it."),
        _gauge("process_open_fds", "Files and sockets that are open. Linux alone tells it."),
        _gauge("process_max_fds", "The most files and sockets that may be open."),
        Family(
            "tycostream_loop_delay_seconds",
            Kind.HISTOGRAM,
            "How late the event loop has come to a timer, tried every half second: whoever is served waits as long.",
            bounds=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
        ),
        _gauge("loop_delay_highest_seconds", "The longest such delay since the process started."),
        _counter("garbage_collections", "Full garbage collections that the process asked for: about one a minute."),
        _counter("garbage_collection_seconds", "The time for which those have held the process."),
        _gauge("actors", "Actors that run.", "kind"),
        _counter("actor_failures", "Actors that an error has ended (`ACTOR_FAILED`).", "kind"),
        _counter("actor_restarts", "Actors that were started again after they had failed.", "kind"),
        _gauge("worker_state", "1 for the state that the worker process is in, 0 for the others.", "worker", "state"),
        _counter("worker_restarts", "How often the worker process has ended by itself.", "worker"),
        _gauge("relay_waiting_bytes", "Bytes that wait to be sent to the worker process.", "worker"),
        _counter("relay_sent_bytes", "Bytes that were sent to the worker process that runs.", "worker"),
        _counter("relay_cuts", "How often the worker process that runs was too slow.", "worker"),
        _gauge("schema_loaded_timestamp_seconds", "When the schema file was last read, in seconds since 1970."),
        _gauge("schema_error", "1 where the schema file can't be used as it is now, else 0."),
    ),
    "Sources": (
        _gauge("source_state", "1 for the state that the source is in, 0 for the others.", "source", "state"),
        _gauge("source_state_timestamp_seconds", "Since when it is in that state, in seconds since 1970.", "source"),
        _gauge("source_rows", "Rows that the process keeps of the source.", "source"),
        _gauge(
            "source_lag_seconds",
            "How far the rows are behind the database: see `lag_ms` in operations.md. Absent where that is not known.",
            "source",
        ),
        _counter("source_changes", "Changes of rows that have come from the database.", "source"),
        _counter("source_snapshots", "How often all rows were read.", "source"),
        _counter("source_resumptions", "How often the source went on from where it was, without reading all rows.",
                 "source"),
        _counter("source_failures", "How often an attempt to follow the database has failed.", "source"),
        _gauge("source_circuit_open", "1 while nobody should count on the source's first rows, else 0.", "source"),
        _gauge("source_views", "Different filters (with the rules for states) that somebody follows.", "source"),
        _gauge("source_subscriptions", "Subscriptions that follow the source.", "source"),
        _gauge("source_subscriptions_waiting", "Subscriptions that wait for the source's first rows.", "source"),
        _gauge("source_recent_changes", "Changes that are kept for clients that come back.", "source"),
        _gauge("source_recent_bytes", "About the bytes of memory which those take.", "source"),
        _gauge("feed_connected", "1 while the replication stream of PostgreSQL's tables is open, else 0."),
        _counter("feed_streams", "Replication streams that were opened."),
        _counter("feed_transactions", "Transactions that came over them."),
    ),
    "Clients": (
        _gauge("connections", "WebSockets that are open."),
        _gauge("connections_limit", "The most that may be open: `MAX_CONNECTIONS`."),
        _counter("connections_opened", "WebSockets that were opened."),
        _counter(
            "connections_closed",
            "WebSockets that have ended, by close code and by who began to close them (`service` or `client`): 1005 "
            "stands for a client that gave no code, 1006 for one that was gone without a word, `other` for a code that "
            "the service does not use.",
            "close_code",
            "by",
        ),
        _counter("connections_refused", "WebSockets that were not opened, by error code.", "code"),
        _gauge("connections_behind", "Connections for which something waits: a snapshot, or changes."),
        _gauge("connections_merging", "Connections that are so slow that their changes are merged."),
        _gauge("connection_waiting_changes", "Changes that wait for slow connections."),
        _gauge("connection_waiting_bytes", "What waits for all connections together, as it counts for the limit."),
        _gauge("connection_waiting_limit_bytes", "The most that may wait in the process: `MAX_TOTAL_PENDING_BYTES`."),
        _counter("connection_sent_bytes", "Bytes that were handed to WebSockets."),
        _counter("connection_changes_dropped", "Changes that were dropped for subscriptions of `DROP_OLDEST`."),
        _counter(
            "operations",
            "Operations that were begun, by kind (`query`, `mutation`, `subscription`) and transport (`websocket`, "
            "`http`). What could not be begun is in `tycostream_errors_total` alone.",
            "kind",
            "transport",
        ),
        _counter(
            "errors",
            "Errors that clients were told, by error code and transport (`websocket`, `http`).",
            "code",
            "transport",
        ),
    ),
    "Triggers": (
        _gauge("triggers", "Triggers that there are.", "source"),
        _counter("trigger_events", "Rows that have come to be fired (`fire`) or cleared (`clear`).", "source", "event"),
        _counter("trigger_events_suppressed", "Those of which no webhook was told: disabled, or cooling down.",
                 "source"),
        _counter(
            "webhook_events",
            "Events that need no more tries, by outcome: `delivered`, `failed` for good, or `dropped` (no room, "
            "webhook disabled by 410, trigger deleted).",
            "outcome",
        ),
        _counter("webhook_retries", "Calls of webhooks beyond an event's first."),
        _gauge("webhook_events_waiting", "Events that wait for a call, retries included."),
        _gauge("webhook_calls_in_flight", "Calls of webhooks that are under way."),
        _gauge("webhooks_disabled", "Webhooks that have answered 410 and are not called any more."),
    ),
}  # fmt: skip
"""Every metric, in the order of the documentation and of the answers."""

FAMILIES: dict[str, Family] = {family.name: family for group in GROUPS.values() for family in group}
