"""How a connection begins: encryption is declined, a cancel request is told apart from a client, a password is asked for.

Sources: the PostgreSQL manual, "Message Flow: Start-up"; MaterializeInc/materialize src/pgwire/src/protocol.rs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.support.materialize import wire
from tests.support.materialize.connection import Connection
from tests.support.materialize.wire import SqlError


@dataclass(frozen=True, slots=True)
class Client:
    """Who wants in: the startup parameters, and the settings that one of them, `options`, holds."""

    parameters: dict[str, str]
    options: dict[str, str]


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Whose statement to cancel."""

    pid: int
    secret: int


async def greet(connection: Connection) -> Client | CancelRequest:
    """Up to the startup message. Raises SqlError for a protocol that is not PostgreSQL's third."""
    while True:
        length, version = struct.unpack(">ii", await connection.read(8))
        body = await connection.read(length - 8)
        if version == wire.CANCEL_REQUEST:
            return CancelRequest(*struct.unpack(">iI", body))
        if version not in (wire.SSL_REQUEST, wire.GSSENC_REQUEST):
            break
        connection.send(b"N")
    if version >> 16 != 3:
        raise SqlError("08004", "server does not support the client's requested protocol version", "FATAL")
    if version > wire.PROTOCOL:
        connection.send(wire.negotiate_version())
    parameters = wire.startup_parameters(body)
    return Client(parameters, wire.command_line_options(parameters.get("options", "")))


async def authenticate(connection: Connection, password: str | None) -> None:
    """Ask for the password in clear text, if there is one. Raises SqlError 28P01."""
    if password is None:
        return
    connection.send(wire.ASK_FOR_PASSWORD)
    kind, body = await connection.message()
    if kind != b"p" or body.rstrip(b"\0").decode() != password:
        raise SqlError("28P01", "invalid password", "FATAL")
