"""What clients of this process have done: counted where it happens, in plain numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tycostream.errors import FAILURES, known
from tycostream.metrics.samples import Sample, sample

WEBSOCKET, HTTP = "websocket", "http"
SERVICE, CLIENT = "service", "client"

OTHER = "other"
NO_CODE, LOST = 1005, 1006
"""RFC 6455 section 7.4.1: a close frame without a code; none at all."""

REFUSALS = (known("TOO_MANY_CONNECTIONS"), known("HANDSHAKE_REFUSED"))
"""Errors of HTTP that answer nothing but a request for a WebSocket."""

_OURS = frozenset(failure.close for failure in FAILURES.values() if failure.close is not None)
_KNOWN_CODES = _OURS | {NO_CODE, LOST}
_ENDS = [(str(code), SERVICE) for code in _OURS]
_ENDS += [(code, CLIENT) for code in ("1000", "1001", str(NO_CODE), str(LOST), OTHER)]
_OPERATIONS = [(kind, HTTP) for kind in ("query", "mutation")]
_OPERATIONS += [(kind, WEBSOCKET) for kind in ("query", "mutation", "subscription")]
_ERRORS = [
    *((code, WEBSOCKET) for code, failure in FAILURES.items() if failure.graphql),
    *((code, HTTP) for code, failure in FAILURES.items() if failure.http),
]


class Waiting(Protocol):
    """What is read of that which waits for a slow client."""

    rows: int
    recent_rows: int
    dropped: int

    @property
    def empty(self) -> bool:
        """Whether nothing waits any more."""

    @property
    def merging(self) -> bool:
        """Whether changes are merged."""


@dataclass(eq=False, slots=True)
class ClientCounts:
    """See the module. What is likely to be counted is there from the beginning, as 0: of what appears with a 1,
    Prometheus sees no increase.

    `outboxes` are those in which something waits: what they know is read when somebody asks, and added up here once
    they are empty. `sent` are bytes that were handed to WebSockets."""

    opened: int = 0
    closed: Counter[tuple[str, str]] = field(default_factory=lambda: Counter(dict.fromkeys(_ENDS, 0)))
    operations: Counter[tuple[str, str]] = field(default_factory=lambda: Counter(dict.fromkeys(_OPERATIONS, 0)))
    errors: Counter[tuple[str, str]] = field(default_factory=lambda: Counter(dict.fromkeys(_ERRORS, 0)))
    outboxes: set[Waiting] = field(default_factory=set)
    sent: int = 0
    dropped: int = 0

    def left(self, ours: int | None, theirs: int | None) -> None:
        """A WebSocket has ended: with the code of our close frame, if that came first, or else of the client's."""
        code = ours or theirs or LOST
        by = CLIENT if ours is None else SERVICE
        # A client may choose among thousands of codes, which are to be no thousands of samples
        self.closed[str(code) if code in _KNOWN_CODES else OTHER, by] += 1

    def emptied(self, outbox: Waiting) -> None:
        """Nothing more waits here."""
        self.outboxes.discard(outbox)
        self.dropped += outbox.dropped

    def told(self, errors: Iterable[Mapping[str, Any]], transport: str) -> None:
        """A client was told of these errors."""
        for error in errors:
            self.errors[error["extensions"]["code"], transport] += 1

    def samples(self) -> Iterator[Sample]:
        """All of it, in a pass over what is open."""
        yield sample("tycostream_connections", self.opened - self.closed.total())
        yield sample("tycostream_connections_opened_total", self.opened)
        for (code, by), count in self.closed.items():
            yield sample("tycostream_connections_closed_total", count, close_code=code, by=by)
        for code in REFUSALS:
            yield sample("tycostream_connections_refused_total", self.errors[code, HTTP], code=code)
        outboxes = self.outboxes
        yield sample("tycostream_connections_behind", sum([not one.empty for one in outboxes]))
        yield sample("tycostream_connections_merging", sum([one.merging for one in outboxes]))
        yield sample("tycostream_connection_waiting_changes", sum([one.rows + one.recent_rows for one in outboxes]))
        yield sample("tycostream_connection_sent_bytes_total", self.sent)
        dropped = self.dropped + sum([one.dropped for one in outboxes])
        yield sample("tycostream_connection_changes_dropped_total", dropped)
        for (kind, transport), count in self.operations.items():
            yield sample("tycostream_operations_total", count, kind=kind, transport=transport)
        for (code, transport), count in self.errors.items():
            yield sample("tycostream_errors_total", count, code=code, transport=transport)
