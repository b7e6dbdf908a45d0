"""What can be wrong with a wish about triggers, by the code that clients are told. docs/triggers.md lists the same."""

from __future__ import annotations

import enum

from tycostream.errors import known


class Code(enum.StrEnum):
    """`extensions.code` of the error. They never change their meaning."""

    BAD_TRIGGER_NAME = known("BAD_TRIGGER_NAME")
    """A name is empty, too long, or holds control characters."""
    TRIGGER_EXISTS = known("TRIGGER_EXISTS")
    """The source has a trigger of that name."""
    TRIGGER_NOT_FOUND = known("TRIGGER_NOT_FOUND")
    """The source has no trigger of that name."""
    TOO_MANY_TRIGGERS = known("TOO_MANY_TRIGGERS")
    """There are MAX_TRIGGERS triggers already."""
    BAD_WEBHOOK_URL = known("BAD_WEBHOOK_URL")
    """The webhook is no URL, or may not be called."""
    EMPTY_FIRE = known("EMPTY_FIRE")
    """`fire` is always true."""
    UNKNOWN_FIELD = known("UNKNOWN_FIELD")
    """`fields` names what is no column of the source."""
    BAD_USER_INPUT = known("BAD_USER_INPUT")
    """A filter or a number can't be what was given."""
    LIMIT_EXCEEDED = known("LIMIT_EXCEEDED")
    """A calculated field has too many rules."""
    UNAVAILABLE = known("UNAVAILABLE")
    """The service is being stopped, or the source has changed meanwhile."""


class TriggerError(Exception):
    """A wish that can't be fulfilled. The message is for the client, and says what would be valid."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
