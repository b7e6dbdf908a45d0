import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from graphql import build_client_schema, get_introspection_query, print_schema

from tests.graphql.examples import CATALOG, ROW, TRADES, engine
from tycostream.filters import Filter, KeyLookup
from tycostream.graphql import Engine, Limits, PreparedQuery, UnavailableError
from tycostream.model import Row


def trade(id_: str, **values: str | None) -> Row:
    row = list(ROW)
    row[0] = id_
    for name, value in values.items():
        row[TRADES.positions[name]] = value
    return tuple(row)


async def ask(engine: Engine, query: str, variables: dict[str, object] | None = None) -> dict[str, object]:
    prepared = engine.prepare(query, None, variables)
    assert isinstance(prepared, PreparedQuery)
    return await engine.execute(prepared)


async def test_rows_come_in_the_order_of_the_key_with_typed_values() -> None:
    shelf = engine([trade("10", price="NaN", open=None), trade("9"), trade("-1", side="gone")])
    assert await ask(shelf, "{ trades { id price volume open side kind: __typename } }") == {
        "data": {
            "trades": [
                {"id": -1, "price": 2.5, "volume": ROW[2], "open": True, "side": None, "kind": "trades"},
                {"id": 9, "price": 2.5, "volume": ROW[2], "open": True, "side": "sell", "kind": "trades"},
                {"id": 10, "price": None, "volume": ROW[2], "open": None, "side": "sell", "kind": "trades"},
            ]
        }
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", [1, 2, 3, 4]),
        ("(limit: 2)", [1, 2]),
        ("(limit: 2, offset: 3)", [4]),
        ("(offset: 9)", []),
        ("(limit: 0)", []),
        ("(limit: null, offset: null)", [1, 2, 3, 4]),
        ("(where: {id: {_gt: 2}}, limit: 1)", [3]),
    ],
)
async def test_filter_limit_and_offset(arguments: str, expected: list[int]) -> None:
    shelf = engine([trade(id_) for id_ in "4213"])
    assert await ask(shelf, f"{{ trades{arguments} {{ id }} }}") == {
        "data": {"trades": [{"id": id_} for id_ in expected]}
    }


async def test_more_rows_than_are_converted_at_a_time() -> None:
    shelf = engine([trade(str(number)) for number in range(12_000, 0, -1)])
    answer = await ask(shelf, "{ trades { id } }")
    assert answer == {"data": {"trades": [{"id": number} for number in range(1, 12_001)]}}


async def test_a_row_by_its_key() -> None:
    query = "query ($id: Int!) { trades_by_pk(id: $id) { id symbol } }"
    assert await ask(engine(), query, {"id": 1}) == {"data": {"trades_by_pk": {"id": 1, "symbol": ROW[4]}}}
    assert await ask(engine(), query, {"id": 2}) == {"data": {"trades_by_pk": None}}


async def test_a_row_by_a_key_of_several_columns() -> None:
    account = "5d0c5a5e-8f0c-4c52-9c2f-0d4b5b7b3c11"
    shelf = engine([("7", account, "buy"), ("8", account, "sell")])
    query = f'{{ holdings_by_pk(account: "{account.upper()}", side: sell) {{ amount }} }}'
    assert await ask(shelf, query) == {"data": {"holdings_by_pk": {"amount": "8"}}}


async def test_composite_keys_order_enums_as_declared() -> None:
    shelf = engine([("1", "b", "buy"), ("2", "a", "hold"), ("3", "a", "buy"), ("4", "a", "sell")])
    answer = await ask(shelf, "{ holdings { amount } }")
    assert answer == {"data": {"holdings": [{"amount": amount} for amount in "3421"]}}


async def test_several_fields_keep_their_order_with_introspection_between() -> None:
    query = (
        'query ($no: Boolean = false) { b: trades { id } __type(name: "side") { name } ...q '
        "c: trades @include(if: $no) { id } } fragment q on Query { kind: __typename b: trades { open } }"
    )
    answer = await ask(engine(), query)
    assert answer == {"data": {"b": [{"id": 1, "open": True}], "__type": {"name": "side"}, "kind": "Query"}}
    assert list(answer["data"]) == ["b", "__type", "kind"]  # type: ignore[call-overload]


async def test_introspection_describes_the_whole_schema() -> None:
    answer = await ask(engine(), get_introspection_query(input_value_deprecation=True, directive_is_repeatable=True))
    assert "errors" not in answer
    assert print_schema(build_client_schema(answer["data"])) == print_schema(engine().schema)  # type: ignore[arg-type]


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002
        raise self._error

    async def row(self, lookup: KeyLookup) -> Row | None:
        raise self._error


async def test_an_unavailable_source_is_told() -> None:
    answer = await ask(Engine(CATALOG, Limits(), Failing(UnavailableError("trades is away"))), "{ t: trades { id } }")
    assert answer == {
        "data": None,
        "errors": [
            {
                "message": "trades is away",
                "locations": [{"line": 1, "column": 3}],
                "path": ["t"],
                "extensions": {"code": "SOURCE_UNAVAILABLE"},
            }
        ],
    }


async def test_an_unexpected_error_is_logged_and_kept_from_the_client(caplog: pytest.LogCaptureFixture) -> None:
    failing = Engine(CATALOG, Limits(), Failing(RuntimeError("the password is 1234")))
    with caplog.at_level(logging.ERROR):
        answer = await ask(failing, "{ trades_by_pk(id: 1) { id } kind: __typename }")
    assert answer["data"] == {"trades_by_pk": None, "kind": "Query"}
    assert "1234" not in str(answer)
    assert "Internal error" in str(answer)
    assert "1234" in caplog.text


class Restless:
    """A reader over a source that changes with every turn of the loop."""

    def __init__(self) -> None:
        self.moment = 0

    async def change(self) -> None:
        while True:
            self.moment += 1
            await asyncio.sleep(0)

    async def rows(self, filter: Filter) -> Sequence[Row]:  # noqa: A002
        row = trade(str(self.moment))
        await asyncio.sleep(0)
        return [row]

    async def row(self, lookup: KeyLookup) -> Row | None:
        return (await self.rows(lookup.filter))[0]


async def test_the_fields_of_a_query_show_one_moment() -> None:
    reader = Restless()
    changing = asyncio.ensure_future(reader.change())
    query = "{ a: trades { id } __typename b: trades(order_by: {id: desc}) { id } c: trades_by_pk(id: 1) { id } }"
    answer = await ask(Engine(CATALOG, Limits(), reader), query)
    changing.cancel()
    data: Any = answer["data"]
    assert data["a"] == data["b"] == [data["c"]]


async def test_errors_are_told_field_by_field() -> None:
    query = "{ a: trades_by_pk(id: 1) { id } b: trades_by_pk(id: 2) { id } kind: __typename }"
    answer: Any = await ask(Engine(CATALOG, Limits(), Failing(UnavailableError("away"))), query)
    assert answer["data"] == {"a": None, "b": None, "kind": "Query"}
    assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
        (["a"], "SOURCE_UNAVAILABLE"),
        (["b"], "SOURCE_UNAVAILABLE"),
    ]
