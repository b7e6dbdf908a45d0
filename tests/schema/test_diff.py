"""What breaks clients: every kind of change, and that nothing that graphql-core finds goes untold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graphql import build_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tycostream.cli import main
from tycostream.model import Catalog, Column, ColumnType, EnumType, Relation, Source
from tycostream.schema.diff import Difference, Effect, compare
from tycostream.settings.schema_file import parse_schema

OLD = """
enums:
  side: [buy, sell, hold]
sources:
  trades:
    primary_key: [id, day]
    description: Every trade
    columns: {id: Integer, day: Date, side: side, price: Float, note: {type: String, description: Words}}
  quotes:
    primary_key: id
    columns: {id: BigInt}
"""


def difference(old: str, new: str) -> Difference:
    return compare(parse_schema("old", old), parse_schema("new", new))


@pytest.mark.parametrize(
    ("old", "new", "effect", "told"),
    [
        ("  quotes:\n    primary_key: id\n    columns: {id: BigInt}\n", "", "breaks", "sources.quotes: removed"),
        ("price: Float, ", "", "breaks", "sources.trades.columns.price: removed"),
        ("price: Float", "price: Numeric", "breaks", "sources.trades.columns.price: Numeric instead of Float"),
        ("day: Date", "day: Timestamp", "breaks", "sources.trades.columns.day: Timestamp instead of Date"),
        ("id: BigInt", "id: String", "breaks", "sources.quotes.columns.id: String instead of BigInt"),
        ("side: side", "side: String", "breaks", "sources.trades.columns.side: String instead of side"),
        ("[id, day]", "id", "breaks", "sources.trades.primary_key: (id) instead of (id, day): clients tell rows apart by it"),
        ("[id, day]", "[day, id]", "careful", "sources.trades.primary_key: (day, id) instead of (id, day): rows come in another order, and events have other ids"),
        ("    description", "    relation: deals\n    description", "breaks", "sources.trades.relation: deals instead of trades: the rows are others"),
        ("    description", "    relation: public.trades\n    description", "careful", "sources.trades.relation: public.trades instead of trades: the same where the search path finds it there"),
        ("sell, hold", "sell", "breaks", "enums.side: the value hold is removed"),
        ("hold]", "hold, swap]", "careful", "enums.side: the value swap is new: clients may meet one they don't know"),
        ("buy, sell", "sell, buy", "breaks", "enums.side: the order is sell, buy, hold instead of buy, sell, hold: filters and sorting follow it"),
        ("enums:\n", "enums:\n  other: [a]\n", "safe", "enums.other: added"),
        ("sources:\n", "sources:\n  more: {primary_key: a, columns: {a: UUID}}\n", "safe", "sources.more: added"),
        ("price: Float", "price: Float, size: BigInt", "safe", "sources.trades.columns.size: added, BigInt"),
        ("Every trade", "All trades", "safe", "sources.trades: described differently"),
        ("Words", "Text", "safe", "sources.trades.columns.note: described differently"),
    ],
)  # fmt: skip
def test_what_a_change_means(old: str, new: str, effect: str, told: str) -> None:
    assert OLD.count(old) == 1
    found = difference(OLD, OLD.replace(old, new))
    assert [(change.effect.value, f"{change.place}: {change.message}") for change in found.changes] == [(effect, told)]
    assert found.breaks == (effect == "breaks")


def test_nothing_changes_by_the_order_of_columns_and_sources() -> None:
    moved = OLD.replace("price: Float, ", "").replace("{id: Integer", "{price: Float, id: Integer")
    assert difference(OLD, moved).as_text() == "Nothing changes for clients.\n"


def test_what_breaks_is_told_first_and_graphql_says_how() -> None:
    text = difference(OLD, OLD.replace("price: Float, ", "size: BigInt, ")).as_text()
    assert text.startswith(
        "breaks   sources.trades.columns.price: removed\nsafe     sources.trades.columns.size: added, BigInt\n\n"
    )
    assert "\n  Field trades.price was removed.\n" in text
    assert text.endswith("\nSome clients break.\n")


COLUMNS = st.dictionaries(
    st.sampled_from("abcd"),
    st.sampled_from([*(kind for kind in ColumnType if kind is not ColumnType.ENUM), "x", "y"]),
    min_size=1,
)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Small ones, so that two have much in common."""
    enums = {
        name: EnumType(name, tuple(draw(st.lists(st.sampled_from("pqr"), min_size=1, unique=True)))) for name in "xy"
    }
    sources = {}
    for name in draw(st.lists(st.sampled_from(["s", "t"]), min_size=1, unique=True)):
        columns = tuple(
            Column(column, ColumnType.ENUM, enums[kind]) if isinstance(kind, str) else Column(column, kind)
            for column, kind in draw(COLUMNS).items()
        )
        key = draw(st.lists(st.sampled_from([column.name for column in columns]), min_size=1, unique=True))
        sources[name] = Source(name, Relation(draw(st.sampled_from("mn"))), columns, tuple(key))
    return Catalog(sources, enums)


@settings(deadline=None, max_examples=150)
@given(catalogs(), catalogs())
def test_all_that_graphql_core_finds_is_told_by_its_place_too(old: Catalog, new: Catalog) -> None:
    found = compare(old, new)
    effects = {change.effect for change in found.changes}
    if found.graphql_breaking:
        assert Effect.BREAKS in effects
    if found.graphql_dangerous:
        assert effects & {Effect.BREAKS, Effect.CAREFUL}


@given(catalogs())
@settings(deadline=None)
def test_a_catalog_does_not_differ_from_itself(catalog: Catalog) -> None:
    assert compare(catalog, catalog) == Difference((), (), ())


def test_the_command_ends_with_1_where_clients_break(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, wrong = tmp_path / "old.yaml", tmp_path / "new.yaml", tmp_path / "wrong.yaml"
    old.write_text(OLD)
    new.write_text(OLD.replace("price: Float, ", ""))
    wrong.write_text(OLD.replace("Integer", "Integr"))
    assert main(["schema", "diff", str(old), str(old)]) == 0
    assert capsys.readouterr().out == "Nothing changes for clients.\n"
    assert main(["schema", "diff", str(old), str(new)]) == 1
    assert capsys.readouterr().out.startswith("breaks   sources.trades.columns.price: removed\n")
    assert main(["schema", "diff", str(new), str(old), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "breaks": False,
        "changes": [{"effect": "safe", "place": "sources.trades.columns.price", "message": "added, Float"}],
        "graphql": {"breaking": [], "dangerous": []},
    }
    assert main(["schema", "diff", str(old), str(wrong)]) == 2
    told = capsys.readouterr().err
    assert "wrong.yaml:8:" in told
    assert "did you mean Integer?" in told


def test_print_gives_sdl_that_others_can_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = []
    for text in (OLD, OLD.replace("price: Float, ", "").replace("{id: Integer", "{price: Float, id: Integer")):
        (tmp_path / "schema.yaml").write_text(text)
        assert main(["schema", "print"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    schema = build_schema(printed[0])
    assert schema.subscription_type is not None
    fields = ["quotes", "quotes_batch", "source_status", "trades", "trades_batch"]
    assert sorted(schema.subscription_type.fields) == fields
    assert schema.type_map["side"] is not None
