"""Errors as clients see them: GraphQL's error objects, each with a code, none with anything of the inside."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError

from tycostream.errors import known

PARSE_FAILED = known("GRAPHQL_PARSE_FAILED")
VALIDATION_FAILED = known("GRAPHQL_VALIDATION_FAILED")
LIMIT_EXCEEDED = known("LIMIT_EXCEEDED")
RATE_LIMITED = known("RATE_LIMITED")
BAD_USER_INPUT = known("BAD_USER_INPUT")
BAD_CURSOR = known("BAD_CURSOR")
OPERATION_RESOLUTION_FAILURE = known("OPERATION_RESOLUTION_FAILURE")
UNAVAILABLE = known("SOURCE_UNAVAILABLE")
SCHEMA_CHANGED = known("SCHEMA_CHANGED")
SOURCE_REMOVED = known("SOURCE_REMOVED")
INTERNAL = known("INTERNAL_SERVER_ERROR")

_LONGEST_MESSAGE = 1000


class RequestError(Exception):
    """The request can't be carried out: `errors` are GraphQL error objects, at least one."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("; ".join(error["message"] for error in errors))
        self.errors = errors


class UnavailableError(Exception):
    """A source can't answer now; the message is for the client."""


def refused(code: str, *errors: GraphQLError) -> RequestError:
    """A RequestError of these errors, each with the code."""
    return RequestError([formatted(error, code) for error in errors])


def formatted(error: GraphQLError, code: str) -> dict[str, Any]:
    """The error object: message, locations and path where known, `extensions.code`.

    The message may quote the client's text: it is cut where it is long, and made fit for UTF-8.
    """
    plain: dict[str, Any] = dict(error.formatted)
    plain["message"] = _presentable(error.message)
    plain["extensions"] = {"code": code, **(error.extensions or {})}
    return plain


def _presentable(message: str) -> str:
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "…"
    return message.encode("utf-8", "replace").decode()
