"""GraphQL over HTTP: what a request says and what is answered. It knows no web framework.

Rules: the GraphQL-over-HTTP draft (graphql/graphql-over-http): a response of type application/graphql-response+json
says by its status whether the request could be executed; one of type application/json has status 200 for whatever
was well-formed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tycostream.errors import known
from tycostream.graphql import Engine, RequestError, SubscriptionPlan
from tycostream.web.json_text import InvalidJsonError, dump, parse
from tycostream.web.media_types import media_type, preferred
from tycostream.web.protocol import Request

GRAPHQL_RESPONSE = "application/graphql-response+json"
JSON = "application/json"
EVENT_STREAM = "text/event-stream"
SUBSCRIPTIONS_NEED = (
    "subscriptions need a WebSocket: connect to /graphql with the subprotocol graphql-transport-ws or graphql-ws"
)


BAD_REQUEST = known("BAD_REQUEST")
SUBSCRIPTION_OVER_HTTP = known("SUBSCRIPTION_OVER_HTTP")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. `allow` lists the methods where the status is 405. `operation` is the kind of what was carried
    out, and `errors` are those in the body."""

    status: int
    content_type: str
    body: bytes
    allow: str | None = None
    operation: str | None = None
    errors: Sequence[Mapping[str, Any]] = ()


class HttpError(Exception):
    """The request is not understood."""

    def __init__(self, status: int, message: str, allow: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.allow = allow


def error_body(message: str, code: str) -> dict[str, Any]:
    """The one shape of every error that is answered over HTTP."""
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


async def answer_post(engine: Engine, content_type: str, accept: str, body: bytes) -> Answer:
    """Answer a POST."""
    return await _answer(engine, accept, lambda: request_of_body(content_type, body), mutations=True)


async def answer_get(engine: Engine, arguments: Mapping[str, Sequence[bytes]], accept: str) -> Answer:
    """Answer a GET with these query parameters: the values that each name is given."""
    return await _answer(engine, accept, lambda: request_of_arguments(arguments), mutations=False)


async def _answer(engine: Engine, accept: str, read: Callable[[], Request], *, mutations: bool) -> Answer:
    accepted = response_type(accept)
    content_type = accepted or JSON
    try:
        if accepted is None:
            hint = f"; {SUBSCRIPTIONS_NEED}" if EVENT_STREAM in accept.lower() else ""
            raise HttpError(406, f"answers are {GRAPHQL_RESPONSE} or {JSON}{hint}")
        request = read()
        plan = engine.prepare(request.query, request.operation_name, request.variables)
        if isinstance(plan, SubscriptionPlan):
            return _json(400, content_type, error_body(SUBSCRIPTIONS_NEED, SUBSCRIPTION_OVER_HTTP))
        if not mutations and plan.kind == "mutation":
            raise HttpError(405, "a mutation needs a POST", allow="POST")
        return _json(200, content_type, await engine.execute(plan), operation=plan.kind)
    except HttpError as error:
        return _json(error.status, content_type, error_body(str(error), BAD_REQUEST), error.allow)
    except RequestError as error:
        return _json(400 if content_type == GRAPHQL_RESPONSE else 200, content_type, {"errors": error.errors})


def _json(
    status: int, content_type: str, value: Mapping[str, Any], allow: str | None = None, operation: str | None = None
) -> Answer:
    return Answer(status, f"{content_type}; charset=utf-8", dump(value), allow, operation, value.get("errors", ()))


def response_type(accept: str) -> str | None:
    """The type to answer with for this Accept header; None where neither of ours is accepted."""
    return preferred(accept, (JSON, GRAPHQL_RESPONSE)) if accept.strip() else JSON


def request_of_body(content_type: str, body: bytes) -> Request:
    """The request in a POST's body. Raises HttpError."""
    media, parameters = media_type(content_type)
    if media != JSON:
        raise HttpError(415, f"the Content-Type must be {JSON}, {f'not {media!r}' if media else 'and it is missing'}")
    charset = parameters.get("charset", "utf-8")
    if charset.lower() not in ("utf-8", "utf8"):
        raise HttpError(415, f"the charset must be utf-8, not {charset!r}")
    try:
        value = parse(body.decode())
    except UnicodeDecodeError:
        raise HttpError(400, "the body is not UTF-8") from None
    except InvalidJsonError as error:
        raise HttpError(400, f"the body is not JSON: {error}") from None
    if isinstance(value, list):
        raise HttpError(400, "batches are not answered: send each operation in a request of its own")
    if not isinstance(value, dict):
        raise HttpError(400, "the body must be a JSON object with a 'query'")
    return _request(value)


def request_of_arguments(arguments: Mapping[str, Sequence[bytes]]) -> Request:
    """The request in an address. Raises HttpError."""
    value: dict[str, Any] = {}
    for name in ("query", "operationName", "variables", "extensions"):
        given = arguments.get(name, ())
        if len(given) > 1:
            raise HttpError(400, f"'{name}' is given {len(given)} times")
        if given:
            value[name] = _argument(name, given[0])
    return _request(value)


def _argument(name: str, given: bytes) -> Any:
    try:
        text = given.decode()
        return parse(text) if name in ("variables", "extensions") else text
    except UnicodeDecodeError:
        raise HttpError(400, f"'{name}' is not UTF-8") from None
    except InvalidJsonError as error:
        raise HttpError(400, f"'{name}' is not JSON: {error}") from None


def _request(value: Mapping[str, Any]) -> Request:
    query = value.get("query")
    if not isinstance(query, str):
        raise HttpError(400, "'query' must be a string")
    operation_name = value.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise HttpError(400, "'operationName' must be a string or null")
    for name in ("variables", "extensions"):
        if value.get(name) is not None and not isinstance(value[name], dict):
            raise HttpError(400, f"'{name}' must be an object or null")
    return Request(query, operation_name, value.get("variables"), value.get("extensions"))
