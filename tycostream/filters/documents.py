"""JSON and array values that compare as PostgreSQL compares them, and JSON's containment.

jsonb's order (PostgreSQL documentation, "jsonb Indexing"; src/backend/utils/adt/jsonb_util.c, compareJsonbContainers):
Object > Array > Boolean > Number > String > null; of two objects or arrays the one with more members is greater; then
members one by one, an object's keys sorted by length, then bytes. An empty array at the top is less than any scalar
there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

MOST_NESTING = 500


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
            self._hash = hash(_frozen(self.value))
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
    """A client's JSON text."""
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not JSON text, such as "{{\\"a\\": 1}}"')
    if _nesting(value) > MOST_NESTING:
        raise ValueError(f"JSON may be nested {MOST_NESTING} levels deep")
    try:
        document = read_json(value)
    except ValueError as error:
        raise ValueError(f"{value[:40]!r} is not JSON: {error}") from None
    if "\\u0000" in value and _has_nul(document.value):
        raise ValueError("JSON text can't hold the character NUL")
    try:
        _frozen(document.value)
        json.dumps(document.value, default=str, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("JSON text can't hold half of a surrogate pair") from None
    return document


def _number(text: str) -> Decimal:
    return Decimal(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_LOADER = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_no_constant)


def _nesting(text: str) -> int:
    deepest = depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(member) for key, member in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _frozen(member)) for key, member in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return (value.__class__, value)


def _rank(value: Any) -> int:
    if value is None:
        return 0
    for rank, kind in enumerate((str, Decimal, bool, list, dict), start=1):
        if value.__class__ is kind:
            return rank
    raise TypeError(value.__class__)


def compare_json(one: Any, other: Any, *, top: bool = True) -> int:
    """Less than, equal to or greater than 0, as one is less than, equal to or greater than the other."""
    rank, other_rank = _rank(one), _rank(other)
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
    return _rank(one) == _rank(other) and compare_json(one, other, top=False) == 0


def has_key(document: Json, key: str) -> bool:
    """PostgreSQL's `document ? key`: a key of an object, a text in an array, or the text itself."""
    value = document.value
    if isinstance(value, list):
        return any(member == key for member in value if isinstance(member, str))
    return key in value if isinstance(value, dict) else bool(isinstance(value, str) and value == key)


# Arrays


@functools.total_ordering
class Array:
    """An array of texts: compared element by element, NULL above all, then by length and shape (array_cmp)."""

    __slots__ = ("_key",)

    def __init__(self, elements: list[str | None], shape: tuple[int, ...]) -> None:
        ordered = tuple((element is None, element or "") for element in elements)
        self._key = (ordered, len(shape), shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self._key == other._key

    def __lt__(self, other: Array) -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


def read_array(text: str) -> Array:
    """PostgreSQL's text of an array. Raises ValueError."""
    body = text
    if body.startswith("["):  # lower bounds other than 1
        body = body.partition("=")[2]
    elements, shape, position = _read_level(body, 0)
    if body[position:].strip():
        raise ValueError("something follows the array")
    return Array(elements, shape)


def array_operand(value: object) -> Array:
    """A client's array, as PostgreSQL writes it."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"""{value!r} is not an array, such as "{{a,b}}" """.rstrip())
    try:
        value.encode()
        return read_array(value.strip())
    except (ValueError, IndexError, RecursionError):
        raise ValueError(f"""{value[:40]!r} is not an array, such as "{{a,b}}" or '{{"a b",NULL}}'""") from None


def _read_level(text: str, position: int) -> tuple[list[str | None], tuple[int, ...], int]:
    """The elements of an array that starts here, its shape, and where it ends."""
    if text[position : position + 1] != "{":
        raise ValueError("an array starts with a brace")
    position = _skip(text, position + 1)
    elements: list[str | None] = []
    shapes: set[tuple[int, ...]] = set()
    count = 0
    if text[position] == "}":
        return [], (), position + 1
    while True:
        position = _skip(text, position)
        if text[position] == "{":
            inner, shape, position = _read_level(text, position)
            elements += inner
            shapes.add(shape)
        else:
            element, position = _read_element(text, position)
            elements.append(element)
            shapes.add(())
        count += 1
        if len(shapes) > 1:
            raise ValueError("parts of different shapes")
        position = _skip(text, position)
        if text[position] == "}":
            return elements, (count, *shapes.pop()), position + 1
        if text[position] != ",":
            raise ValueError("elements are separated by commas")
        position += 1


def _read_element(text: str, position: int) -> tuple[str | None, int]:
    quoted = text[position] == '"'
    letters: list[str] = []
    escaped = False
    position += quoted
    while True:
        letter = text[position]
        if letter == "\\":
            letters.append(text[position + 1])
            escaped = True
            position += 2
            continue
        if quoted and letter == '"':
            return "".join(letters), position + 1
        if not quoted and letter in '{}"':
            if letter != "}":
                raise ValueError("a brace or quote within an element")
            break
        if not quoted and letter == ",":
            break
        letters.append(letter)
        position += 1
    element = "".join(letters)
    if not escaped:
        element = element.rstrip()
    if not element:
        raise ValueError("an empty element")
    return (None if element.upper() == "NULL" and not escaped else element), position


def _skip(text: str, position: int) -> int:
    while text[position].isspace():
        position += 1
    return position
