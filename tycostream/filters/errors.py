"""What is wrong in a filter, and how values are shown in saying so."""

from __future__ import annotations

import json
from collections.abc import Iterable

Path = tuple[str | int, ...]

_LONGEST = 60


class FilterError(ValueError):
    """What is wrong in a `where` object; `path` says where within it."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def shown(value: object) -> str:
    """A value for an error message, as JSON, cut where it is long."""
    if isinstance(value, str):
        value = value[: _LONGEST + 1]
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON, or a number of very many digits
        text = "a number of very many digits" if isinstance(value, int) else "a value"
    text = text if text.isprintable() else text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def dotted(path: Iterable[str | int]) -> str:
    """A path inside an input value as people write it: `_and[0].price._gt`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text
