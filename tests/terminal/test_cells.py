"""Text in columns: widths, cuts, and characters that must not reach the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.terminal.cells import fitted, shown, width


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (False, "false"), (0, "0"), (1.5, "1.5"), ("", ""), ("a b", "a b"), ("日本", "日本"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"), ("\x1b[2J", "\\u001b[2J"), ("\u202eabc", "\\u202eabc"), ("\x9b1A", "\\u009b1A"),
    ],
)  # fmt: skip
def test_values_as_they_are_shown(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0), ("ü", 1)])
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "columns", "right", "expected"),
    [
        ("abc", 5, False, "abc  "), ("abc", 5, True, "  abc"), ("abc", 3, False, "abc"), ("abcd", 3, False, "ab…"),
        ("日本語", 4, False, "日… "), ("日本語", 5, False, "日本…"), ("abc", 1, False, "…"),
    ],
)  # fmt: skip
def test_fitted(text: str, columns: int, right: bool, expected: str) -> None:
    assert fitted(text, columns, right=right) == expected


@given(st.text(max_size=20), st.integers(1, 25), st.booleans())
def test_any_text_takes_exactly_its_columns_and_commands_nothing(text: str, columns: int, right: bool) -> None:
    cell = fitted(shown(text), columns, right=right)
    assert width(cell) == columns
    assert cell.isprintable()
