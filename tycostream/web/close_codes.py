"""Every code with which a WebSocket is closed, and what the client is told. Their names are the codes of
tycostream/errors.py, which says when each is used."""

from __future__ import annotations

import enum
from typing import Self


class CloseCode(enum.IntEnum):
    """A close code and its reason (at most 123 bytes of UTF-8, RFC 6455 section 5.5).

    The 44xx are graphql-transport-ws's (enisdenjo/graphql-ws PROTOCOL.md). Its reference client comes back after 1000,
    1001, 1012, 1013, 4403 and 4408, and gives up after 1002, 1008, 1009, 1011, 4400 and 4500 (src/client.ts). The older
    graphql-ws's does not look at the code: one that is to reconnect always does (subscriptions-transport-ws
    src/client.ts).
    """

    reason: str

    def __new__(cls, code: int, reason: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    NORMAL = 1000, "the client terminated the connection"
    GOING_AWAY = 1001, "the server is being stopped"
    PROTOCOL_ERROR = 1002, "not a frame that a client may send"
    POLICY_VIOLATION = 1008, "too many operations"
    MESSAGE_TOO_BIG = 1009, "message too big"
    SERVICE_RESTART = 1012, "an error ended this connection; please come back"
    TRY_AGAIN_LATER = 1013, "too slow"
    BAD_REQUEST = 4400, "Bad request"
    UNAUTHORIZED = 4401, "Unauthorized"
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406, "Subprotocol not acceptable"
    INITIALISATION_TIMEOUT = 4408, "Connection initialisation timeout"
    SUBSCRIBER_EXISTS = 4409, "Subscriber for this id already exists"
    TOO_MANY_INITIALISATIONS = 4429, "Too many initialisation requests"


def fit_reason(reason: str) -> str:
    """The reason, cut where it would not fit a close frame."""
    return reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")
