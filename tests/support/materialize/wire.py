"""Messages of PostgreSQL's protocol, version 3, as Materialize speaks it: how each looks on the wire.

Sources: the PostgreSQL manual, "Message Formats"; MaterializeInc/materialize src/pgwire/src/protocol.rs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from tests.support.materialize.relations import Column

PROTOCOL = 3 << 16
CANCEL_REQUEST, SSL_REQUEST, GSSENC_REQUEST = 80877102, 80877103, 80877104

_SEVERITIES = {"ERROR", "FATAL", "PANIC", "WARNING", "NOTICE", "DEBUG", "INFO", "LOG"}


class SqlError(Exception):
    """What a client is told with an ErrorResponse. FATAL ends the connection."""

    def __init__(
        self, sqlstate: str, message: str, severity: str = "ERROR", *, detail: str = "", hint: str = ""
    ) -> None:
        assert severity in _SEVERITIES, severity
        super().__init__(message)
        self.sqlstate, self.message, self.severity, self.detail, self.hint = sqlstate, message, severity, detail, hint


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message with its type byte and length."""
    return kind + struct.pack(">i", len(body) + 4) + body


def text(value: str) -> bytes:
    """A string as the protocol ends them, with a zero byte."""
    return value.encode() + b"\0"


AUTHENTICATION_OK = message(b"R", struct.pack(">i", 0))
ASK_FOR_PASSWORD = message(b"R", struct.pack(">i", 3))
EMPTY_QUERY = message(b"I")
COPY_DONE = message(b"c")


def parameter_status(name: str, value: str) -> bytes:
    """A setting that the server reports by itself."""
    return message(b"S", text(name) + text(value))


def backend_key(pid: int, secret: int) -> bytes:
    """What a CancelRequest must name."""
    return message(b"K", struct.pack(">iI", pid, secret))


def ready(status: str) -> bytes:
    """ReadyForQuery; status I (idle), T (in a transaction) or E (in one that has failed)."""
    return message(b"Z", status.encode())


def negotiate_version() -> bytes:
    """The answer to a client that asks for a newer minor version: 3.0 it is."""
    return message(b"v", struct.pack(">ii", PROTOCOL, 0))


def row_description(columns: Sequence[Column]) -> bytes:
    """Names and types of a result, every value in its text form."""
    parts = [struct.pack(">h", len(columns))]
    for column in columns:
        parts += (text(column.name), struct.pack(">ihihih", 0, 0, column.oid, column.size, -1, 0))
    return message(b"T", b"".join(parts))


def data_row(values: Iterable[str | None]) -> bytes:
    """One row of a small result. Large ones: formats.py."""
    fields = [None if value is None else value.encode() for value in values]
    body = b"".join(b"\xff\xff\xff\xff" if one is None else struct.pack(">i", len(one)) + one for one in fields)
    return message(b"D", struct.pack(">h", len(fields)) + body)


def command_complete(tag: str) -> bytes:
    """A statement has ended well."""
    return message(b"C", text(tag))


def copy_out_response(columns: int) -> bytes:
    """COPY ... TO STDOUT begins: text format, and the number of columns, without names (src/pgwire/src/protocol.rs `copy_rows`)."""
    return message(b"H", struct.pack(f">bh{columns}h", 0, columns, *[0] * columns))


def error_response(error: SqlError) -> bytes:
    """A failure."""
    return message(b"E", _report(error))


def notice_response(notice: SqlError) -> bytes:
    """Something that the client should know and that is no failure."""
    return message(b"N", _report(notice))


def _report(report: SqlError) -> bytes:
    fields = [
        (b"S", report.severity), (b"V", report.severity), (b"C", report.sqlstate), (b"M", report.message),
        (b"D", report.detail), (b"H", report.hint),
    ]  # fmt: skip
    return b"".join(code + text(value) for code, value in fields if value) + b"\0"


def startup_parameters(body: bytes) -> dict[str, str]:
    """The name and value pairs of a StartupMessage, after its version number."""
    words = [word.decode() for word in body.split(b"\0")]
    return {name: value for name, value in zip(words[::2], words[1::2], strict=False) if name}


def command_line_options(options: str) -> dict[str, str]:
    r"""The startup parameter `options`: `-c name=value`, `-cname=value`, `--name=value`; `\ ` is a space inside of a value
    (PostgreSQL manual, libpq "options"; Materialize's documentation of `--cluster=` in the connection options).
    """
    words, word, escaped = [], "", False
    for character in options + " ":
        if escaped:
            word, escaped = word + character, False
        elif character == "\\":
            escaped = True
        elif character.isspace():
            words.append(word)
            word = ""
        else:
            word += character
    settings: dict[str, str] = {}
    for one in words:
        setting = one.removeprefix("--").removeprefix("-c")
        name, equals, value = setting.partition("=")
        if equals:
            settings[name.replace("-", "_").lower()] = value
    return settings
