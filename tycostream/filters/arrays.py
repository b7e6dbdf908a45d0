"""Arrays of texts in PostgreSQL's notation, compared as PostgreSQL compares them (src/backend/utils/adt/arrayfuncs.c:
ReadArrayStr, array_eq, array_cmp)."""

from __future__ import annotations

import re
from typing import Any

from tycostream.filters.errors import shown

_MOST_DIMENSIONS = 6
_SPACE = " \t\n\r\v\f"
_BOUNDS = re.compile(r"((?:\[[+-]?[0-9]+(?::[+-]?[0-9]+)?\])+)\s*=\s*", re.ASCII)
_BOUND = re.compile(r"\[(?:([+-]?[0-9]+):)?([+-]?[0-9]+)\]")
_TOKEN = re.compile(
    r"""[ \t\n\r\v\f]*(?:(?P<sign>[{},])|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>(?:[^{},"\\]|\\.)+))""", re.DOTALL
)


class Array:
    """Ordered element by element, NULL above all, then by length and shape. Equality looks at the lower bounds too,
    order does not: two arrays may be neither less, nor greater, nor equal, as in PostgreSQL."""

    __slots__ = ("_bounds", "_key")

    def __init__(self, elements: list[str | None], shape: tuple[int, ...], bounds: tuple[int, ...]) -> None:
        self._key = (tuple((element is None, element or "") for element in elements), len(shape), shape)
        self._bounds = bounds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self._key == other._key and self._bounds == other._bounds

    def __hash__(self) -> int:
        return hash(self._key)

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, Array) and self._key < other._key

    def __le__(self, other: Any) -> bool:
        return isinstance(other, Array) and self._key <= other._key

    def __gt__(self, other: Any) -> bool:
        return isinstance(other, Array) and self._key > other._key

    def __ge__(self, other: Any) -> bool:
        return isinstance(other, Array) and self._key >= other._key


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
    elements, shape = _read(body[stated.end() :] if stated else body)
    if not elements:
        return Array([], (), ())
    if stated is None:
        return Array(elements, shape, (1,) * len(shape))
    bounds = [(int(low or 1), int(high)) for low, high in _BOUND.findall(stated[1])]
    if tuple(high - low + 1 for low, high in bounds) != shape:
        raise ValueError("the bounds do not fit the elements")
    return Array(elements, shape, tuple(low for low, _ in bounds))


def _read(text: str) -> tuple[list[str | None], tuple[int, ...]]:
    """The elements, in order, and how many there are in each dimension."""
    elements: list[str | None] = []
    counts: list[int] = []  # members so far, of each array that is open
    shapes: list[int | None] = []  # members of an array of each depth
    member_may_follow, at = True, 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or (not counts and token["sign"] != "{"):
            raise ValueError("not an array")
        at, sign = token.end(), token["sign"]
        if sign == "}":
            if member_may_follow and counts[-1]:
                raise ValueError("nothing after a comma")
            count, depth = counts.pop(), len(counts)
            if shapes[depth] not in (None, count):
                raise ValueError("parts of different lengths")
            shapes[depth] = count
            member_may_follow = False
            if not counts:
                break
        elif sign == ",":
            if member_may_follow:
                raise ValueError("nothing before a comma")
            member_may_follow = True
        elif not member_may_follow:
            raise ValueError("no comma between members")
        else:
            if counts:
                counts[-1] += 1
            if sign == "{":
                counts.append(0)
                if len(counts) > len(shapes):
                    shapes.append(None)
                if elements and len(counts) > depth_of_elements:
                    raise ValueError("parts of different depths")
            else:
                if elements and len(counts) != depth_of_elements:
                    raise ValueError("parts of different depths")
                depth_of_elements = len(counts)
                elements.append(_element(token))
            member_may_follow = sign == "{"
    if counts or not shapes or at < len(text) or len(shapes) > _MOST_DIMENSIONS:
        raise ValueError("not an array")
    return elements, tuple(count or 0 for count in shapes)


def _element(token: re.Match[str]) -> str | None:
    quoted, plain = token["quoted"], token["plain"]
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
    return plain
