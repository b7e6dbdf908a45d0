"""The rows that a client ends with, from the bytes that it read; and the check that they are those of the source.

A row is what GraphQL shows of it, by the text of its `id`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from benchmarks.frames import unframed

Rows = Mapping[str, Mapping[str, Any]]


class ReplayError(Exception):
    """A message was lost, doubled or reordered, or is broken."""


class Follower:
    """The rows of one operation, message by message."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.messages = 0
        self._made = 0

    def hear(self, update: dict[str, Any]) -> None:
        """A key that is inserted twice was doubled, one that is changed before it is there was lost; a row made before
        the last one that came was reordered (`made_at`, where it is selected)."""
        self.messages += 1
        row, operation, rows = update["data"], update["operation"], self.rows
        key = str(row["id"])
        if (operation == "INSERT") is (key in rows):
            raise ReplayError(f"message {self.messages}: {operation} of row {key}")
        if operation == "INSERT":
            rows[key] = row
        elif operation == "DELETE":
            del rows[key]
        else:
            rows[key].update((name, row[name]) for name in update["fields"] if name in row)
        if made := int(row.get("made_at") or 0):
            if made < self._made:
                raise ReplayError(f"message {self.messages}: made before the one that came before it")
            self._made = made


def replay(data: bytes) -> dict[str, Follower]:
    """What each operation of a connection was told, by its id. Raises ReplayError."""
    followers: dict[str, Follower] = {}
    end = 0
    for opcode, payload, at in unframed(data):
        end = at
        if opcode != 1:
            continue
        message = orjson.loads(payload)
        if message["type"] == "next":
            follower = followers.get(message["id"])
            if follower is None:
                follower = followers[message["id"]] = Follower()
            ((_field, update),) = message["payload"]["data"].items()
            follower.hear(update)
    if end != len(data):
        raise ReplayError("the last message is not whole")
    return followers


def digest(rows: Rows) -> str:
    """The same for the same rows."""
    found = hashlib.sha256()
    for key in sorted(rows):
        found.update(orjson.dumps(rows[key], option=orjson.OPT_SORT_KEYS))
    return found.hexdigest()
