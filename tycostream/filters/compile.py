"""Turns a tree of conditions into a function of rows, by generated code: one expression a filter.

The code holds column positions and names of constants only; every value of a client is a constant in the function's
namespace. Code is compiled once for each shape of filter. Where many filters of a shape have to be asked, one function
asks them all, each with its constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

Sieve = Callable[[Row, Iterable[tuple[Any, ...]]], list[Any]]
"""Of a row and of (item, constant, ...) for each condition of a shape, the items of those that are true."""


def compile_predicate(source: Source, node: Node) -> Predicate:
    """A function that says of a row whether the condition is true; unknown is not true. It never raises."""
    writer = _Writer(source)
    code = _code(f"lambda row: {writer.write(node)}")
    constants = {f"c{number}": constant for number, constant in enumerate(writer.constants)}
    predicate: Predicate = eval(code, writer.namespace | constants)  # noqa: S307  # our own code, no client's text
    return predicate


def shape_of(source: Source, node: Node) -> tuple[str, tuple[Any, ...]]:
    """The condition's shape, and its constants. Conditions of one shape differ in constants alone: see `sieve_of`."""
    writer = _Writer(source, once=True)
    expression = writer.write(node)
    values = "".join(f" for {name} in ({value},)" for name, value in writer.values.items())
    names = ", ".join(["item", *(f"c{number}" for number in range(len(writer.constants)))])
    return f"lambda row, filed: [item{values} for ({names},) in filed if {expression}]", tuple(writer.constants)


def sieve_of(source: Source, shape: str) -> Sieve:
    """A function that asks any number of conditions of one shape. It never raises."""
    readers = {f"read{index}": remembering_reader(domain_of(column)) for index, column in enumerate(source.columns)}
    sieve: Sieve = eval(_code(shape), {"__builtins__": {}, **readers})  # noqa: S307  # our own code, no client's text
    return sieve


@lru_cache(maxsize=1024)
def _code(text: str) -> CodeType:
    return compile(text, "<filter>", "eval")


@lru_cache(maxsize=1024)
def reader(domain: Domain) -> Callable[[str | None], Any]:
    """Reads a row's value; None where it is NULL, or can't be read."""
    read = domain.read

    def safe(text: str | None) -> Any:
        if text is None:
            return None
        try:
            return read(text)
        except (ValueError, ArithmeticError):
            return None

    return safe


@lru_cache(maxsize=1024)
def remembering_reader(domain: Domain) -> Callable[[str | None], Any]:
    """A reader for those who ask for the same few values of a row, one after the other: the last ones are remembered.
    For who reads each value once that costs more than most readings."""
    return lru_cache(maxsize=16)(reader(domain))


class _Writer:
    """Writes the expression and collects its constants, which it names c0, c1, and so on.

    `once`: the expression finds the row's `values` under names, for many conditions to share; otherwise it takes from
    the row what it comes to, and is a function's in the `namespace`.
    """

    def __init__(self, source: Source, *, once: bool = False) -> None:
        self._source = source
        self._once = once
        self.values: dict[str, str] = {}
        self.constants: list[Any] = []
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
            value, name = self._value(node.column)
            return f"({value} is not None and {name} {node.operator} {self._operand(node.value, name)})"
        return self._write_test(node)

    def _write_one_of(self, node: OneOf) -> str:
        canonical = domain_of(self._source.columns[node.column]).canonical
        negated = "not " if node.negated else ""
        if canonical is not None:
            value, name = self._text(node.column)
            if len(node.values) == 1:
                (text,) = map(canonical, node.values)
                return f"({value} is not None and {name} {'!=' if node.negated else '=='} {self._constant(text)})"
            texts = self._constant(frozenset(map(canonical, node.values)))
            return f"({value} is not None and {name} {negated}in {texts})"
        value, name = self._value(node.column)
        moments = [one for one in node.values if isinstance(one, Moment)]
        plain = self._constant(frozenset(node.values.difference(moments)))
        equal = " or ".join([f"{name} in {plain}", *(f"{name} == {self._operand(one, name)}" for one in moments)])
        return f"({value} is not None and {negated}({equal}))"

    def _write_test(self, node: Test) -> str:
        if node.operator in PATTERNS:
            test = self._constant(PATTERNS[node.operator](node.operand))
            value, name = self._text(node.column)
            call = f"{test}({name})"
        else:
            test = self._constant(_JSON_TESTS[node.operator])
            value, name = self._value(node.column)
            call = f"{test}({name}, {self._constant(node.operand)})"
        return f"({value} is not None and {'not ' if node.negated else ''}{call})"

    def _value(self, column: int) -> tuple[str, str]:
        """The row's value at its first mention, and from then on."""
        name = f"read{column}"
        self.namespace[name] = remembering_reader(domain_of(self._source.columns[column]))
        return self._named(f"v{column}", f"{name}(row[{column}])")

    def _text(self, column: int) -> tuple[str, str]:
        return self._named(f"t{column}", f"row[{column}]")

    def _named(self, name: str, value: str) -> tuple[str, str]:
        if not self._once:
            return f"(v := {value})", "v"
        self.values[name] = value
        return name, name

    def _operand(self, value: Any, against: str) -> str:
        name = self._constant(value)
        return f"{name}.against({against})" if isinstance(value, Moment) else name

    def _constant(self, value: Any) -> str:
        self.constants.append(value)
        return f"c{len(self.constants) - 1}"


def _cost(node: Node) -> tuple[int, int, str, bool]:
    order = (IsNull, OneOf, Comparison, Test, AllOf, AnyOf)
    place = order.index(type(node)) if type(node) in order else 0
    return place, getattr(node, "column", -1), getattr(node, "operator", ""), getattr(node, "negated", False)


_JSON_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "_contains": documents.contains,
    "_contained_in": lambda value, outer: documents.contains(outer, value),
    "_has_key": documents.has_key,
    "_has_keys_any": lambda value, keys: any(documents.has_key(value, key) for key in keys),
    "_has_keys_all": lambda value, keys: all(documents.has_key(value, key) for key in keys),
}
