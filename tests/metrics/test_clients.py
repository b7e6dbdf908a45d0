"""What is counted of clients."""

from __future__ import annotations

from dataclasses import dataclass

from tests.metrics.test_exposition import read
from tycostream.errors import FAILURES
from tycostream.metrics import ClientCounts
from tycostream.web.close_codes import CloseCode


@dataclass(eq=False)
class Outbox:
    rows: int = 0
    recent_rows: int = 0
    dropped: int = 0
    merging: bool = False

    @property
    def empty(self) -> bool:
        return not self.rows and not self.recent_rows


async def test_what_can_be_counted_is_there_from_the_beginning_as_zero() -> None:
    found = await read({"service": list(ClientCounts().samples())})
    for name in ("connections_closed_total", "connections_refused_total", "operations_total", "errors_total"):
        assert found.value(f"tycostream_{name}") == 0
    codes = {code for code, failure in FAILURES.items() if failure.graphql or failure.http}
    assert found.labels("tycostream_errors_total", "code") == codes
    assert found.labels("tycostream_connections_closed_total", "close_code") == {
        *map(str, map(int, CloseCode)),
        "1005",
        "1006",
        "other",
    }


async def test_what_waits_is_of_this_moment_and_what_was_dropped_stays() -> None:
    counts = ClientCounts()
    slow, slower = Outbox(rows=3, recent_rows=2, dropped=5), Outbox(rows=1, dropped=1, merging=True)
    counts.outboxes |= {slow, slower, Outbox()}
    found = await read({"service": list(counts.samples())})
    assert found.value("tycostream_connections_behind") == 2
    assert found.value("tycostream_connections_merging") == 1
    assert found.value("tycostream_connection_waiting_changes") == 6
    assert found.value("tycostream_connection_changes_dropped_total") == 6
    counts.emptied(slow)
    found = await read({"service": list(counts.samples())})
    assert found.value("tycostream_connections_behind") == 1
    assert found.value("tycostream_connection_changes_dropped_total") == 6


async def test_however_clients_close_the_codes_are_few() -> None:
    counts = ClientCounts()
    for code in range(3000, 5000):
        counts.left(None, code)
    counts.left(1013, 1013)
    counts.left(None, None)
    found = await read({"service": list(counts.samples())})
    assert len(found.labels("tycostream_connections_closed_total", "close_code")) < 20
    assert found.value("tycostream_connections_closed_total") == 2002
    assert found.value("tycostream_connections_closed_total", close_code="1013", by="service") == 1
    assert found.value("tycostream_connections_closed_total", close_code="1006", by="client") == 1
