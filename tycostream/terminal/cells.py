"""Text as a terminal shows it: how wide it is, cut to a width, without characters that would command it."""

from __future__ import annotations

import unicodedata
from typing import Any

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(value: Any) -> str:
    """A value of a row, on one line. Control characters are spelled out: data must not move the cursor."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return _ESCAPES.get(character) or f"\\u{ord(character):04x}"


def width(text: str) -> int:
    """Columns of the screen that the text takes: two for a wide character (UAX #11), none for a combining one."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, columns: int, *, right: bool = False) -> str:
    """The text in exactly so many columns: cut with an ellipsis, or filled with spaces."""
    taken = width(text)
    if taken > columns:
        text = _cut(text, columns - 1) + "…"
        taken = width(text)
    space = " " * (columns - taken)
    return space + text if right else text + space


def _cut(text: str, columns: int) -> str:
    if text.isascii():
        return text[:columns]
    taken = 0
    for index, character in enumerate(text):
        taken += _character_width(character)
        if taken > columns:
            return text[:index]
    return text
