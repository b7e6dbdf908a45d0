"""Documents are judged as graphql-core judges them, and leave next to nothing for the garbage collector."""

from __future__ import annotations

import gc

import graphql
import pytest
from graphql import DocumentNode, GraphQLSchema, build_schema, parse

from tycostream.graphql.validation import validate

SCHEMA = build_schema("""
type Query { trade(id: Int!, where: Where): Trade  trades(ids: [Int!]): [Trade!] }
type Subscription { trade(id: Int!): Trade  other: Int }
type Trade { id: Int! symbol: String near: Trade }
input Where { id: Int  any: [Where!] }
directive @shown(if: Boolean!) on FIELD
""")

DOCUMENTS = (
    "{ trade(id: 1) { id symbol } }",
    '"What it is for." query Named("Whose." $id: Int!) { trade(id: $id) { ...f } } fragment f on Trade { id }',
    "{ trade(id: 1) { missing } }",
    "{ trade { id } nothing }",
    "{ trade(id: 1) }",
    "{ trade(id: 1) { id { x } } }",
    '{ trade(id: "1", where: {id: 1.5, other: 2, any: [null]}) { id: symbol id } }',
    "query A { trades(ids: [1]) { id } } query A { trades { id } } { trades { id } }",
    "query ($a: Int, $a: String, $b: Missing, $c: Trade) { trade(id: $a, where: $d) { id } }",
    "query ($id: Int) { trade(id: $id) { id } }",
    "subscription { trade(id: 1) { id } other }",
    "fragment f on Trade { id ...g } fragment g on Int { x } fragment h on Nothing { y } { trade(id: 1) { ...f ...no } }",
    "{ trades @shown(if: 1, more: 2) @no { id @shown } }",
    "mutation { x } type Query { a: Int }",
    "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }",
)


@pytest.mark.parametrize("text", DOCUMENTS)
def test_what_is_wrong_is_what_the_library_finds(text: str) -> None:
    document = parse(text)
    assert found(SCHEMA, document) == [error.formatted for error in graphql.validate(SCHEMA, document)]


def found(schema: GraphQLSchema, document: DocumentNode) -> list[object]:
    return [error.formatted for error in validate(schema, document, 100)]


def test_most_of_them_are_wrong() -> None:
    assert sum(bool(validate(SCHEMA, parse(text), 100)) for text in DOCUMENTS) == len(DOCUMENTS) - 2


def test_more_errors_than_are_wanted_are_counted_no_further() -> None:
    document = parse("{" + " ".join(f"no{number}" for number in range(30)) + "}")
    assert len(validate(SCHEMA, document, 30)) == 30
    *errors, last = validate(SCHEMA, document, 20)
    assert len(errors) == 20
    assert last.message == "There are more errors than these."


def test_hardly_anything_is_left_for_the_garbage_collector() -> None:
    document = parse(DOCUMENTS[0])
    gc.collect()
    gc.disable()
    try:
        assert not validate(SCHEMA, document, 20)
        assert gc.collect() < 60
        assert not graphql.validate(SCHEMA, document)
        assert gc.collect() > 600
    finally:
        gc.enable()
