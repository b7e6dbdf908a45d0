"""Validation by graphql-core's rules, which leaves nothing for the garbage collector.

`graphql.validate` does the same, but each of its thirty visitors knows its own methods by the kind of node: rings of
1,000 objects for a short document. Where clients each bring a document of their own, the collector would stop the loop
for 3 ms for every twenty of them; so it takes 0.1 ms.
"""

from __future__ import annotations

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    ParallelVisitor,
    TypeInfo,
    TypeInfoVisitor,
    ValidationContext,
    specified_rules,
    visit,
)
from graphql.language.ast import QUERY_DOCUMENT_KEYS

_KEYS = {kind: tuple(key for key in keys if key != "description") for kind, keys in QUERY_DOCUMENT_KEYS.items()}
"""Descriptions have no bearing on it (GraphQL specification, "Descriptions")."""


class _EnoughError(Exception):
    """More errors would tell nobody anything."""


def validate(schema: GraphQLSchema, document: DocumentNode, most: int) -> list[GraphQLError]:
    """What is wrong with a document: so many errors at most, and that there are more. Its depth must be known to be
    harmless, also through its fragments: see `limits.check_document`."""
    errors: list[GraphQLError] = []

    def add(error: GraphQLError) -> None:
        if len(errors) >= most:
            raise _EnoughError
        errors.append(error)

    types = TypeInfo(schema)
    context = ValidationContext(schema, document, types, add)
    rules = [rule(context) for rule in specified_rules]
    together = ParallelVisitor(rules)
    typed = TypeInfoVisitor(types, together)
    try:
        visit(document, typed, _KEYS)
    except _EnoughError:
        errors.append(GraphQLError("There are more errors than these."))
    finally:
        for visitor in (typed, together, *rules):
            visitor.enter_leave_map.clear()
    return errors
