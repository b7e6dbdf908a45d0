"""The table of families, and how the samples of several processes become one answer."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from prometheus_client import REGISTRY

from tests.support.metrics import OPENMETRICS, Scrape, read_openmetrics, read_text
from tycostream import turns
from tycostream.metrics import ClientCounts, LoopDelay, sample
from tycostream.metrics.exposition import exposition
from tycostream.metrics.families import FAMILIES, GROUPS, PROCESS, Kind
from tycostream.metrics.loop_delay import DELAY
from tycostream.metrics.samples import one_of

ROWS = "tycostream_source_rows"
CHANGES = "tycostream_source_changes_total"


async def read(told: dict[str, object]) -> Scrape:
    """What travels is JSON; both formats say the same."""
    travelled = json.loads(json.dumps(told))
    kind, body = await exposition(travelled, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    kind, text = await exposition(travelled, "")
    assert kind.startswith("text/plain; version=")
    found = read_openmetrics(body.decode())
    values = {(one.name, *sorted(one.labels.items())): one.value for one in found.samples}
    assert values == {(one.name, *sorted(one.labels.items())): one.value for one in read_text(text.decode()).samples}
    return found


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_every_family_is_named_as_prometheus_has_it(family: object) -> None:
    one = family
    assert isinstance(one, type(FAMILIES["tycostream_up"]))
    assert re.fullmatch(r"tycostream_[a-z_]+[a-z]", one.name)
    assert (one.kind is Kind.COUNTER) == one.name.endswith("_total")
    assert (one.kind is Kind.INFO) == one.name.endswith("_info")
    assert (one.kind is Kind.HISTOGRAM) == bool(one.bounds)
    assert list(one.bounds) == sorted(one.bounds)
    assert PROCESS not in one.labels
    assert "le" not in one.labels
    assert one.help.endswith(".")
    assert "  " not in one.help


def test_no_two_families_share_a_name() -> None:
    assert len(FAMILIES) == sum(map(len, GROUPS.values()))


async def test_each_process_keeps_its_numbers_and_one_without_an_answer_has_none() -> None:
    found = await read(
        {
            "ingest": [sample(ROWS, 7, source="trades"), sample(CHANGES, 3, source="trades")],
            "worker 1": [sample(ROWS, 7, source="trades"), sample(ROWS, 2, source='"quo\\tes"\n')],
            "worker 2": None,
        }
    )
    assert found.value("tycostream_up", process="ingest") == found.value("tycostream_up", process="worker 1") == 1
    assert found.value("tycostream_up", process="worker 2") == 0
    assert found.value(ROWS, source="trades") == 14
    assert found.value(ROWS, source='"quo\\tes"\n', process="worker 1") == 2
    assert found.value(CHANGES) == 3
    assert {one.labels["process"] for one in found.samples if one.name != "tycostream_up"} == {"ingest", "worker 1"}
    types = {one.name: one.type for one in found.families}
    assert types == {"tycostream_up": "gauge", ROWS: "gauge", "tycostream_source_changes": "counter"}


async def test_a_histogram_is_told_cumulated() -> None:
    delay = LoopDelay()
    for seconds in (0.001, 0.0025, 0.003, 0.3, 99.0):
        delay.note(seconds)
    found = await read({"service": list(delay.samples())})
    counts = [found.value(f"{DELAY}_bucket", le=str(bound)) for bound in FAMILIES[DELAY].bounds]
    assert counts == [2, 3, 3, 3, 3, 3, 3, 4, 4, 4]
    assert found.value(f"{DELAY}_bucket", le="+Inf") == found.value(f"{DELAY}_count") == 5
    assert found.value(f"{DELAY}_sum") == pytest.approx(99.3065)
    assert found.value("tycostream_loop_delay_highest_seconds") == 99.0


async def test_of_several_states_one_holds() -> None:
    told = list(one_of("tycostream_source_state", ("IDLE", "LIVE"), "LIVE", source="trades"))
    found = await read({"service": told})
    assert found.value("tycostream_source_state", state="LIVE") == found.value("tycostream_source_state") == 1


@pytest.mark.parametrize(
    ("name", "value", "labels"),
    [
        ("tycostream_nothing", 1, {}),
        (ROWS, 1, {}),
        (ROWS, 1, {"sauce": "trades"}),
        (ROWS, 1, {"source": "trades", "state": "LIVE"}),
        (ROWS, [1, 2], {"source": "trades"}),
        (DELAY, 1, {}),
        (DELAY, [1, 2], {}),
    ],
)
def test_what_the_table_does_not_have_is_refused(name: str, value: object, labels: dict[str, str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        sample(name, value, **labels)  # type: ignore[arg-type]


async def test_between_families_the_loop_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_SECONDS", 0.0)  # as if each took as long as a work may go on
    told = {"service": list(ClientCounts().samples())}
    rendering = asyncio.ensure_future(exposition(told, ""))
    rounds = 0
    while not rendering.done():
        await asyncio.sleep(0)
        rounds += 1
    assert rounds >= len({name for name, _, _ in told["service"]})
    assert rendering.result() == await exposition(told, "")


async def test_nothing_is_left_in_the_librarys_registry() -> None:
    await read({"service": list(ClientCounts().samples())})
    assert not [metric.name for metric in REGISTRY.collect() if metric.name.startswith("tycostream")]
