"""Turns a tree of conditions into a function of rows, by generated code: one expression a filter.

The code holds column positions and names of constants only; every value of a client is a constant in the function's
namespace. Code is compiled once for each shape of filter.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any

from tycostream.filters import documents
from tycostream.filters.moments import Moment
from tycostream.filters.parse import PATTERNS
from tycostream.filters.tree import AllOf, Always, AnyOf, Comparison, IsNull, Node, OneOf, Test
from tycostream.filters.values import Domain, domain_of
from tycostream.model import Row, Source

Predicate = Callable[[Row], bool]


def compile_predicate(source: Source, node: Node) -> Predicate:
    """A function that says of a row whether the condition is true; unknown is not true. It never raises."""
    writer = _Writer(source)
    expression = writer.write(node)
    predicate: Predicate = eval(_code(expression), writer.namespace)  # noqa: S307  # our own code, no client's text
    return predicate


@lru_cache(maxsize=1024)
def _code(expression: str) -> CodeType:
    return compile(f"lambda row: {expression}", "<filter>", "eval")


@lru_cache(maxsize=1024)
def reader(domain: Domain) -> Callable[[str | None], Any]:
    """Reads a row's value; None where it is NULL, or can't be read.

    All filters of a source ask for the same few values of a row, one after the other: the last ones are remembered.
    """
    read = domain.read

    @lru_cache(maxsize=16)
    def safe(text: str | None) -> Any:
        if text is None:
            return None
        try:
            return read(text)
        except (ValueError, ArithmeticError):
            return None

    return safe


class _Writer:
    """Writes the expression and collects its constants."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.namespace: dict[str, Any] = {"__builtins__": {}}

    def write(self, node: Node) -> str:
        if isinstance(node, Always):
            return str(node.value)
        if isinstance(node, AllOf | AnyOf):
            # In a fixed order, cheap conditions first, so that filters of one shape share their code
            members = sorted(node.conditions, key=_cost)
            joint = " and " if isinstance(node, AllOf) else " or "
            return "(" + joint.join(self.write(member) for member in members) + ")"
        if isinstance(node, IsNull):
            return f"(row[{node.column}] is {'' if node.wanted else 'not '}None)"
        if isinstance(node, OneOf):
            return self._write_one_of(node)
        if isinstance(node, Comparison):
            value = self._value(node.column)
            return f"({value} is not None and v {node.operator} {self._operand(node.value)})"
        return self._write_test(node)

    def _write_one_of(self, node: OneOf) -> str:
        canonical = domain_of(self._source.columns[node.column]).canonical
        negated = "not " if node.negated else ""
        if canonical is not None:
            value, name, known = f"(v := row[{node.column}])", "v", {canonical(one) for one in node.values}
            return f"({value} is not None and {name} {negated}in {self._constant(frozenset(known))})"
        value = self._value(node.column)
        moments = [one for one in node.values if isinstance(one, Moment)]
        plain = self._constant(frozenset(node.values.difference(moments)))
        equal = " or ".join([f"v in {plain}", *(f"v == {self._operand(one)}" for one in moments)])
        return f"({value} is not None and {negated}({equal}))"

    def _write_test(self, node: Test) -> str:
        if node.operator in PATTERNS:
            test = self._constant(PATTERNS[node.operator](node.operand))
            value = f"(v := row[{node.column}])"
            call = f"{test}(v)"
        else:
            test = self._constant(_JSON_TESTS[node.operator])
            value = self._value(node.column)
            call = f"{test}(v, {self._constant(node.operand)})"
        return f"({value} is not None and {'not ' if node.negated else ''}{call})"

    def _value(self, column: int) -> str:
        name = f"read{column}"
        self.namespace[name] = reader(domain_of(self._source.columns[column]))
        return f"(v := {name}(row[{column}]))"

    def _operand(self, value: Any) -> str:
        name = self._constant(value)
        return f"{name}.against(v)" if isinstance(value, Moment) else name

    def _constant(self, value: Any) -> str:
        name = f"c{len(self.namespace)}"
        self.namespace[name] = value
        return name


def _cost(node: Node) -> tuple[int, str]:
    order = (IsNull, OneOf, Comparison, Test, AllOf, AnyOf)
    return order.index(type(node)) if type(node) in order else 0, repr(getattr(node, "column", ""))


_JSON_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "_contains": documents.contains,
    "_contained_in": lambda value, outer: documents.contains(outer, value),
    "_has_key": documents.has_key,
    "_has_keys_any": lambda value, keys: any(documents.has_key(value, key) for key in keys),
    "_has_keys_all": lambda value, keys: all(documents.has_key(value, key) for key in keys),
}
