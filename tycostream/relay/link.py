"""A worker's end of the channel to the process that follows the database: who follows what, and what is asked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from itertools import count
from typing import Any

from tycostream.databases.driver import DatabaseError
from tycostream.model import Position
from tycostream.relay.calls import Answer, Calls
from tycostream.relay.channel import Channel, Kind
from tycostream.relay.driver import Reading
from tycostream.relay.shape import shape_of

log = logging.getLogger("tycostream.relay")


class Link:
    """See the module. `answer` answers the other process's questions."""

    def __init__(self, answer: Answer) -> None:
        self.calls = Calls(self.say, answer)
        self._on_pickle: Callable[[bytes], None] = lambda _payload: None
        self._on_other: Callable[[dict[str, Any]], None] | None = None
        self._early: list[dict[str, Any]] = []
        """Messages that came before there was somebody to hear them."""
        self._channel: Channel | None = None
        self._numbers = count(1)
        self._readings: dict[int, Reading] = {}
        self._streams: dict[int, tuple[int, Reading]] = {}
        """Readings by the stream of their source's batches, with their own numbers."""
        self._failures: dict[str, int] = {}
        """The last failure of each source that was heard of: it is not told again."""

    def use(self, channel: Channel, on_pickle: Callable[[bytes], None]) -> None:
        """Speak over this channel. What comes pickled goes to the function."""
        self._channel = channel
        self._on_pickle = on_pickle
        channel.hear = self.hear

    def begin(self, on_message: Callable[[dict[str, Any]], None]) -> None:
        """Messages that concern no source go to this function, those that have come already first."""
        self._on_other = on_message
        early, self._early = self._early, []
        for message in early:
            on_message(message)

    def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        if self._channel is not None:
            self._channel.say(message)

    # For drivers

    def follow(self, reading: Reading, resume: Position | None) -> int:
        """See `relay.driver.Origin`."""
        number = next(self._numbers)
        self._readings[number] = reading
        source = reading.source
        position = None if resume is None else (resume.timestamp, resume.relation, resume.known)
        heard = self._failures.get(source.name, 0)
        wish = {"source": source.name, "shape": shape_of(source), "position": position, "heard": heard}
        self.say({"follow": number, **wish})
        return number

    def unfollow(self, number: int) -> None:
        """See `relay.driver.Origin`."""
        if self._forget(number) is not None:
            self.say({"unfollow": number})

    def hold(self, reading: Reading) -> None:
        """See `relay.driver.Origin`."""
        if self._channel is not None:
            self._channel.hold(reading)

    def let_go(self, reading: Reading) -> None:
        """See `relay.driver.Origin`."""
        if self._channel is not None:
            self._channel.let_go(reading)

    def _forget(self, number: int) -> Reading | None:
        for stream, (of, _reading) in list(self._streams.items()):
            if of == number:
                del self._streams[stream]
        return self._readings.pop(number, None)

    # What comes

    def hear(self, kind: Kind, stream: int, payload: bytes) -> None:
        """A frame."""
        if kind is Kind.BATCH:
            found = self._streams.get(stream)
            if found is not None:
                found[1].hear(kind, payload)
        elif kind is Kind.MESSAGE:
            self._on_message(json.loads(payload))
        elif kind is Kind.PICKLE:
            self._on_pickle(payload)
        elif (reading := self._readings.get(stream)) is not None:
            reading.hear(kind, payload)

    def _on_message(self, message: dict[str, Any]) -> None:
        if (number := message.get("reading")) is None:
            if not self.calls.heard(message):
                self._on_other(message) if self._on_other is not None else self._early.append(message)
            return
        reading = self._readings.get(number)
        if reading is None:
            return
        if "joined" in message:
            self._streams[message["joined"]["stream"]] = (number, reading)
            reading.joined(message["joined"])
        elif "completed" in message:
            reading.completed()
        elif "noted" in message:
            reading.noted(message["noted"])
        else:
            failure = message["ended"]
            self._forget(number)
            if failure["number"]:
                self._failures[reading.source.name] = failure["number"]
            error = DatabaseError(
                failure["text"], hint=failure["hint"], permanent=failure["permanent"], private=failure["private"]
            )
            reading.ended(error)

    def lost(self) -> None:
        """The other process is gone."""
        self._channel = None
        for number, reading in list(self._readings.items()):
            self._forget(number)
            reading.ended(DatabaseError("the process that follows the database is gone"))
