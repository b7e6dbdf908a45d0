"""JSON values that compare as PostgreSQL's jsonb, and contain each other as there.

jsonb's order (PostgreSQL documentation, "jsonb Indexing"; src/backend/utils/adt/jsonb_util.c, compareJsonbContainers):
Object > Array > Boolean > Number > String > null; of two objects or arrays the one with more members is greater; then
members one by one, an object's keys sorted by length, then bytes. An empty array at the top is less than any scalar
there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from types import NoneType
from typing import Any

from tycostream.filters.errors import shown

MOST_NESTING = 100
"""Levels of an operand. Nothing here goes deeper into a row than an operand goes."""


class Json:
    """A parsed JSON document."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Json) and compare_json(self.value, other.value) == 0

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(_outline(self.value))
        return self._hash

    def __lt__(self, other: Json) -> bool:
        return compare_json(self.value, other.value) < 0

    def __le__(self, other: Json) -> bool:
        return compare_json(self.value, other.value) <= 0

    def __gt__(self, other: Json) -> bool:
        return compare_json(self.value, other.value) > 0

    def __ge__(self, other: Json) -> bool:
        return compare_json(self.value, other.value) >= 0


def read_json(text: str) -> Json:
    """A row's JSON. Raises ValueError."""
    try:
        return Json(_LOADER.decode(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_operand(value: object) -> Json:
    """A client's JSON text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not JSON text, such as {shown('[1, null]')}")
    if _nesting(value) > MOST_NESTING:
        raise ValueError(f"JSON may be nested {MOST_NESTING} levels deep")
    try:
        document = read_json(value)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{shown(value)} is not JSON: {error}") from None
    for text in _texts(document.value):
        if "\0" in text:
            raise ValueError("JSON text can't hold the character NUL")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("JSON text can't hold half of a surrogate pair") from None
    return document


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_LOADER = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant)


def _nesting(text: str) -> int:
    deepest = depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _outline(value: Any, levels: int = 3) -> Any:
    """Equal for equal values; not deep, for rows are of any depth."""
    if not isinstance(value, dict | list):
        return (value.__class__, value)
    if not levels:
        return value.__class__
    if isinstance(value, dict):
        return frozenset((key, _outline(member, levels - 1)) for key, member in value.items())
    return tuple(_outline(member, levels - 1) for member in value)


_RANKS = {NoneType: 0, str: 1, Decimal: 2, bool: 3, list: 4, dict: 5}


def compare_json(one: Any, other: Any, *, top: bool = True) -> int:
    """Less than, equal to or greater than 0, as one is less than, equal to or greater than the other."""
    rank, other_rank = _RANKS[one.__class__], _RANKS[other.__class__]
    if rank != other_rank:
        if top and [] in (one, other):
            lesser, greater = (one, other) if one == [] else (other, one)
            if not isinstance(greater, dict):
                return -1 if lesser is one else 1
        return -1 if rank < other_rank else 1
    if isinstance(one, dict):
        return _compare_objects(one, other)
    if isinstance(one, list):
        return _sign(len(one), len(other)) or _first(
            compare_json(mine, theirs, top=False) for mine, theirs in zip(one, other, strict=True)
        )
    return 0 if one is None else _sign(one, other)


def _compare_objects(one: dict[str, Any], other: dict[str, Any]) -> int:
    return _sign(len(one), len(other)) or _first(
        _sign(key, other_key) or compare_json(one[key], other[other_key], top=False)
        for key, other_key in zip(_stored_order(one), _stored_order(other), strict=True)
    )


def _stored_order(members: dict[str, Any]) -> list[str]:
    return sorted(members, key=lambda key: (len(encoded := key.encode("utf-8", "surrogatepass")), encoded))


def _sign(one: Any, other: Any) -> int:
    return bool(one > other) - bool(one < other)


def _first(results: Iterable[int]) -> int:
    return next(filter(None, results), 0)


def contains(one: Json, other: Json) -> bool:
    """PostgreSQL's `one @> other`."""
    outer, inner = one.value, other.value
    if isinstance(outer, list) and not isinstance(inner, list | dict):
        return any(_equal(member, inner) for member in outer)  # an array may contain a bare scalar, at the top alone
    return _contains(outer, inner)


def _contains(outer: Any, inner: Any) -> bool:
    if isinstance(outer, dict):
        return isinstance(inner, dict) and all(
            key in outer and _contains(outer[key], member) for key, member in inner.items()
        )
    if isinstance(outer, list):
        return isinstance(inner, list) and all(any(_contains(mine, theirs) for mine in outer) for theirs in inner)
    return _equal(outer, inner)


def _equal(one: Any, other: Any) -> bool:
    return compare_json(one, other, top=False) == 0


def has_key(document: Json, key: str) -> bool:
    """PostgreSQL's `document ? key`: a key of an object, a text in an array, or the text itself."""
    value = document.value
    if isinstance(value, list):
        return any(member == key for member in value if isinstance(member, str))
    return key in value if isinstance(value, dict) else bool(isinstance(value, str) and value == key)
