"""What Linux knows of a TCP connection (struct tcp_info of include/uapi/linux/tcp.h)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_INFO = struct.Struct("=24xI92xQ16xI")
"""tcpi_unacked, tcpi_bytes_acked (since Linux 4.1), tcpi_notsent_bytes (4.6)."""


@dataclass(frozen=True, slots=True)
class Sent:
    """`acknowledged` bytes have come to the other side's kernel so far; `waits`: others have not."""

    acknowledged: int
    waits: bool


def sent(connection: socket.socket) -> Sent | None:
    """How it stands with what was sent; None where the system does not tell."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        unacknowledged, acknowledged, unsent = _INFO.unpack(info)
    except (OSError, AttributeError, struct.error):  # another system, an older one, no TCP, or closed
        return None
    return Sent(acknowledged, bool(unacknowledged or unsent))
