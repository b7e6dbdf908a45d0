"""The reference loop: the plainest pipeline from a database to one client, in one process and without a framework.

psycopg2's asynchronous FETCH 1000, all columns as text; a dictionary as the cache; a comparison of each column; an
f-string for each message; and one `send` of what a FETCH brought. It keeps no transaction together, has no filters, no
other clients, no limits and no errors: what a service adds to that is what the firehose measures.
"""

from __future__ import annotations

import select
import socket
from json.encoder import encode_basestring_ascii  # the one in C
from typing import Any

import psycopg2
from psycopg2 import extensions

from benchmarks.simulated import COLUMNS

PREFIX = '{"id":"00000","type":"next","payload":{"data":{"trades":{"operation":"'
SUBSCRIBE = (
    f"DECLARE c CURSOR FOR SUBSCRIBE (SELECT {', '.join(COLUMNS)} FROM trades)"
    " ENVELOPE UPSERT (KEY (id)) WITH (SNAPSHOT, PROGRESS)"
)
TYPES = (16, 20, 21, 23, 25, 700, 701, 1043, 1082, 1114, 1184, 1700)
"""Whose values come as text: bool, int8, int2, int4, text, float4, float8, varchar, date, timestamp(tz), numeric."""

Fields = dict[int, str]
Cache = dict[str, tuple[Any, ...]]


class Reference:
    """One run. `cache` holds what has been sent."""

    def __init__(self, parameters: dict[str, Any], client: socket.socket) -> None:
        self._client = client
        self._client.setblocking(True)
        self._connection = psycopg2.connect(**parameters, async_=1)
        self._wait()
        extensions.register_type(extensions.new_type(TYPES, "AS_IT_IS", lambda value, _cursor: value), self._connection)
        self._cursor = self._connection.cursor()
        self._fields: Fields = {}
        self.cache: Cache = {}
        self._execute("BEGIN")
        self._execute(SUBSCRIBE)

    def close(self) -> None:
        """End the connection to the database."""
        self._connection.close()

    def pump(self, rows: int) -> None:
        """Send so many rows on."""
        done = 0
        while done < rows:
            self._execute("FETCH 1000 c")
            messages = self._messages(self._cursor.fetchall())
            done += len(messages) // 2
            self._client.sendall("".join(messages).encode("latin-1"))

    def _execute(self, statement: str) -> None:
        self._cursor.execute(statement)
        self._wait()

    def _wait(self) -> None:
        connection = self._connection
        while (state := connection.poll()) != extensions.POLL_OK:
            if state == extensions.POLL_READ:
                select.select([connection.fileno()], [], [])
            else:
                select.select([], [connection.fileno()], [])

    def _messages(self, rows: list[tuple[Any, ...]]) -> list[str]:
        """Headers and payloads. Rows: mz_timestamp, mz_progressed, mz_state, the key, then the other columns."""
        cache, known = self.cache, self._fields
        text = encode_basestring_ascii
        out: list[str] = []
        for row in rows:
            if row[1] == "t":
                continue
            key = row[3]
            old, cache[key] = cache.get(key), row
            _time, _progressed, _state, _key, symbol, side, price, quantity, active, executed_at, note = row
            if old is None:
                payload = (
                    f'{PREFIX}INSERT","data":{{"id":"{key}","symbol":{text(symbol)},"side":{text(side)},'
                    f'"price":"{price}","quantity":{quantity},"active":{"true" if active == "t" else "false"},'
                    f'"executed_at":"{executed_at}","note":{text(note)}}},"fields":["id","symbol","side","price","quantity","active","executed_at",'
                    '"note"]}}}}'
                )
            else:
                a, b, c, d = symbol != old[4], side != old[5], price != old[6], quantity != old[7]
                e, f, g = active != old[8], executed_at != old[9], note != old[10]
                mask = a | b << 1 | c << 2 | d << 3 | e << 4 | f << 5 | g << 6
                fields = known.get(mask) or self._named(mask)
                flag = "true" if active == "t" else "false"
                payload = (
                    f'{PREFIX}UPDATE","data":{{"id":"{key}","symbol":{text(symbol) if a else "null"},'
                    f'"side":{text(side) if b else "null"},"price":{text(price) if c else "null"},'
                    f'"quantity":{quantity if d else "null"},"active":{flag if e else "null"},'
                    f'"executed_at":{text(executed_at) if f else "null"},"note":{text(note) if g else "null"}}},'
                    f'"fields":{fields}}}}}}}}}'
                )
            length = len(payload)
            out += (f"\x81\x7e{chr(length >> 8)}{chr(length & 255)}", payload)
        return out

    def _named(self, mask: int) -> str:
        names = [name for at, name in enumerate(COLUMNS[1:]) if mask >> at & 1]
        found = self._fields[mask] = '["' + '","'.join(names) + '"]'
        return found
