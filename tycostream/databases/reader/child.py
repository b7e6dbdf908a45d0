"""What runs in a reader process: one COPY ... TO STDOUT, whose lines go to the service in pieces.

It is run as a script, with a socket to the service as its standard input, and imports nothing but psycopg2, so that it
starts quickly. The service sends one REQUEST; then come CONNECTED, any number of LINES, and FAILURE or END. Each is a
FRAME and so many bytes. A service that has gone, or a socket that it has closed, ends the process.

psycopg2 hands `write` each row by itself and does not say when there are no more for the moment. So lines are sent when
there are many of them, and otherwise by a second thread, soon after the last one has come.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2

FRAME = struct.Struct("!cQ")
"""What it is, and its length."""

REQUEST, CONNECTED, LINES, FAILURE, END = b"q", b"c", b"l", b"f", b"e"

PIECE_BYTES = 131072
"""So many are sent at once; one more line at most, whatever its length."""

QUIET_SECONDS = (0.0001, 0.0002, 0.0004, 0.0008)
"""Lines are sent when no other follows within the first time, or else within the second, and so on; in the end anyway.
A row and the progress that releases it come a moment apart."""

Send = Callable[[bytes, bytes], None]


class Lines:
    """The file that psycopg2 writes to. `send` may block, and with it the database."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lines: list[bytes] = []
        self._bytes = 0
        self._idle = False
        self._sending = threading.Lock()
        self._awake = threading.Event()

    def write(self, line: bytes) -> None:
        """One row."""
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= PIECE_BYTES:
            self.flush()
        elif self._idle:
            self._idle = False
            self._awake.set()

    def flush(self) -> None:
        """Send what is there. For any thread."""
        with self._sending:
            taken = self._lines[:]  # one step, as the next is: the other thread may append in between
            del self._lines[: len(taken)]
            self._bytes = 0
            if taken:
                self._send(LINES, b"".join(taken))

    def keep_flushing(self) -> None:
        """For a thread of its own, which sleeps while nothing comes."""
        while True:
            for seconds in QUIET_SECONDS:
                seen = len(self._lines)
                time.sleep(seconds)
                if len(self._lines) == seen:
                    break
            if self._lines:
                self.flush()
                continue
            self._awake.clear()
            self._idle = True
            if not self._lines:  # else one has come that did not find it idle
                self._awake.wait()


def main() -> None:
    """Read what the service asks for, to its end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the service decides when to end
        signal.signal(number, signal.SIG_IGN)
    service = socket.socket(fileno=0)
    request = _request(service)
    threading.Thread(target=_end_with, args=(service,), daemon=True).start()

    def send(kind: bytes, content: bytes = b"") -> None:
        try:
            service.sendall(FRAME.pack(kind, len(content)) + content)
        except OSError:
            os._exit(1)

    _read(request["connect"], request["statement"], send)
    os._exit(0)


def _request(service: socket.socket) -> dict[str, Any]:
    with service.makefile("rb") as file:
        _kind, length = FRAME.unpack(_exactly(file, FRAME.size))
        request: dict[str, Any] = json.loads(_exactly(file, length))
    return request


def _exactly(file: Any, count: int) -> bytes:
    found: bytes = file.read(count)
    if len(found) < count:  # the service has changed its mind
        os._exit(0)
    return found


def _end_with(service: socket.socket) -> None:
    """The service says nothing more: what ends here is the service, or its wish to read."""
    try:
        service.recv(1)
    finally:
        os._exit(0)


def _read(connect: dict[str, Any], statement: str, send: Send) -> None:
    lines = Lines(send)
    try:
        connection = psycopg2.connect(**connect)
        connection.autocommit = True
        send(CONNECTED, b"")
        threading.Thread(target=lines.keep_flushing, daemon=True).start()
        connection.cursor().copy_expert(statement, lines)
        lines.flush()
        send(END, b"")
    except Exception as error:  # psycopg2 may raise a SystemError where a server dies
        lines.flush()
        failure = {
            "text": str(error).strip() or type(error).__name__,
            "sqlstate": getattr(error, "pgcode", None),
            "operational": isinstance(error, psycopg2.OperationalError),
        }
        send(FAILURE, json.dumps(failure).encode())


if __name__ == "__main__":
    main()
