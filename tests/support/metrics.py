"""What `/metrics` answers, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tornado.httpclient import AsyncHTTPClient

WAIT_SECONDS = 20.0
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scrape:
    """The samples of one answer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = list(families)
        self.samples = [one for family in self.families for one in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name with these labels; there is at least one."""
        found = [one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()]
        assert found, f"no {name} with {labels}"
        return sum(found)

    def labels(self, name: str, label: str) -> set[str]:
        """All values of a label."""
        return {one.labels[label] for one in self.samples if one.name == name}


async def scrape(port: int) -> Scrape:
    """Ask for OpenMetrics, whose parser is strict: it refuses what is not as the standard has it."""
    client = AsyncHTTPClient(force_instance=True)  # a connection of its own: to any of several processes
    try:
        url = f"http://127.0.0.1:{port}/metrics"
        answer = await client.fetch(url, headers={"Accept": OPENMETRICS}, request_timeout=WAIT_SECONDS)
    finally:
        client.close()
    return read_openmetrics(answer.body.decode())


async def scraped(port: int, condition: Callable[[Scrape], object]) -> Scrape:
    """The first answer of which this is so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition(found := await scrape(port)):
            await asyncio.sleep(0.01)
    return found


def read_openmetrics(text: str) -> Scrape:
    """What is written in OpenMetrics."""
    return Scrape(parse_openmetrics(text))


def read_text(text: str) -> Scrape:
    """What is written in Prometheus's own format."""
    return Scrape(parse_text(text))
