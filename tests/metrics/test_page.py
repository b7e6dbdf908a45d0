"""docs/metrics.md: every metric, label and value that its examples ask for is there to be asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.worker import STATES as WORKER_STATES
from tests.test_docs import blocks
from tycostream.app.order import WITH_WORKERS
from tycostream.errors import FAILURES
from tycostream.metrics.families import FAMILIES, PROCESS, Kind
from tycostream.status import SourceState
from tycostream.web.close_codes import CloseCode

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
PROMETHEUS = {"instance", "job", "le"}
"""Labels that are not the service's."""
VALUES = {
    "state": {state.value for state in SourceState} | set(WORKER_STATES),
    "code": set(FAILURES),
    "close_code": {*map(str, map(int, CloseCode)), "1005", "1006"},
    "outcome": {"delivered", "failed", "dropped"},
    PROCESS: {"service", WITH_WORKERS, "worker 1"},
    "kind": {"query", "mutation", "subscription"},
}

ALERTS: list[dict[str, Any]] = [
    rule for text in blocks(PAGE, "yaml") for group in yaml.safe_load(text).get("groups", ()) for rule in group["rules"]
]
ASKED = [rule["expr"] for rule in ALERTS] + [
    re.sub(r"#.*", "", part) for text in blocks(PAGE, "promql") for part in text.split("\n\n")
]


def families_in(text: str) -> list[str]:
    """The families that a text names."""
    found = []
    for name in re.findall(r"\btycostream_\w+", text):
        base = re.sub("_(bucket|sum|count)$", "", name)
        family = FAMILIES.get(base)
        found.append(base if family is not None and family.kind is Kind.HISTOGRAM else name)
    return found


def mistakes(asked: str) -> list[str]:
    """What an expression asks for that is not there."""
    names = families_in(asked)
    wrong = [name for name in names if name not in FAMILIES]
    labels = {PROCESS, *PROMETHEUS}.union(*(FAMILIES[name].labels for name in names if name in FAMILIES))
    for grouped in re.findall(r"\b(?:by|without|on)\s*\(([^)]*)\)", asked):
        wrong += [label for label in re.split(r"[,\s]+", grouped) if label not in labels]
    for name, braces in re.findall(r"(\w+)\{([^}]*)\}", asked):
        own = {PROCESS, *PROMETHEUS, *(FAMILIES[name].labels if name in FAMILIES else ())}
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', braces):
            wrong += [] if label in own else [label]
            wrong += [one for one in values.split("|") if label in VALUES and one not in VALUES[label]]
    return wrong + (["parentheses"] if asked.count("(") != asked.count(")") else [])


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_examples_ask_for_is_there(asked: str) -> None:
    assert families_in(asked) or "up{" in asked
    assert mistakes(asked) == []


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ("sum(tycostream_source_row)", ["tycostream_source_row"]),
        ("tycostream_loop_delay_seconds_buckets", ["tycostream_loop_delay_seconds_buckets"]),
        ("sum by (sauce) (tycostream_source_rows)", ["sauce"]),
        ('tycostream_source_rows{state="LIVE"}', ["state"]),
        ('tycostream_source_state{state=~"STALE|FALED"}', ["FALED"]),
        ('rate(tycostream_errors_total{code="NOPE"}[5m]', ["NOPE", "parentheses"]),
    ],
)
def test_a_mistake_in_them_would_be_seen(asked: str, wrong: list[str]) -> None:
    assert mistakes(asked) == wrong


def test_the_page_speaks_of_no_other_metric() -> None:
    assert set(families_in(PAGE)) == set(FAMILIES)


def test_rules_are_as_prometheus_has_them() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 10
    for rule in ALERTS:
        assert set(rule) <= {"alert", "expr", "for"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
