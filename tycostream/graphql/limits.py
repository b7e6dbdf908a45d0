"""Limits on what a document may ask for, checked before anything recursive or quadratic looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    Lexer,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    Source,
    TokenKind,
)

from tycostream.graphql.errors import LIMIT_EXCEEDED, VALIDATION_FAILED, RequestError, refused
from tycostream.views.rules import MOST_RULES

_OPENING = {TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L}
_CLOSING = {TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R}
_NUMBERS = {TokenKind.INT, TokenKind.FLOAT}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one document may have.

    tokens: words and signs of its text. nesting: brackets of any kind within one another. depth: selection sets within
    one another, aliases and fields: of one operation, all counted through its fragments. roots: fields of the query
    itself, each of which may read a whole source. rules: of one calculated field, in one argument. digits: characters
    of a number (Python reads long ones in quadratic time). Validation costs about the square of the fields where all
    have the same response key.
    """

    tokens: int = 10_000
    nesting: int = 100
    depth: int = 50
    aliases: int = 100
    fields: int = 500
    digits: int = 400
    roots: int = 20
    rules: int = MOST_RULES


@dataclass(frozen=True, slots=True)
class _Size:
    depth: int
    aliases: int
    fields: int


def check_text(query: str, limits: Limits) -> int:
    """The number of tokens. Raises RequestError where a limit is exceeded, GraphQLSyntaxError for what is no token."""
    lexer = Lexer(Source(query))
    tokens = nesting = 0
    while (kind := (token := lexer.advance()).kind) is not TokenKind.EOF:
        token.prev = None  # no ring that the garbage collector would have to find
        tokens += 1
        if tokens > limits.tokens:
            raise _exceeded("tokens", f"more than {limits.tokens}", limits.tokens)
        if kind in _OPENING:
            nesting += 1
            if nesting > limits.nesting:
                raise _exceeded("nested brackets", f"more than {limits.nesting}", limits.nesting)
        elif kind in _CLOSING:
            nesting -= 1
        elif kind in _NUMBERS and token.end - token.start > limits.digits:
            raise _exceeded("digits in a number", str(token.end - token.start), limits.digits)
    return tokens


def check_document(document: DocumentNode, limits: Limits) -> None:
    """Raises RequestError where an operation or fragment exceeds a limit, and where fragments spread in a circle.

    Each fragment is measured once, in the order of their dependence: time is proportional to the document, however
    much its spreads multiply.
    """
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    spreads = {name: {spread for spread in _spreads(node) if spread in fragments} for name, node in fragments.items()}
    try:
        order = list(TopologicalSorter(spreads).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise refused(VALIDATION_FAILED, GraphQLError(f"Fragments must not spread in a circle: {circle}.")) from None
    sizes: dict[str, _Size] = {}
    for name in order:
        sizes[name] = _measure(fragments[name].selection_set, sizes)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            _check_size(_measure(node.selection_set, sizes), limits)


def check_roots(found: int, limits: Limits) -> None:
    """Raises RequestError where a query has too many fields of its own."""
    if found > limits.roots:
        raise _exceeded("fields of the query itself", str(found), limits.roots)


def _spreads(fragment: FragmentDefinitionNode) -> Iterator[str]:
    return (node.name.value for node, _ in _selections(fragment.selection_set) if isinstance(node, FragmentSpreadNode))


def _selections(selection_set: SelectionSetNode) -> Iterator[tuple[SelectionNode, int]]:
    """Every selection of the text below, with its depth; without recursion, fragments not followed."""
    pending = [(selection_set, 1)]
    while pending:
        selection_set, depth = pending.pop()
        for node in selection_set.selections:
            yield node, depth
            if isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set:
                pending.append((node.selection_set, depth + 1))


def _measure(selection_set: SelectionSetNode, sizes: dict[str, _Size]) -> _Size:
    deepest, aliases, fields = 1, 0, 0
    for node, depth in _selections(selection_set):
        deepest = max(deepest, depth)
        if isinstance(node, FieldNode):
            fields += 1
            aliases += node.alias is not None
        elif isinstance(node, FragmentSpreadNode) and (size := sizes.get(node.name.value)):
            deepest = max(deepest, depth + size.depth)
            aliases += size.aliases
            fields += size.fields
    return _Size(deepest, aliases, fields)


def _check_size(size: _Size, limits: Limits) -> None:
    if size.depth > limits.depth:
        raise _exceeded("levels of selections", str(size.depth), limits.depth)
    if size.aliases > limits.aliases:
        raise _exceeded("aliases", _number(size.aliases), limits.aliases)
    if size.fields > limits.fields:
        raise _exceeded("fields", _number(size.fields), limits.fields)


def _number(count: int) -> str:
    # Spreads that double each other make numbers of hundreds of digits.
    return str(count) if count < 10**9 else "more than a billion"


def _exceeded(what: str, found: str, allowed: int) -> RequestError:
    message = f"The document has too many {what}: found {found}, allowed are {allowed}."
    return refused(LIMIT_EXCEEDED, GraphQLError(message))
