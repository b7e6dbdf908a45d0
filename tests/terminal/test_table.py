"""The table: what it shows of any updates, in any size."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tycostream.terminal.cells import width
from tycostream.terminal.table import Table, TableColumn

COLUMNS = [TableColumn("id", numeric=True), TableColumn("symbol"), TableColumn("price", numeric=True)]
NAMES = ["id", "symbol", "price"]


def update(operation: str, row: dict[str, Any], fields: list[str] = NAMES) -> dict[str, Any]:
    """As the service sends it: what did not change is null."""
    kept = {"id", *(fields if operation != "DELETE" else ())}
    return {"operation": operation, "data": {n: row.get(n) if n in kept else None for n in NAMES}, "fields": fields}


def table(*updates: dict[str, Any]) -> Table:
    made = Table(COLUMNS, ["id"])
    for one in updates:
        made.apply(one)
    return made


THREE = [update("INSERT", {"id": number, "symbol": f"S{number}", "price": number * 1.5}) for number in (1, 2, 10)]


def test_rows_in_their_order_with_the_newest_marked() -> None:
    assert table(*THREE).render(60, 10) == [
        "  id  symbol  price",
        "   1  S1        1.5",
        "   2  S2        3.0",
        "> 10  S10      15.0",
        "3 rows, newest: INSERT id=10",
    ]


def test_an_update_changes_what_it_names_even_to_null() -> None:
    made = table(*THREE, update("UPDATE", {"id": 1, "symbol": None, "price": 9}, ["symbol"]))
    assert made.render(60, 10)[1:3] == [">  1  null      1.5", "   2  S2        3.0"]


def test_a_row_that_is_gone_is_told_below() -> None:
    assert table(*THREE, update("DELETE", {"id": 2})).render(60, 10) == [
        "  id  symbol  price",
        "   1  S1        1.5",
        "  10  S10      15.0",
        "2 rows, newest: DELETE id=2",
    ]


def test_a_row_that_comes_again_is_the_last() -> None:
    made = table(*THREE, update("DELETE", {"id": 1}), THREE[0])
    assert [line.split()[0] for line in made.render(60, 10)[1:-1]] == ["2", "10", ">"]


def test_cells_that_changed_stand_out_in_color() -> None:
    made = table(*THREE, update("UPDATE", {"id": 1, "price": 2}, ["price"]))
    head, first, *_ = made.render(60, 10, color=True)
    assert head == "  \x1b[1mid  symbol  price\x1b[0m"
    assert first == ">  1  S1      \x1b[7m    2\x1b[0m"


def test_what_does_not_fit_is_counted_and_what_changed_last_stays() -> None:
    rows = [update("INSERT", {"id": number, "symbol": "x", "price": 0}) for number in range(1, 101)]
    made = table(*rows, update("UPDATE", {"id": 3, "price": 1}, ["price"]))
    assert made.render(60, 5) == [
        "   id  symbol  price",
        ">   3  x           1",
        "   99  x           0",
        "  100  x           0",
        "100 rows, 97 not shown, newest: UPDATE id=3",
    ]


def test_the_widest_columns_give_way_and_then_the_last_are_left_out() -> None:
    made = table(update("INSERT", {"id": 1, "symbol": "a" * 50, "price": 2}))
    assert made.render(24, 10) == [
        "  id  symbol       price",
        ">  1  aaaaaaaaaa…      2",
        "1 row, newest: INSERT i…",
    ]
    assert made.render(13, 10)[:2] == ["  id  symbol ", ">  1  aaaaaa…"]
    assert made.render(200, 10)[1] == f">  1  {'a' * 50}      2"
    assert made.render(60, 10)[2] == "1 row, newest: INSERT id=1"
    assert made.render(13, 10)[2] == "1 row, 1 col…"


def test_after_clear_nothing_is_known() -> None:
    made = table(*THREE)
    made.clear()
    assert made.render(60, 10) == ["  id  symbol  price", "0 rows"]


KEYS = st.integers(1, 6)
ROWS = st.fixed_dictionaries({"id": KEYS, "symbol": st.none() | st.text(max_size=12), "price": st.none() | st.floats()})
UPDATES = st.lists(
    st.tuples(st.sampled_from(["INSERT", "UPDATE", "DELETE"]), ROWS, st.lists(st.sampled_from(NAMES[1:]), unique=True))
)


@given(UPDATES, st.integers(1, 60), st.integers(3, 12))
def test_any_updates_in_any_size(updates, columns: int, lines: int) -> None:
    made, model = table(), {}
    for operation, row, fields in updates:
        known = model.get(row["id"])
        if (known is None) != (operation == "INSERT"):
            continue  # what the service never says
        made.apply(update(operation, row, fields if operation == "UPDATE" else NAMES))
        if operation == "DELETE":
            del model[row["id"]]
        else:
            changed = fields if operation == "UPDATE" else NAMES
            model[row["id"]] = {**(known or {}), **{name: row[name] for name in changed}, "id": row["id"]}
        rendered = made.render(columns, lines)
        assert len(rendered) == min(len(model), lines - 2) + 2
        assert all(width(line) <= max(columns, 3) for line in rendered)
        assert sum(line.startswith(">") for line in rendered) == (operation != "DELETE")
        colored = made.render(columns, lines, color=True)
        assert [re.sub(r"\x1b\[[0-9]m", "", line) for line in colored] == rendered
    assert repr({key[0]: row for key, row in made.rows.items()}) == repr(model)
