"""What a webhook's body says."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import orjson

from tycostream.model import Column, Key, Row, Source

Encode = Callable[[str | None], bytes]
"""A column's text becomes JSON."""


class EventType(enum.Enum):
    """What happened to the trigger's condition. TEST is sent on request, to see whether a webhook works."""

    FIRE = "FIRE"
    CLEAR = "CLEAR"
    TEST = "TEST"


def event_id(source: str, trigger: str, key: Key, timestamp: int, event_type: EventType) -> str:
    """32 hexadecimal digits, the same whenever this trigger tells this of this row at this timestamp.

    Never the id of a subscription's update: the hash is personalised.
    """
    keys = (key,) if isinstance(key, str) else key
    parts = (source, trigger, event_type.value, str(timestamp), *keys)
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16, person=b"webhook").hexdigest()


class Payload:
    """Writes the bodies of one trigger's events.

    `encoder` makes of a column what turns its text into JSON (`tycostream.graphql.encoding.encoder`). `fields` are the
    columns that `data` has, all of the source's where it is None. Raises KeyError for one that is no column.
    """

    def __init__(
        self,
        source: Source,
        trigger: str,
        encoder: Callable[[Column], Encode],
        fields: Iterable[str] | None = None,
    ) -> None:
        names = [column.name for column in source.columns] if fields is None else list(dict.fromkeys(fields))
        positions = [source.positions[name] for name in names]
        self._columns = [
            (orjson.dumps(name) + b":", position, encoder(source.columns[position]))
            for name, position in zip(names, positions, strict=True)
        ]
        self._source = source
        self._trigger = trigger
        self._names = b'"trigger_name":%b,"source":%b' % (orjson.dumps(trigger), orjson.dumps(source.name))

    def write(self, event_type: EventType, row: Row, timestamp: int, made: datetime) -> tuple[str, bytes]:
        """The event's id and its body.

        `timestamp` is the database's, a decimal string in the body; `made` is when the condition was seen to change,
        with its time zone.
        """
        identity = event_id(self._source.name, self._trigger, self._source.key_of(row), timestamp, event_type)
        data = b",".join([name + encode(row[position]) for name, position, encode in self._columns])
        body = b'{"event_id":"%b","event_type":"%b",%b,"timestamp":"%b","source_timestamp":"%d","data":{%b}}' % (
            identity.encode(),
            event_type.value.encode(),
            self._names,
            _written(made).encode(),
            timestamp,
            data,
        )
        return identity, body


def _written(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: 2024-01-02T03:04:05.678Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
