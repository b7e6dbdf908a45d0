"""Documents that are used no more are freed at once."""

from __future__ import annotations

import gc

from graphql import Token, build_schema

from tycostream.graphql.documents import Documents
from tycostream.graphql.limits import Limits


def test_a_document_that_is_forgotten_leaves_no_tokens() -> None:
    documents = Documents(build_schema("type Query { greeting: String }"), Limits())
    gc.collect()
    before = _tokens()
    documents.load("{ one: greeting two: greeting }", None)
    gc.collect()  # what validation leaves, which is young then
    gc.disable()
    try:
        assert _tokens() > before
        del documents
        assert _tokens() == before
    finally:
        gc.enable()


def _tokens() -> int:
    return sum(isinstance(one, Token) for one in gc.get_objects())
