"""Media types as the headers Content-Type and Accept name them (RFC 9110, sections 8.3.1, 12.4.2 and 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# A list's items, where a separator within quotation marks is none
_ITEMS = {mark: re.compile(rf'(?:[^{mark}"]|"(?:[^"\\]|\\.)*"?)+') for mark in ",;"}
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """A media type and its parameters, all but quoted values in lower case; ("", {}) for an empty text."""
    name, *rest = _items(text, ";") or [""]
    parameters = {}
    for item in rest:
        key, _, value = (part.strip() for part in item.partition("="))
        parameters[key.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value.lower()
    return name.lower(), parameters


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The offered type that an Accept header prefers; None where it admits none of them.

    Of types that it likes as much: the one that it names rather than one that a wildcard admits, then the one that it
    names first, then the one that is offered first. A weight that is none admits nothing.
    """
    ranges = list(_ranges(accept))
    best, best_rank = None, (0.0, 0, 0, 0)
    for place, one in enumerate(offered):
        wildcards = {one: 3, f"{one.partition('/')[0]}/*": 2, "*/*": 1}
        matching = [(wildcards[name], weight, -at) for at, (name, weight) in enumerate(ranges) if name in wildcards]
        if not matching:
            continue
        specific, weight, at = max(matching)
        rank = (weight, specific, at, -place)
        if weight and rank > best_rank:
            best, best_rank = one, rank
    return best


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for item in _items(accept, ","):
        name, parameters = media_type(item)
        weight = parameters.get("q", "1")
        yield name, float(weight) if _WEIGHT.fullmatch(weight) else 0.0


def _items(text: str, mark: str) -> list[str]:
    return [item.strip() for item in _ITEMS[mark].findall(text)]
