"""What `order_by` means: directions, NULL, several columns, what is refused."""

from __future__ import annotations

import pytest

from tests.graphql.examples import ROW, TRADES, engine
from tests.graphql.test_queries import ask, trade
from tycostream.graphql import RequestError
from tycostream.graphql.ordering import sort_key
from tycostream.model import Column, ColumnType, Relation, Row, Source

# id, symbol, price; side is the same for all
SHELF = engine(
    [
        trade("1", symbol="b", price="2"),
        trade("2", symbol="a", price=None),
        trade("3", symbol="b", price="1"),
        trade("10", symbol="a", price="NaN"),
        trade("9", symbol="a", price="1"),
    ]
)


async def ids(arguments: str, variables: dict[str, object] | None = None, head: str = "") -> list[int]:
    answer = await ask(SHELF, f"query {head} {{ trades{arguments} {{ id }} }}", variables)
    return [row["id"] for row in answer["data"]["trades"]]  # type: ignore[index]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("null", [1, 2, 3, 9, 10]),
        ("[]", [1, 2, 3, 9, 10]),
        ("{}", [1, 2, 3, 9, 10]),
        ("[{}, {}]", [1, 2, 3, 9, 10]),
        ("{id: desc}", [10, 9, 3, 2, 1]),
        ("{price: asc}", [3, 9, 1, 10, 2]),
        ("{price: asc_nulls_last}", [3, 9, 1, 10, 2]),
        ("{price: asc_nulls_first}", [2, 3, 9, 1, 10]),
        ("{price: desc}", [2, 10, 1, 3, 9]),
        ("{price: desc_nulls_first}", [2, 10, 1, 3, 9]),
        ("{price: desc_nulls_last}", [10, 1, 3, 9, 2]),
        ("{side: desc}", [1, 2, 3, 9, 10]),
        ("[{symbol: asc}, {price: desc}]", [2, 10, 9, 1, 3]),
        ("[{price: desc}, {symbol: asc}]", [2, 10, 1, 9, 3]),
        # As written, though the schema has price before symbol
        ("{symbol: asc, price: desc}", [2, 10, 9, 1, 3]),
        ("{price: desc, symbol: asc}", [2, 10, 1, 9, 3]),
        ("[{symbol: desc}, {id: desc}]", [3, 1, 10, 9, 2]),
        # The first mention of a column counts
        ("[{price: asc}, {price: desc}]", [3, 9, 1, 10, 2]),
    ],
)
async def test_what_an_order_means(order: str, expected: list[int]) -> None:
    assert await ids(f"(order_by: {order})") == expected


async def test_pages_of_an_order() -> None:
    whole = await ids("(order_by: {price: desc})")
    pages = [await ids(f"(order_by: {{price: desc}}, limit: 2, offset: {offset})") for offset in (0, 2, 4, 6)]
    assert pages == [whole[:2], whole[2:4], whole[4:], []]


@pytest.mark.parametrize(
    ("head", "order", "variables"),
    [
        ("($o: [trades_order_by!])", "$o", {"o": [{"symbol": "asc"}, {"price": "desc"}]}),
        ("($o: [trades_order_by!])", "$o", {"o": {"symbol": "asc", "price": "desc"}}),
        ("($o: [trades_order_by!] = {symbol: asc, price: desc})", "$o", {}),
        ("($o: trades_order_by!)", "[{symbol: asc}, $o]", {"o": {"price": "desc"}}),
        ("($d: order_by)", "{symbol: asc, price: $d}", {"d": "desc"}),
        ("($d: order_by = desc)", "{symbol: asc, price: $d}", {}),
        ("($d: order_by)", "{side: $d, symbol: asc, price: desc}", {}),
    ],
)
async def test_variables_anywhere(head: str, order: str, variables: dict[str, object]) -> None:
    assert await ids(f"(order_by: {order})", variables, head) == [2, 10, 9, 1, 3]


@pytest.mark.parametrize("variables", [{}, {"o": None}, {"o": []}])
async def test_variables_without_an_order(variables: dict[str, object]) -> None:
    assert await ids("(order_by: $o)", variables, "($o: [trades_order_by!])") == [1, 2, 3, 9, 10]


@pytest.mark.parametrize(
    ("head", "order", "variables", "place"),
    [
        ("", "{price: null}", {}, "price"),
        ("", "[{id: asc}, {price: null}]", {}, "[1].price"),
        ("($d: order_by)", "{price: $d}", {"d": None}, "price"),
        ("($o: [trades_order_by!])", "$o", {"o": [{"price": None}]}, "[0].price"),
    ],
)
async def test_null_is_no_direction(head: str, order: str, variables: dict[str, object], place: str) -> None:
    with pytest.raises(RequestError) as caught:
        await ids(f"(order_by: {order})", variables, head)
    (error,) = caught.value.errors
    assert error["message"] == (
        f'Argument "order_by" of "trades": {place}: null is no direction; leave the column out, or say asc, '
        "asc_nulls_first, asc_nulls_last, desc, desc_nulls_first, desc_nulls_last."
    )
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert error["locations"]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("{nope: asc}", "nope"),
        ("{price: up}", "up"),
        ('{price: "asc"}', "asc"),
        ("[null]", "null"),
        ("[[{price: asc}]]", "trades_order_by"),
    ],
)
async def test_what_is_no_order_is_refused(order: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        await ids(f"(order_by: {order})")
    assert message in caught.value.errors[0]["message"]


def in_order(source: Source, rows: list[Row], **order: str) -> list[Row]:
    return sorted(rows, key=sort_key(source, order))


def test_what_does_not_fit_its_column_is_greater_than_all_that_does() -> None:
    rows = [trade("1", day="soon"), trade("2", day="2024-01-02"), trade("3", day=None), trade("4", day="later")]
    assert [row[0] for row in in_order(TRADES, rows, day="asc")] == ["2", "4", "1", "3"]
    assert [row[0] for row in in_order(TRADES, rows, day="desc")] == ["3", "1", "4", "2"]
    assert [row[0] for row in in_order(TRADES, [ROW, trade("x"), trade("2")])] == ["1", "2", "x"]


def test_times_with_and_without_a_zone_sort_together() -> None:
    rows = [trade("1", at="10:00:00"), trade("2", at="10:00:00+02"), trade("3", at="09:00:00"), trade("4", at="1")]
    assert [row[0] for row in in_order(TRADES, rows, at="asc")] == ["2", "3", "1", "4"]


def test_keys_that_compare_as_equal_have_an_order_too() -> None:
    """A view may hold 1.0 and 1.00: for PostgreSQL that is one number."""
    columns = (Column("name", ColumnType.STRING), Column("fee", ColumnType.NUMERIC))
    source = Source("fees", Relation("fees"), columns, ("fee",))
    rows: list[Row] = [(None, "1.00"), ("y", "1"), ("x", "1.0")]
    assert in_order(source, rows) == in_order(source, rows[::-1]) == [("y", "1"), ("x", "1.0"), (None, "1.00")]
