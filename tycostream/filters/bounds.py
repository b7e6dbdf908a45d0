"""What is filed under bounds: found by a value that lies within them, or by two values between which they lie.

Sorted lists with C's bisect: to add or remove one moves memory behind it, which for 100,000 takes some 20 µs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from operator import le, lt
from random import random
from typing import Any, Generic, TypeVar

from tycostream.filters.gaps import Gaps

T = TypeVar("T")

MANY = 100
"""Intervals of which it is worth to have a map."""


def place_of(operator: str) -> Callable[[list[Any], Any], int]:
    """Where a value falls among the operands of comparisons in rising order, so that those before it are passed: they
    hold if the operator is > or >=, and do not if it is < or <=."""
    return bisect_left if operator in (">", "<=") else bisect_right


class Bounds(Generic[T]):
    """What is filed under comparisons of one operator, one thing for each operand."""

    def __init__(self, operator: str) -> None:
        self._place = place_of(operator)
        self._rising = operator in (">", ">=")
        self._operands: list[Any] = []
        self._filed: dict[Any, T] = {}

    def __bool__(self) -> bool:
        return bool(self._operands)

    def get(self, operand: Any) -> T | None:
        """What is filed under the comparison with this operand."""
        return self._filed.get(operand)

    def put(self, operand: Any, filed: T) -> None:
        """File it there."""
        if operand not in self._filed:
            insort(self._operands, operand)
        self._filed[operand] = filed

    def drop(self, operand: Any) -> None:
        """File nothing there any more."""
        del self._filed[operand]
        del self._operands[bisect_left(self._operands, operand)]

    def holding(self, value: Any) -> Sequence[T]:
        """What is filed under comparisons that hold of a value."""
        operands = self._operands
        place = self._place(operands, value)
        if self._rising:
            return [self._filed[operand] for operand in operands[:place]] if place else ()
        return [self._filed[operand] for operand in operands[place:]] if place < len(operands) else ()

    def between(self, old: Any, new: Any) -> Sequence[T]:
        """What is filed under comparisons that hold of one of the values and not of the other."""
        operands = self._operands
        start, end = self._place(operands, old), self._place(operands, new)
        if start == end:
            return ()
        return [self._filed[operand] for operand in (operands[start:end] if start < end else operands[end:start])]


class _Node(Generic[T]):
    """An interval in a treap that is sorted by it. `reach` is the highest end in its part of the tree."""

    __slots__ = ("filed", "high", "left", "low", "priority", "reach", "right")

    def __init__(self, low: Any, high: Any, filed: T) -> None:
        self.low = low
        self.high = high
        self.filed = filed
        self.priority = random()  # noqa: S311  # it keeps the tree balanced, whatever the order of arrival
        self.left: _Node[T] | None = None
        self.right: _Node[T] | None = None
        self.reach = high

    def settle(self) -> _Node[T]:
        """Know again how far its part of the tree reaches."""
        reach = self.high
        for child in (self.left, self.right):
            if child is not None and child.reach > reach:
                reach = child.reach
        self.reach = reach
        return self

    def before(self, low: Any, high: Any) -> bool:
        return bool(self.low < low or (self.low == low and self.high < high))


class Intervals(Generic[T]):
    """What is filed under two bounds, one thing for each pair; none of them empty, all with the same two operators.

    Of those that have begun at a value, none goes on if the last of as many ends does not: a bisection and a look. Only
    where some do is the tree asked, which costs the logarithm for each that is found. Of many there is a map.
    """

    def __init__(self, low: str, high: str) -> None:
        self._begun, self._ended = place_of(low), place_of(high)
        self._is_begun = lt if low == ">" else le  # of a low and a value
        self._goes_on = lt if high == "<" else le  # of a value and a high
        self._lows: list[Any] = []
        self._highs: list[Any] = []
        self._root: _Node[T] | None = None
        self._last: list[_Node[T]] = []  # what was found last
        self._gaps: Gaps | None = None
        self._drawing = False  # the map is not whole, or another one is due
        self._changed = 0  # since the map was begun

    def __bool__(self) -> bool:
        return self._root is not None

    def get(self, bounds: tuple[Any, Any]) -> T | None:
        """What is filed under these bounds."""
        node = self._find(*bounds)
        return None if node is None else node.filed

    def put(self, bounds: tuple[Any, Any], filed: T) -> None:
        """File it there."""
        node = self._find(*bounds)
        if node is not None:
            node.filed = filed
            return
        low, high = bounds
        if self._gaps is not None and not self._gaps.cover(low, high):
            self._gaps = None
        insort(self._lows, low)
        insort(self._highs, high)
        self._root = _insert(self._root, _Node(low, high, filed))
        self._has_changed()

    def drop(self, bounds: tuple[Any, Any]) -> None:
        """File nothing there any more."""
        low, high = bounds
        del self._lows[bisect_left(self._lows, low)]
        del self._highs[bisect_left(self._highs, high)]
        self._root = _remove(self._root, low, high)
        self._has_changed()

    def _has_changed(self) -> None:
        self._last = []
        self._changed += 1
        self._drawing = self._drawing or self._map_is_due()

    def _map_is_due(self) -> bool:
        return bool(self._lows) and self._changed > max(MANY, len(self._lows) // 2)

    def holding(self, value: Any) -> Sequence[T]:
        """What is filed under bounds that a value is within."""
        gaps = self._gaps
        if gaps is not None and gaps.has(value):
            return ()
        count = self._begun(self._lows, value)
        goes_on = self._goes_on
        # What has ended had begun: so many have ended if, of all ends in order, that many have
        if not count or not goes_on(value, self._highs[count - 1]):
            if self._drawing:
                self._draw()
            return ()
        count -= self._ended(self._highs, value)
        is_begun = self._is_begun
        found = []
        if len(self._last) <= 2 * count:  # wide intervals are found again and again
            found = [node for node in self._last if is_begun(node.low, value) and goes_on(value, node.high)]
        if len(found) < count:
            found = self._last = self._search(value, count)
        return [node.filed for node in found]

    def _draw(self) -> None:
        """Begin a map, or a new one where much has changed, or draw some more of it."""
        if self._map_is_due():
            self._changed = 0
            try:
                self._gaps = Gaps(self._lows, self._highs)
            except (TypeError, ValueError, ArithmeticError):
                self._gaps = None
        self._drawing = self._gaps is not None and self._gaps.draw(self._lows, self._highs)

    def _search(self, value: Any, count: int) -> list[_Node[T]]:
        is_begun, goes_on = self._is_begun, self._goes_on
        found: list[_Node[T]] = []
        waiting = [self._root]
        while len(found) < count:
            node = waiting.pop()
            if node is None or not goes_on(value, node.reach):
                continue
            waiting.append(node.left)
            if is_begun(node.low, value):
                waiting.append(node.right)
                if goes_on(value, node.high):
                    found.append(node)
        return found

    def _find(self, low: Any, high: Any) -> _Node[T] | None:
        node = self._root
        while node is not None and not (node.low == low and node.high == high):
            node = node.right if node.before(low, high) else node.left
        return node


def _insert(node: _Node[T] | None, new: _Node[T]) -> _Node[T]:
    if node is None:
        return new
    if new.priority > node.priority:
        new.left, new.right = _split(node, new.low, new.high)
        return new.settle()
    if node.before(new.low, new.high):
        node.right = _insert(node.right, new)
    else:
        node.left = _insert(node.left, new)
    return node.settle()


def _split(node: _Node[T] | None, low: Any, high: Any) -> tuple[_Node[T] | None, _Node[T] | None]:
    """Those before an interval, and those behind it."""
    if node is None:
        return None, None
    if node.before(low, high):
        node.right, behind = _split(node.right, low, high)
        return node.settle(), behind
    before, node.left = _split(node.left, low, high)
    return before, node.settle()


def _join(left: _Node[T] | None, right: _Node[T] | None) -> _Node[T] | None:
    """All of two trees, of which one is before the other."""
    if left is None or right is None:
        return right if left is None else left
    if left.priority > right.priority:
        left.right = _join(left.right, right)
        return left.settle()
    right.left = _join(left, right.left)
    return right.settle()


def _remove(node: _Node[T] | None, low: Any, high: Any) -> _Node[T] | None:
    assert node is not None
    if node.low == low and node.high == high:
        return _join(node.left, node.right)
    if node.before(low, high):
        node.right = _remove(node.right, low, high)
    else:
        node.left = _remove(node.left, low, high)
    return node.settle()
