"""graphql-core is the oracle: whatever it would execute for a document and a row, the planned selection renders."""

from __future__ import annotations

import json

from graphql import ExecutionResult, execute, parse
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphql.examples import TRADES, engine, ordered, rows
from tests.support.rendering import rendered
from tycostream.graphql import Limits, Operation, SubscriptionPlan, event_id
from tycostream.graphql.encoding import decoder
from tycostream.model import Row

ENGINE = engine(limits=Limits(tokens=1_000_000, nesting=1_000, depth=1_000, aliases=1_000_000, fields=1_000_000))
UPDATE, DATA = "tradesUpdate", "trades"
VARIABLES = {"yes": True, "no": False}

directives = st.sampled_from(
    ["", "", "", "@skip(if: $yes)", "@skip(if: $no)", "@include(if: $no) ", "@include(if: true) @skip(if: false)"]
)


def leaf(name: str) -> st.SearchStrategy[str]:
    # An alias belongs to one field, or the document would be invalid.
    return st.builds(
        lambda alias, directive: f"{alias}{name} {directive}", st.sampled_from(["", f"x_{name}: "]), directives
    )


def selection_set(leaves: st.SearchStrategy[str], type_name: str) -> st.SearchStrategy[str]:
    def inside(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        body = st.lists(parts, min_size=1, max_size=3).map(" ".join)
        return st.builds(
            lambda head, directive, text: f"... {head} {directive} {{ {text} }}",
            st.sampled_from(["", f"on {type_name}"]),
            directives,
            body,
        )

    spread = st.builds(lambda n, directive: f"...{type_name}{n} {directive}", st.sampled_from([1, 2]), directives)
    parts = st.recursive(leaves | spread, inside, max_leaves=4)
    return st.lists(parts, min_size=1, max_size=5).map(" ".join)


row_leaves = st.sampled_from([*TRADES.positions, "__typename"]).flatmap(leaf)
row_set = selection_set(row_leaves, DATA)
update_leaves = st.one_of(
    st.sampled_from(["operation", "fields", "timestamp", "event_id", "__typename"]).flatmap(leaf),
    st.builds(lambda field, text: f"{field} {{ {text} }}", leaf("data"), row_set),
)
update_set = selection_set(update_leaves, UPDATE)


@st.composite
def documents(draw: st.DrawFn) -> str:
    row_body = st.lists(row_leaves, min_size=1, max_size=3).map(" ".join)
    update_body = st.lists(
        st.one_of(leaf("operation"), st.just("data { ...trades2 price }"), leaf("event_id")), min_size=1, max_size=3
    ).map(" ".join)
    body = draw(update_set) + " ...used"
    root = draw(
        st.sampled_from(
            [
                f"trades {{ {body} }}",
                f"t: trades {{ {body} }}",
                f"... {{ trades {{ {body} }} }} trades {{ operation }}",
            ]
        )
    )
    parts = [
        f"subscription ($yes: Boolean! = true, $no: Boolean = false) {{ {root} }}",
        f"fragment trades1 on trades {{ {draw(row_body)} ...trades2 }}",
        f"fragment trades2 on trades {{ {draw(row_body)} }}",
        f"fragment tradesUpdate1 on tradesUpdate {{ {draw(update_body)} ...tradesUpdate2 }}",
        f"fragment tradesUpdate2 on tradesUpdate {{ {draw(update_body)} }}",
        # A valid document uses each of its variables and fragments.
        "fragment used on tradesUpdate { data @include(if: false) { ...trades1 ...trades2 }",
        "operation @skip(if: $yes) ...none @include(if: $no) }",
        "fragment none on tradesUpdate { ...tradesUpdate1 ...tradesUpdate2 }",
    ]
    return "\n".join(parts)


def typed(operation: Operation, row: Row, changed: int, timestamp: int) -> dict[str, object]:
    """The update as graphql-core takes it."""
    shown = {Operation.INSERT: -1, Operation.UPDATE: changed, Operation.DELETE: 0}[operation]
    names = changed if operation is Operation.UPDATE else -1
    data = {
        column.name: decoder(column)(row[index]) if shown >> index & 1 or index in TRADES.key_positions else None
        for index, column in enumerate(TRADES.columns)
    }
    return {
        "operation": operation.value,
        "data": data,
        "fields": [column.name for index, column in enumerate(TRADES.columns) if names >> index & 1],
        "timestamp": str(timestamp),
        "event_id": event_id(TRADES, row, timestamp),
    }


@settings(deadline=None)
@given(
    documents(),
    rows(TRADES),
    st.integers(0, 2 ** len(TRADES.columns) - 1),
    st.sampled_from(Operation),
    st.sampled_from([{}, {"yes": False}, {"no": True}, {"yes": False, "no": True}]),
)
def test_planned_results_are_graphql_cores(
    document: str, row: Row, changed: int, operation: Operation, variables: dict[str, object]
) -> None:
    plan = ENGINE.prepare(document, None, variables)
    assert isinstance(plan, SubscriptionPlan)
    expected = execute(
        ENGINE.schema,
        parse(document),
        root_value={"trades": typed(operation, row, changed, 12)},
        variable_values=variables,
    )
    assert isinstance(expected, ExecutionResult)
    # A drifted Integer beyond 32 bits is the one value that graphql-core refuses and we pass on: rows() has none.
    assert expected.errors is None
    result = rendered(plan.selection, operation, row, changed, 12)
    assert ordered(result) == ordered(json.dumps({"data": expected.data}))
