"""JSON that strangers send, and the answers to it.

It is read strictly, with integers of any size, and nested no deeper than is safe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

MAX_NESTING = 200
"""Arrays and objects within one another. All that is done with a value recurses: orjson writes 254 levels, Python's own
stack ends near 1000."""

_LONG_INTEGER = re.compile(r"\d{19}")


class InvalidJsonError(ValueError):
    """The text is not JSON that is accepted; the message says why."""


def parse(text: str) -> Any:
    """The value of a JSON text. Raises InvalidJsonError, for lone surrogates, NaN and deep nesting too."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidJsonError(error.msg) from None
    if text.count("[") + text.count("{") > MAX_NESTING and _too_deep(value):
        raise InvalidJsonError(f"nested deeper than {MAX_NESTING} levels")
    if _LONG_INTEGER.search(text):  # orjson makes floats of integers beyond 64 bits
        value = json.loads(text)
    return value


def dump(value: Any) -> bytes:
    """A value that came from `parse`, or an answer, as JSON in UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits
        return json.dumps(value, separators=(",", ":")).encode()


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_NESTING):
        level = [inner for outer in level if isinstance(outer, list | dict) for inner in _members(outer)]
        if not level:
            return False
    return any(isinstance(inner, list | dict) for inner in level)


def _members(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
