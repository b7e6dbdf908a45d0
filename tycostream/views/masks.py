"""Which columns of a row have changed, as a bitmask, by generated code: comparing is most of what a change costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tycostream.model import Row

Mask = Callable[[Row, Row], int]


@lru_cache(maxsize=256)
def mask_of(width: int) -> Mask:
    """A function of two rows of so many columns: bit n is set where column n differs. Raises ValueError for rows of
    another width."""
    old, new = ("".join(f"{side}{column}, " for column in range(width)) for side in "ab")
    tests = "".join(f"    if a{column} != b{column}: mask |= {1 << column}\n" for column in range(width))
    namespace: dict[str, Any] = {}
    code = f"def mask_of(old, new):\n    {old}= old\n    {new}= new\n    mask = 0\n{tests}    return mask\n"
    exec(code, namespace)  # noqa: S102  # nothing but numbers of ours
    found: Mask = namespace.pop("mask_of")
    return found
