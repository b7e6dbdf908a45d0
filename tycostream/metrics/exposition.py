"""The samples of all processes as one answer, in the format that the asker prefers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tycostream.metrics.families import FAMILIES, PROCESS, UP, Family, Kind
from tycostream.metrics.samples import Sample, Value
from tycostream.turns import Turns

Told = Mapping[str, Sequence[Sample] | None]
"""What each process tells, by name; None for one that does not answer."""


@dataclass(frozen=True, slots=True)
class _Collected(Collector):
    """What the library's encoders ask for their metrics; in the place of a registry, which would be the process's."""

    metrics: tuple[Metric, ...]

    def collect(self) -> tuple[Metric, ...]:
        """See `Collector`."""
        return self.metrics


async def exposition(told: Told, accept: str) -> tuple[str, bytes]:
    """Content type and body for this Accept header. Many processes have much to tell: each sample takes 10 µs."""
    encode, content_type = choose_encoder(accept)
    end = encode(_Collected(()))
    parts = []
    async with Turns() as turns:
        for metric in _joined(told):
            parts.append(encode(_Collected((metric,))).removesuffix(end))
            await turns.between()
    return content_type, b"".join((*parts, end))


def _joined(told: Told) -> Iterator[Metric]:
    """The families of which there is something to say."""
    found: dict[str, list[tuple[str, Sequence[str], Value]]] = defaultdict(list)
    for process, samples in told.items():
        found[UP].append((process, (), float(samples is not None)))
        for name, labels, value in samples or ():
            found[name].append((process, labels, value))
    for name, family in FAMILIES.items():
        if name in found:
            yield _metric(family, found[name])


def _metric(family: Family, samples: Sequence[tuple[str, Sequence[str], Value]]) -> Metric:
    name = family.name.removesuffix("_total").removesuffix("_info") if family.kind in _SUFFIXED else family.name
    metric = Metric(name, family.help, family.kind.value)
    for process, values, value in samples:
        labels = {**dict(zip(family.labels, values, strict=True)), PROCESS: process}
        if isinstance(value, Sequence):
            _add_histogram(metric, family, labels, value)
        else:
            metric.add_sample(family.name, labels, value)
    return metric


_SUFFIXED = (Kind.COUNTER, Kind.INFO)


def _add_histogram(metric: Metric, family: Family, labels: dict[str, str], value: Sequence[float]) -> None:
    *counts, total = value
    bounds = [*map(str, family.bounds), "+Inf"]
    upto = list(accumulate(counts))
    for bound, count in zip(bounds, upto, strict=True):
        metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
    metric.add_sample(f"{family.name}_count", labels, upto[-1])
    metric.add_sample(f"{family.name}_sum", labels, total)
