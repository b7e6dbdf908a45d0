"""Arrays of texts in PostgreSQL's notation, compared as PostgreSQL compares them (src/backend/utils/adt/arrayfuncs.c:
ReadArrayStr, array_eq, array_cmp)."""

from __future__ import annotations

import re

from tycostream.filters.errors import shown

_MOST_DIMENSIONS = 6
_SPACE = " \t\n\r\v\f"
_BOUNDS = re.compile(r"((?:\[[+-]?[0-9]+(?::[+-]?[0-9]+)?\])+)\s*=\s*", re.ASCII)
_BOUND = re.compile(r"\[(?:([+-]?[0-9]+):)?([+-]?[0-9]+)\]")
_TOKEN = re.compile(
    r"""[ \t\n\r\v\f]*(?:(?P<sign>[{},])|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>(?:[^{},"\\]|\\.)+))[ \t\n\r\v\f]*""",
    re.DOTALL,
)
_PLAIN = re.compile(r"(?:\\.|[ \t\n\r\v\f]*[^\\ \t\n\r\v\f])*", re.DOTALL)  # up to spaces that nothing escapes
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


Array = tuple[tuple[tuple[bool, str], ...], int, tuple[tuple[int, int], ...]]
"""Elements (whether NULL, which sorts last, and the text), number of dimensions, length and lower bound of each
dimension: tuples compare as array_cmp does."""


def array_operand(value: object) -> Array:
    """A client's array, as PostgreSQL writes it."""
    try:
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("no text")
        value.encode()
        return read_array(value)
    except ValueError:
        raise ValueError(f"""{shown(value)} is not an array, such as "{{a,b}}" or '{{"a b",NULL}}'""") from None


def read_array(text: str) -> Array:
    """PostgreSQL's text of an array. Raises ValueError."""
    body = text.strip(_SPACE)
    stated = _BOUNDS.match(body)
    token = _token(body, stated.end() if stated else 0)
    if token["sign"] != "{":
        raise ValueError("an array starts with a brace")
    elements, shape, end = _read_members(body, token.end(), 1)
    if end < len(body):
        raise ValueError("something follows the array")
    if not elements:
        return (), 0, ()
    lows = [1] * len(shape)
    if stated is not None:
        bounds = [(int(low or 1), int(high)) for low, high in _BOUND.findall(stated[1])]
        if [high - low + 1 for low, high in bounds] != list(shape):
            raise ValueError("the bounds do not fit the elements")
        lows = [low for low, _ in bounds]
    ordered = tuple((element is None, element or "") for element in elements)
    return ordered, len(shape), tuple(zip(shape, lows, strict=True))


def _token(text: str, position: int) -> re.Match[str]:
    token = _TOKEN.match(text, position)
    if token is None:
        raise ValueError("an array has no end, or a stray quote")
    return token


def _read_members(text: str, position: int, depth: int) -> tuple[list[str | None], tuple[int, ...], int]:
    """The elements of an array whose brace has been read, in order; how many in each dimension; and where it ends."""
    if depth > _MOST_DIMENSIONS:
        raise ValueError(f"more than {_MOST_DIMENSIONS} dimensions")
    elements: list[str | None] = []
    shapes: set[tuple[int, ...]] = set()
    count = 0
    token = _token(text, position)
    if token["sign"] == "}":
        return [], (0,), token.end()
    while True:
        position = token.end()
        if token["sign"] is None:
            elements.append(_element(token))
            shapes.add(())
        elif token["sign"] == "{":
            inner, shape, position = _read_members(text, position, depth + 1)
            elements += inner
            shapes.add(shape)
        else:
            raise ValueError("an empty element is written as two quotes")
        count += 1
        if len(shapes) > 1:
            raise ValueError("parts of different shapes")
        token = _token(text, position)
        if token["sign"] == "}":
            return elements, (count, *shapes.pop()), token.end()
        if token["sign"] != ",":
            raise ValueError("elements are separated by commas")
        token = _token(text, token.end())


def _element(token: re.Match[str]) -> str | None:
    if token["quoted"] is not None:
        return _ESCAPED.sub(r"\1", token["quoted"])
    found = _PLAIN.match(token["plain"])
    plain = found[0] if found else ""
    if not plain:
        raise ValueError("an empty element is written as two quotes")
    return None if plain.upper() == "NULL" else _ESCAPED.sub(r"\1", plain)
