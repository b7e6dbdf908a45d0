"""Numbers on their way to `/metrics`: plain data, so that they travel between processes as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tycostream.metrics.families import FAMILIES, Kind

Value = float | Sequence[float]
"""A number; of a histogram, the counts of its buckets, the last of which is that of what is beyond all bounds, and then
the sum of what was seen."""

Sample = tuple[str, Sequence[str], Value]
"""A family's name, the values of its labels in the table's order, and the number."""


def sample(name: str, value: Value, **labels: str) -> Sample:
    """One number. Raises KeyError or ValueError where the table does not have it so."""
    family = FAMILIES[name]
    if len(labels) != len(family.labels):
        raise ValueError(f"{name} has the labels {family.labels}, not {tuple(labels)}")
    if isinstance(value, Sequence):
        if family.kind is not Kind.HISTOGRAM or len(value) != len(family.bounds) + 2:
            raise ValueError(f"{name} can't be {value}")
    elif family.kind is Kind.HISTOGRAM:
        raise ValueError(f"{name} is a histogram")
    return name, tuple(labels[label] for label in family.labels), value


def one_of(name: str, states: Iterable[str], state: str, **labels: str) -> Iterator[Sample]:
    """1 for the state that holds, 0 for the others."""
    for one in states:
        yield sample(name, float(one == state), **labels, state=one)
