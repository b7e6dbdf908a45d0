"""Documents: the text of a request becomes one operation that is known to be valid, once for each text."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
)

from tycostream.graphql.errors import OPERATION_RESOLUTION_FAILURE, PARSE_FAILED, VALIDATION_FAILED, refused
from tycostream.graphql.limits import Limits, check_document, check_text
from tycostream.graphql.validation import validate

_CACHED_TOKENS = 100_000
_MOST_ERRORS = 20


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Document:
    """A valid document and the operation of it that is to be carried out. `tokens` is the length of its text."""

    tree: DocumentNode
    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    tokens: int


class Documents:
    """The documents used last, by text and operation name. A syntax tree is large: the cache is bounded by tokens."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._recent: OrderedDict[tuple[str, str | None], Document] = OrderedDict()
        self._tokens = 0

    def load(self, query: str, operation_name: str | None) -> Document:
        """The valid operation of that name, or the only one. Raises RequestError."""
        name = (query, operation_name)
        document = self._recent.get(name)
        if document is not None:
            self._recent.move_to_end(name)
            return document
        document = self._recent[name] = self._read(query, operation_name)
        self._tokens += document.tokens
        while self._tokens > _CACHED_TOKENS:
            self._tokens -= self._recent.popitem(last=False)[1].tokens
        return document

    def _read(self, query: str, operation_name: str | None) -> Document:
        try:
            tokens = check_text(query, self._limits)
            tree = parse(query)
        except GraphQLError as error:
            raise refused(PARSE_FAILED, error) from None
        check_document(tree, self._limits)
        if errors := validate(self._schema, tree, _MOST_ERRORS):
            raise refused(VALIDATION_FAILED, *errors)
        _untie(tree)
        fragments = {node.name.value: node for node in tree.definitions if isinstance(node, FragmentDefinitionNode)}
        return Document(tree, _choose(tree, operation_name), fragments, tokens)


def _untie(tree: DocumentNode) -> None:
    """Leave no rings of tokens, each of which knows the one before and behind it: a document that is forgotten is to be
    freed at once, and not to wait for the garbage collector."""
    token = None if tree.loc is None else tree.loc.start_token
    while token is not None:
        token.prev, token = None, token.next


def _choose(tree: DocumentNode, name: str | None) -> OperationDefinitionNode:
    operations = [node for node in tree.definitions if isinstance(node, OperationDefinitionNode)]
    if not name and len(operations) == 1:
        return operations[0]
    for operation in operations:
        if name and operation.name and operation.name.value == name:
            return operation
    names = ", ".join(operation.name.value for operation in operations if operation.name)
    if not operations:
        message = "The document has no operation."
    elif name:
        message = f'The document has no operation named "{name}".' + (f" It has: {names}." if names else "")
    else:
        message = f"The document has several operations: operationName must be one of {names}."
    raise refused(OPERATION_RESOLUTION_FAILURE, GraphQLError(message))
