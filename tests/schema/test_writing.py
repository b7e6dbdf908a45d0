"""YAML text: what is written is read back, by any reader, as the text that it was."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tycostream.model import Relation
from tycostream.schema.writing import relation_text, scalar
from tycostream.settings.schema_file import parse_relation

TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=30)


@pytest.mark.parametrize(
    "word", ["yes", "No", "null", "~", "on", "1", "1_000", "0x1f", "2024-01-02", "", ".5", "y", "N", "=", "<<"]
)
def test_words_that_mean_more_are_quoted(word: str) -> None:
    assert scalar(word) in (f"'{word}'", f'"{word}"')


def test_plain_words_are_left_alone() -> None:
    assert [scalar(word) for word in ("trades", "_7", "äther", "a b")] == ["trades", "_7", "äther", "a b"]


@given(TEXTS)
def test_any_text_is_read_back_on_one_line(text: str) -> None:
    written = scalar(text)
    assert "\n" not in written
    assert yaml.safe_load(f"a:\n  {written}: [{written}, {written}]\n") == {"a": {text: [text, text]}}


@given(TEXTS, st.none() | TEXTS)
def test_any_relation_is_read_back(name: str, schema: str | None) -> None:
    assert parse_relation(relation_text(Relation(name, schema))) == Relation(name, schema)
