"""Every error code: what it means, whether to try again, and where it appears. The one table: modules take their codes
from here, docs/errors.md is written from it, and a test holds all three together. It imports nothing.

A code keeps its meaning for ever. Close codes of WebSockets are listed by their names in `web/close_codes.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Retry(enum.Enum):
    """Whether the same again can help."""

    NEVER = "no"
    """Not before the request, the client or the configuration has been changed."""
    LATER = "later"
    """After a while; the longer, the more often it failed."""
    BACK = "at once"
    """Connect again and subscribe again, with a short random wait."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One code, and where it appears. `graphql`: in `extensions.code` of GraphQL errors; `http`: in the body of HTTP
    answers of these statuses; `close`: as the code of a WebSocket's close frame; `log`: the logger that writes it;
    `exit`: as the process's exit code."""

    code: str
    meaning: str
    retry: Retry
    graphql: bool = False
    http: tuple[int, ...] = ()
    close: int | None = None
    log: str = ""
    exit: int | None = None


_NEVER, _LATER, _BACK = Retry.NEVER, Retry.LATER, Retry.BACK

GROUPS: dict[str, tuple[Failure, ...]] = {
    "Requests": (
        Failure("GRAPHQL_PARSE_FAILED", "The document is not GraphQL.", _NEVER, graphql=True, http=(200, 400)),
        Failure(
            "GRAPHQL_VALIDATION_FAILED",
            "The document does not fit the schema: a field, argument or type that is not there.",
            _NEVER,
            graphql=True,
            http=(200, 400),
        ),
        Failure(
            "OPERATION_RESOLUTION_FAILURE",
            "The document has no operation, or several and `operationName` is none of them.",
            _NEVER,
            graphql=True,
            http=(200, 400),
        ),
        Failure(
            "BAD_USER_INPUT",
            "A variable, filter, order, number, rule or name of a source can't be what was given.",
            _NEVER,
            graphql=True,
            http=(200, 400),
        ),
        Failure(
            "LIMIT_EXCEEDED",
            "The document, its rules, or the operations of one connection are more than allowed (`MAX_...`).",
            _NEVER,
            graphql=True,
            http=(200, 400),
        ),
        Failure(
            "RATE_LIMITED",
            "The connection starts operations faster than `OPERATIONS_PER_SECOND` and `OPERATIONS_BURST` allow.",
            _LATER,
            graphql=True,
        ),
        Failure(
            "SUBSCRIPTION_OVER_HTTP", "A subscription over plain HTTP: it needs a WebSocket.", _NEVER, True, (400,)
        ),
        Failure(
            "BAD_CURSOR", "`resume_from` is no cursor of this source's updates.", _NEVER, graphql=True, http=(200, 400)
        ),
        Failure(
            "SCHEMA_CHANGED",
            "The subscription's source is not what it was: the schema file has changed.",
            _BACK,
            graphql=True,
        ),
        Failure(
            "SOURCE_REMOVED", "The schema file does not have the subscription's source any more.", _NEVER, graphql=True
        ),
        Failure(
            "BAD_REQUEST",
            "The HTTP request is not understood, or the WebSocket message is none of the protocol's.",
            _NEVER,
            graphql=True,
            http=(400, 405, 406, 415),
            close=4400,
        ),
        Failure("NOT_FOUND", "There is nothing at this address.", _NEVER, http=(404,)),
        Failure("METHOD_NOT_ALLOWED", "This address does not answer this HTTP method.", _NEVER, http=(405,)),
        Failure(
            "FORBIDDEN",
            "This address answers this machine alone (`DEBUG_ACCESS`).",
            _NEVER,
            http=(403,),
        ),
        Failure("PAYLOAD_TOO_LARGE", "The body has more than `MAX_MESSAGE_BYTES`.", _NEVER, http=(413,)),
        Failure("HEADERS_TOO_LARGE", "The address and headers have more than 64 KiB.", _NEVER, http=(431,)),
        Failure(
            "HANDSHAKE_REFUSED",
            "The request for a WebSocket is not as RFC 6455 has it, or its origin may not connect (`ALLOWED_ORIGINS`).",
            _NEVER,
            http=(400, 403, 426),
        ),
    ),
    "Sources": (
        Failure(
            "SOURCE_UNAVAILABLE",
            "The source has no rows to serve now: its database is out of reach, or somebody has to mend something. The "
            "message says which; `source_status` tells when it is over.",
            _LATER,
            graphql=True,
            http=(200,),
            log="tycostream.source",
        ),
        Failure(
            "SLOT_LOST",
            "The replication slot (`REPLICATION_SLOT`) could not be used any more and was made anew: sources read new "
            "snapshots, and cursors from before lead to one.",
            _NEVER,
            log="tycostream.postgres",
        ),
    ),
    "Triggers": (
        Failure("BAD_TRIGGER_NAME", "A name is empty, too long, or holds control characters.", _NEVER, True, (200,)),
        Failure("TRIGGER_EXISTS", "The source has a trigger of that name.", _NEVER, True, (200,)),
        Failure("TRIGGER_NOT_FOUND", "The source has no trigger of that name.", _NEVER, True, (200,)),
        Failure("TOO_MANY_TRIGGERS", "There are `MAX_TRIGGERS` triggers already: delete some.", _NEVER, True, (200,)),
        Failure("BAD_WEBHOOK_URL", "The webhook is no URL, or may not be called.", _NEVER, True, (200,)),
        Failure("EMPTY_FIRE", "`fire` is always true.", _NEVER, True, (200,)),
        Failure("UNKNOWN_FIELD", "`fields` names what is no column of the source.", _NEVER, True, (200,)),
        Failure("UNAVAILABLE", "The service is being stopped.", _BACK, True, (200,)),
    ),
    "Connections": (
        Failure(
            "NORMAL",
            "A client of the older protocol said `connection_terminate`, or one had no operation for `IDLE_SECONDS`.",
            _NEVER,
            close=1000,
        ),
        Failure("GOING_AWAY", "The service is being stopped.", _BACK, close=1001),
        Failure(
            "PROTOCOL_ERROR",
            "A frame that WebSockets forbid: not masked, reserved bits, a control frame in parts, a false close code.",
            _NEVER,
            close=1002,
        ),
        Failure(
            "POLICY_VIOLATION",
            "The client went on starting operations although they were refused with `RATE_LIMITED`.",
            _NEVER,
            close=1008,
            log="tycostream.connection",
        ),
        Failure("MESSAGE_TOO_BIG", "A message larger than `MAX_MESSAGE_BYTES`.", _NEVER, close=1009),
        Failure(
            "SERVICE_RESTART", "The service is being restarted, or an error ended this connection.", _BACK, close=1012
        ),
        Failure(
            "TRY_AGAIN_LATER",
            "The client is too slow: more than `OUTBOX_MAX_ROWS` merged changes wait, or more than `OUTBOX_ROWS` for a "
            "subscription of `DISCONNECT`, answers are not read, or most of `MAX_TOTAL_PENDING_BYTES` waits for it.",
            _BACK,
            close=1013,
            log="tycostream.connection",
        ),
        Failure(
            "UNAUTHORIZED",
            "An operation before the acknowledgement. The older protocol answers with an error of this code instead.",
            _NEVER,
            graphql=True,
            close=4401,
        ),
        Failure("SUBPROTOCOL_NOT_ACCEPTABLE", "The client offers no protocol that is spoken here.", _NEVER, close=4406),
        Failure("INITIALISATION_TIMEOUT", "No `connection_init` within `INIT_TIMEOUT_SECONDS`.", _BACK, close=4408),
        Failure("SUBSCRIBER_EXISTS", "The operation's id is in use.", _NEVER, close=4409),
        Failure("TOO_MANY_INITIALISATIONS", "A second `connection_init`.", _NEVER, close=4429),
        Failure(
            "TOO_MANY_CONNECTIONS",
            "There are `MAX_CONNECTIONS` clients already, or `MAX_CONNECTIONS_PER_ADDRESS` of the client's address.",
            _LATER,
            http=(429, 503),
        ),
    ),
    "The service": (
        Failure(
            "INTERNAL_SERVER_ERROR",
            "A mistake of tycostream's; what it was is in the log alone.",
            _LATER,
            graphql=True,
            http=(200, 500),
            log="tycostream.graphql.queries",
        ),
        Failure(
            "ACTOR_FAILED",
            "An error ended an actor. It is started again, or, for a connection, its client is closed with 1012.",
            _BACK,
            log="tycostream.supervisor",
        ),
        Failure(
            "ACTOR_GIVEN_UP",
            "An actor failed ten times within a minute and is not started again. `/debug/actors` shows it; a source "
            "is FAILED.",
            _NEVER,
            log="tycostream.supervisor",
        ),
        Failure(
            "WORKER_ENDED",
            "A worker process has ended by itself. It is started again, and its clients come back to one of the "
            "others; `/health` is `degraded` meanwhile.",
            _BACK,
            log="tycostream.worker",
        ),
        Failure(
            "INGEST_LOST",
            "The process that follows the database is gone, and so its workers end: start the service again.",
            _BACK,
            log="tycostream",
        ),
        Failure("START_FAILED", "The service could not start; the log says why.", _LATER, log="tycostream", exit=1),
        Failure(
            "CONFIGURATION_INVALID", "The settings or the schema file have mistakes: all are listed.", _NEVER, exit=2
        ),
        Failure(
            "SUPERVISOR_FAILED",
            "The actor that watches all others failed: nothing would be mended any more, so the process ends, to be "
            "started again from outside.",
            _BACK,
            log="tycostream",
            exit=70,
        ),
    ),
}
"""Every failure, in the order of the documentation."""

FAILURES: dict[str, Failure] = {failure.code: failure for group in GROUPS.values() for failure in group}


def known(code: str) -> str:
    """The code, which is in the table. Raises KeyError for one that is not."""
    return FAILURES[code].code
