"""Which names GraphQL and SQL can hold, and which names in GraphQL a source or an enum takes for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from tycostream.model import ColumnType
from tycostream.status import SOURCE_STATUS

MAX_NAME_BYTES = 63
"""PostgreSQL cuts longer identifiers (NAMEDATALEN - 1)."""

BUILT_IN_TYPES = frozenset(
    {
        *("Query", "Mutation", "Subscription", "RowOperation", "SnapshotMark", "Trigger", "TriggerOnCreate"),
        *("order_by", "SourceStatus", "SourceState", "OnUnavailable", "SlowConsumerPolicy"),
        *("Int", "Float", "String", "Boolean", "ID"),
        *(
            f"{kind}Comparison"
            for kind in (
                *("Int", "Float", "String", "Boolean", "BigInt", "Numeric", "UUID", "Timestamp", "Date", "Time"),
                *("JSON", "Array"),
            )
        ),
    }
)
"""Types of the GraphQL schema that are there whatever the schema file says."""

BUILT_IN_QUERIES = frozenset({SOURCE_STATUS})
"""Fields that Query has whatever the schema file says; those of Subscription among them."""

BOOLEAN_WORDS = frozenset({"_and", "_or", "_not"})
COLUMN_TYPES = frozenset(kind.value for kind in ColumnType if kind is not ColumnType.ENUM)


def invalid_name(name: str) -> str | None:
    """Why this can't name a source, column or enum; None where it can."""
    if not re.fullmatch(r"[_A-Za-z][_0-9A-Za-z]*", name):
        return "GraphQL allows letters of a to z, digits and _ in a name, and no digit first"
    if name.startswith("__"):
        return "GraphQL keeps names that start with __ for itself"
    if len(name) > MAX_NAME_BYTES:
        return f"has {len(name)} characters, PostgreSQL allows {MAX_NAME_BYTES}"
    return None


def invalid_enum_value(value: str) -> str | None:
    """Why this can't be a value of an enum; None where it can."""
    if value in {"true", "false", "null"}:
        return "GraphQL allows no enum value true, false or null"
    return invalid_name(value)


def source_names(name: str, calculated: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """The names in GraphQL that a source with these calculated fields takes, each with its kind."""
    for suffix in ("", "Update", "Expression", "_order_by", "TriggerInput"):
        yield "type", name + suffix
    for field in calculated:
        yield "type", rule_name(name, field)
    for suffix in ("", "_batch"):
        yield "subscription", name + suffix
    for suffix in ("", "_by_pk", "_trigger", "_triggers"):
        yield "query", name + suffix
    for prefix in ("create_", "delete_", "enable_", "disable_", "test_"):
        yield "mutation", f"{prefix}{name}_trigger"


def rule_name(source: str, field: str) -> str:
    """The input type of a calculated field's rules."""
    return f"{source}_{field}_rule"


def rules_argument(field: str) -> str:
    """The argument that takes a calculated field's rules."""
    return f"derive_{field}"


def enum_names(name: str) -> Iterator[tuple[str, str]]:
    """The names in GraphQL that an enum takes, each with its kind."""
    yield "type", name
    yield "type", f"{name}Comparison"


def clashes(enums: Iterable[str], sources: Mapping[str, Iterable[str]]) -> Iterator[tuple[tuple[str, str], str]]:
    """The enums and sources, as their trails, that need a name in GraphQL which is taken already; and why. `sources`
    come with the names of their calculated fields."""
    taken = {("type", name): "tycostream itself" for name in BUILT_IN_TYPES}
    taken |= {(root, name): "tycostream itself" for root in ("query", "subscription") for name in BUILT_IN_QUERIES}
    named = [("enums", name, enum_names(name)) for name in enums]
    named += [("sources", name, source_names(name, calculated)) for name, calculated in sources.items()]
    for group, name, needed in named:
        names = list(needed)
        found = next((needs for needs in names if needs in taken), None)
        if found:
            advice = "; choose another name, and give the table's as relation" if group == "sources" else ""
            yield (group, name), f"needs the GraphQL {found[0]} {found[1]}, which {taken[found]} has already{advice}"
        singular = group.removesuffix("s")
        for needs in names:
            taken.setdefault(needs, f"the {singular} {name}")
