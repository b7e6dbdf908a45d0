"""What the container's HEALTHCHECK runs: asks /health of the tycostream in the same container.

Ends with 0 where that answers 200 (the service serves; `degraded` counts as healthy, since a restart mends no database)
and with 1 where it answers anything else or nothing. Prints what was answered: `docker inspect` shows it.

It starts every few seconds, so it reads the answer from the socket itself: `http.client` takes several times as long to
import.
"""

import os
import socket
import sys

SECONDS = 4.0
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here
"""Where a service that listens on such an address is reached."""


def ask(host: str, port: int) -> tuple[int, str]:
    """Status code and body of the answer. Raises OSError, or ValueError for what is no answer of HTTP."""
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("what answers is no HTTP server")
    return int(words[1]), body.decode("utf-8", "replace")


def main() -> int:
    """The exit code."""
    host = os.environ.get("GRAPHQL_HOST", "").strip()
    try:
        status, body = ask(EVERYWHERE.get(host, host), int(os.environ.get("GRAPHQL_PORT", "").strip() or 4000))
    except (OSError, ValueError) as error:
        print(f"no answer: {error}")
        return 1
    print(status, body)
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
