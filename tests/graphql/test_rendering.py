import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.graphql.examples import HOLDINGS, ROW, TRADES, ordered, rows
from tests.support.rendering import rendered
from tycostream.graphql import Field, Operation, Selection, event_id
from tycostream.graphql.encoding import decoder
from tycostream.model import Row, Source

COLUMNS = tuple(column.name for column in TRADES.columns)
Render = Callable[..., object]


def select(*columns: str, others: tuple[str, ...] = (), source: Source = TRADES) -> Selection:
    data = (Field("data", "data", tuple(Field(name, name) for name in columns)),) if columns else ()
    return Selection(source, source.name, (*(Field(name, name) for name in others), *data))


def mask(*names: str) -> int:
    return sum(1 << TRADES.positions[name] for name in names)


def naive(selection: Selection, operation: Operation, row: Row, changed: int, timestamp: int) -> dict[str, object]:
    """What a result should be, from typed values and with no cleverness."""
    source = selection.source
    shown = {
        Operation.INSERT: set(source.positions),
        Operation.UPDATE: {name for name, index in source.positions.items() if changed >> index & 1},
        Operation.DELETE: set(),
    }[operation] | set(source.primary_key)

    def value(field: Field) -> object:
        match field.name:
            case "operation":
                return operation.value
            case "fields":
                return [
                    name
                    for name, index in source.positions.items()
                    if operation is not Operation.UPDATE or changed >> index & 1
                ]
            case "timestamp":
                return str(timestamp)
            case "event_id":
                return event_id(source, row, timestamp)
            case "__typename":
                return source.name + "Update"
            case _:
                return {member.key: cell(member) for member in field.fields}

    def cell(member: Field) -> object:
        if member.name == "__typename":
            return source.name
        position = source.positions[member.name]
        return decoder(source.columns[position])(row[position]) if member.name in shown else None

    return {"data": {selection.response_key: {field.key: value(field) for field in selection.fields}}}


def selections(source: Source) -> st.SearchStrategy[Selection]:
    members = st.lists(st.sampled_from([*source.positions, "__typename"]), max_size=6).map(
        lambda names: tuple(Field(f"{name}_{index}", name) for index, name in enumerate(names))
    )
    plain = st.sampled_from(["operation", "fields", "timestamp", "event_id", "__typename"]).map(lambda name: (name, ()))
    data = members.map(lambda fields: ("data", fields))
    fields = st.lists(plain | data, min_size=1, max_size=5).map(
        lambda chosen: tuple(Field(f"{name}_{index}", name, below) for index, (name, below) in enumerate(chosen))
    )
    return st.builds(
        lambda fields, key: Selection(source, key, fields), fields, st.sampled_from(["trades", "é", 'a"%s{}'])
    )


@given(st.data())
def test_any_selection_renders_what_the_naive_way_gives(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([TRADES, HOLDINGS]))
    selection = data.draw(selections(source))
    # More masks than are specialised, so that the general function is reached as well.
    row = data.draw(rows(source))
    masks = data.draw(st.lists(st.integers(0, 2 ** len(source.columns) - 1), min_size=1, max_size=50))
    timestamp = data.draw(st.integers(0, 2**64))
    for operation in Operation:
        for changed in (*masks, -1):
            result = rendered(selection, operation, row, changed, timestamp)
            expected = naive(selection, operation, row, changed, timestamp)
            assert ordered(result) == ordered(json.dumps(expected))


def test_an_insert_carries_every_selected_column() -> None:
    selection = select("id", "price", "symbol", others=("operation", "fields"))
    update = json.loads(rendered(selection, Operation.INSERT, ROW, 0, 7))["data"]["trades"]
    assert update == {
        "operation": "INSERT",
        "fields": list(COLUMNS),
        "data": {"id": 1, "price": 2.5, "symbol": 'AC"ME é\n'},
    }


def test_an_update_carries_key_and_changed_columns_and_names_all_that_changed() -> None:
    selection = select("id", "price", "symbol", others=("operation", "fields"))
    update = json.loads(rendered(selection, Operation.UPDATE, ROW, mask("price", "open"), 7))["data"]["trades"]
    assert update == {
        "operation": "UPDATE",
        "fields": ["price", "open"],
        "data": {"id": 1, "price": 2.5, "symbol": None},
    }


def test_a_delete_carries_the_key() -> None:
    selection = select("price", "id", others=("operation", "fields", "timestamp"))
    update = json.loads(rendered(selection, Operation.DELETE, ROW, mask("price"), 7))["data"]["trades"]
    assert update == {
        "operation": "DELETE",
        "fields": list(COLUMNS),
        "timestamp": "7",
        "data": {"price": None, "id": 1},
    }


def test_more_masks_than_are_specialised_render_alike() -> None:
    selection, fresh = select(*COLUMNS, others=("fields",)), select(*COLUMNS, others=("fields",))
    for changed in range(200):
        rendered(selection, Operation.UPDATE, ROW, changed, 1)
    for changed in (0, 1, 199, 5_000):
        assert rendered(selection, Operation.UPDATE, ROW, changed, 1) == rendered(
            Selection(TRADES, "trades", fresh.fields), Operation.UPDATE, ROW, changed, 1
        )


@pytest.mark.parametrize(
    ("selection", "interest"),
    [
        (select("price", "id"), mask("price", "id")),
        (select(others=("operation", "fields")), -1),
        (Selection(TRADES, "trades", (Field("data", "data", (Field("t", "__typename"),)),)), -1),
        (
            Selection(
                TRADES,
                "trades",
                (Field("a", "data", (Field("x", "price"),)), Field("b", "data", (Field("y", "open"),))),
            ),
            mask("price", "open"),
        ),
    ],
)
def test_interest_is_what_data_selects(selection: Selection, interest: int) -> None:
    assert selection.interest == interest


def test_equal_selections_are_equal_and_others_are_not() -> None:
    assert select("id", "price") == select("id", "price")
    assert hash(select("id", "price")) == hash(select("id", "price"))
    different = [
        select("price", "id"),
        select("id"),
        select("id", "price", others=("operation",)),
        Selection(TRADES, "other", select("id", "price").fields),
        Selection(TRADES, "trades", (Field("d", "data", select("id", "price").fields[0].fields),)),
    ]
    assert all(selection != select("id", "price") for selection in different)


def test_an_event_id_depends_on_source_key_and_time_alone() -> None:
    row = ("1", "a", "buy")
    known = event_id(HOLDINGS, row, 5)
    assert known == event_id(HOLDINGS, ("2", "a", "buy"), 5)
    assert len(known) == 32
    assert known.isalnum()
    others = {
        event_id(HOLDINGS, row, 6),
        event_id(HOLDINGS, ("1", "ab", "uy"), 5),
        event_id(HOLDINGS, ("1", "a", "sell"), 5),
        event_id(TRADES, ROW, 5),
    }
    assert len(others) == 4
    assert known not in others
