"""What a new schema file changes of the one that is served."""

from __future__ import annotations

import pytest

from tycostream.model import Catalog
from tycostream.reload import compare
from tycostream.settings.schema_file import parse_schema

OLD = """
enums:
  side: [buy, sell]
  level: {values: [low, high], description: How much.}
sources:
  trades:
    primary_key: [id, book]
    description: What was traded.
    columns: {id: Integer, book: String, side: side, price: {type: Float, description: In dollars.}}
    calculated_fields: {risk: {type: level, description: Of each.}}
  quotes:
    relation: market.quotes
    primary_key: symbol
    columns: {symbol: String, bid: Numeric}
"""


def catalog(text: str = OLD) -> Catalog:
    return parse_schema("schema.yaml", text)


def edited(old: str, new: str) -> Catalog:
    assert OLD.count(old) == 1, old
    return catalog(OLD.replace(old, new))


def test_the_same_text_changes_nothing() -> None:
    old = catalog()
    change = compare(old, catalog())
    assert change.empty
    assert str(change) == "nothing is different"
    assert list(change.catalog.sources.values()) == list(old.sources.values())
    assert (change.ended, change.started, change.described) == ((), (), {})


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("price: {type: Float,", "price: {type: Numeric,", "trades"),
        ("book: String,", "book: String, note: String,", "trades"),
        ("side: side, ", "", "trades"),
        ("{id: Integer, book: String,", "{book: String, id: Integer,", "trades"),
        ("primary_key: [id, book]", "primary_key: [book, id]", "trades"),
        ("primary_key: [id, book]", "primary_key: id", "trades"),
        ("[buy, sell]", "[buy, sell, short]", "trades"),
        ("[buy, sell]", "[sell, buy]", "trades"),
        ("[low, high]", "[low, middle, high]", "trades"),
        ("{risk: {type: level, description: Of each.}}", "{danger: {type: level, description: Of each.}}", "trades"),
        ("    calculated_fields: {risk: {type: level, description: Of each.}}\n", "", "trades"),
        ("relation: market.quotes", "relation: quotes", "quotes"),
        ("    relation: market.quotes\n", "", "quotes"),
        ("bid: Numeric", "ask: Numeric", "quotes"),
    ],
)
def test_whatever_rows_or_filters_may_notice_makes_another_source(before: str, after: str, named: str) -> None:
    old, new = catalog(), edited(before, after)
    change = compare(old, new)
    assert change.changed == {old.sources[named]: new.sources[named]}
    assert change.ended == (old.sources[named],)
    assert change.started == (new.sources[named],)
    assert str(change) == f"changed {named}"
    assert not change.empty
    for name, source in change.catalog.sources.items():
        assert source is (new if name == named else old).sources[name]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("description: What was traded.", "description: Trades."),
        ("    description: What was traded.\n", ""),
        ("description: In dollars.", "description: In cents."),
        ("description: How much.", "description: How bad."),
        ("description: Of each.", "description: Of all."),
    ],
)
def test_descriptions_make_no_other_source(before: str, after: str) -> None:
    old, new = catalog(), edited(before, after)
    trades, described = old.sources["trades"], new.sources["trades"]
    kept = (trades.extended, trades.positions, trades.key_of)
    change = compare(old, new)
    assert change.catalog.sources["trades"] is trades
    assert change.described == {trades: described}
    assert (change.ended, change.started, change.empty) == ((), (), False)
    assert str(change) == "described differently trades"
    change.describe()
    assert (trades.description, trades.columns, trades.calculated) == (
        described.description,
        described.columns,
        described.calculated,
    )
    assert trades.extended.columns == described.extended.columns
    assert kept == (trades.extended, trades.positions, trades.key_of)
    assert compare(change.catalog, catalog(OLD.replace(before, after))).empty


def test_added_removed_and_renamed() -> None:
    old = catalog()
    new = edited("  quotes:\n", "  offers:\n")
    change = compare(old, new)
    assert change.added == (new.sources["offers"],)
    assert change.removed == (old.sources["quotes"],)
    assert list(change.catalog.sources) == ["trades", "offers"]
    assert str(change) == "added offers; removed quotes"


def test_what_no_source_uses_is_still_a_change() -> None:
    old = catalog()
    more = catalog(OLD.replace("enums:\n", "enums:\n  colour: [red]\n"))
    assert not compare(old, more).empty
    assert str(compare(old, more)) == "no source is different"
    assert compare(old, more).ended + compare(old, more).started == ()
    head, trades = OLD.split("  trades:")
    trades, quotes = trades.split("  quotes:")
    other_order = compare(old, catalog(f"{head}  quotes:{quotes}  trades:{trades}"))
    assert not other_order.empty
    assert list(other_order.catalog.sources) == ["quotes", "trades"]
    assert other_order.ended + other_order.started == ()
