"""WebSocket frames as a client sees them: the few lines of RFC 6455 that clients of measurements need."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator

PROTOCOL = "graphql-transport-ws"


def upgrade(host: str, path: str) -> bytes:
    """The request that turns HTTP into a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n\r\n"
    ).encode()


def masked(message: object) -> bytes:
    """One text frame of a client's (section 5.3; the mask is zero)."""
    text = json.dumps(message).encode()
    size = bytes((0x80 | len(text),)) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + text


def subscribe(operation_id: str, query: str) -> bytes:
    """A subscription's first message."""
    return masked({"id": operation_id, "type": "subscribe", "payload": {"query": query}})


def unframed(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """The complete frames of a server's bytes: opcode, payload, and where the next one starts."""
    end = len(data)
    while end - at >= 2:
        length, start = data[at + 1], at + 2
        if length == 126:
            length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif length == 127:
            length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if start + length > end:
            return
        opcode, at_next = data[at] & 15, start + length
        yield opcode, data[start:at_next], at_next
        at = at_next
