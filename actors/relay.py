"""The Relay actor: one per worker process, in the process that follows the database. It owns the channel to the worker,
joins its sources to ours, and carries questions both ways."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pykka import ActorRef

from actors.board import SourceBoard
from actors.relay_messages import (
    AskWorker,
    Heard,
    LookAgain,
    Lost,
    Ping,
    Pinged,
    RelayConfig,
    RoomAgain,
    Say,
    TellLags,
    Unanswered,
)
from actors.runtime import LoopActor, handles, tell
from actors.source_messages import Follower, SourceStateChanged, StartRelay, StopRelay
from actors.tap import Ended, Failure, Joined, Noted, Relayed
from tycostream.metrics import Sample, sample
from tycostream.model import Position
from tycostream.relay.calls import CallError, Calls, SilentError
from tycostream.relay.channel import Channel, Kind
from tycostream.relay.shape import shape_of

log = logging.getLogger("tycostream.relay")

LOOK_SECONDS = 0.1
"""After which a source that is not there is looked for again."""

LAG_SECONDS = 0.2
"""Between two tellings of how far sources lag, where that has changed."""

PING_SECONDS = 5.0
"""Between two questions whether the worker is well."""

ANSWER_SECONDS = 20.0
"""A worker that has not answered for so long serves nobody."""

FRAMES_AT_ONCE = 8
"""Frames of rows that one follower is sent before others have their turn."""

TOO_SLOW = "this process was too slow; it starts again from where it was, or with all rows"


@dataclass(eq=False, slots=True)
class Stream:
    """A source as the worker follows it. While `frames` are being sent, what is `later` waits."""

    source: str
    shape: str
    follower: Follower
    resumed: bool = False
    asked: ActorRef[Any] | None = None
    tap: int | None = None
    frames: Iterator[tuple[Kind, bytes]] | None = None
    later: deque[tuple[Kind, int, bytes]] = field(default_factory=deque)
    later_bytes: int = 0


class RelayActor(LoopActor):
    """See the module."""

    kind = "relay"

    def __init__(
        self,
        channel: Channel,
        config: RelayConfig,
        board: SourceBoard,
        directory: Mapping[tuple[str, str], ActorRef[Any]],
        order: bytes,
        worker: str = "",
    ) -> None:
        super().__init__()
        self._worker = worker
        self._config = config
        self._order = order
        self._board = board
        self._directory = directory
        self._channel = channel
        self._calls = Calls(channel.say, config.answer)
        self._streams: dict[int, Stream] = {}
        self._by_tap: dict[int, Stream] = {}
        self._absent: dict[int, None] = {}
        self._lags: dict[str, object] = {}
        self._cuts = 0
        self._met = False

    def on_start(self) -> None:
        self._channel.hear = self._on_frame
        self._channel.on_lost = lambda _error: self._tell_self(Lost())
        self._channel.on_room = lambda: self._tell_self(RoomAgain())
        self._channel.send(Kind.PICKLE, 0, self._order)
        self._board.watch(self._on_board)
        self.tell_later(LAG_SECONDS, TellLags())

    def on_stop(self) -> None:
        self._board.unwatch(self._on_board)
        for number in list(self._streams):
            self._drop(number)
        self.spawn(self._calls.close())
        self._channel.close()

    def on_failure(self, *_error: object) -> None:
        self.on_stop()

    def _tell_self(self, message: Any) -> None:
        tell(self.actor_ref, message)

    def _on_frame(self, kind: Kind, _stream: int, payload: bytes) -> None:
        self._tell_self(Heard(kind, payload))

    @handles(Lost)
    def _on_lost(self, _message: Lost) -> None:
        self.stop()

    # What is said of everything

    def _on_board(self, name: str, told: SourceStateChanged | None) -> None:
        """For the worker to know how sources stand: called by the board."""
        standing = None
        if told is not None:
            standing = [told.state.value, told.reason, told.since, told.told, told.lag.moments]
        self._channel.say({"stands": name, "standing": standing})

    @handles(TellLags)
    def _tell_lags(self, _message: TellLags) -> None:
        lags = {name: told.lag.moments for name, told in self._board.states.items()}
        if changed := {name: lag for name, lag in lags.items() if self._lags.get(name) != lag}:
            self._channel.say({"lags": changed})
        self._lags = dict(lags)
        self.tell_later(LAG_SECONDS, TellLags())

    @handles(Ping)
    def _on_ping(self, _message: Ping) -> None:
        self.spawn(self._ping())

    async def _ping(self) -> None:
        try:
            await self._calls.ask("ping", ANSWER_SECONDS)
        except SilentError:
            self._config.on_silent()
        except CallError:
            return  # it is gone, which the channel tells
        self._tell_self(Pinged())

    @handles(Pinged)
    def _on_pinged(self, _message: Pinged) -> None:
        self.tell_later(PING_SECONDS, Ping())

    @handles(Say)
    def _say(self, message: Say) -> None:
        if message.message is not None:
            self._channel.say(message.message)
        if message.pickled is not None:
            self._channel.send(Kind.PICKLE, 0, message.pickled)

    @handles(AskWorker)
    def _ask(self, message: AskWorker) -> asyncio.Future[Any]:
        return self.spawn(self._calls.ask(message.name, message.within, **message.arguments))

    # What the worker says

    @handles(Heard)
    def _on_heard(self, heard: Heard) -> None:
        if not self._met:  # until then it starts, which takes its time
            self._met = True
            self.tell_later(PING_SECONDS, Ping())
        message = json.loads(heard.payload)
        if "follow" in message:
            self._follow(message)
        elif "unfollow" in message:
            self._drop(message["unfollow"])
        elif not self._calls.heard(message):
            self._config.on_message(message)

    def _follow(self, message: dict[str, Any]) -> None:
        number, position = message["follow"], message["position"]
        follower = Follower(self.actor_ref, number, None if position is None else Position(*position), message["heard"])
        self._streams[number] = Stream(message["source"], message["shape"], follower)
        self._join(number)

    def _join(self, number: int) -> None:
        """Ask the source; or wait for one that is not there, or is another to the worker than it is to us: either of us
        has not read the schema file yet."""
        stream = self._streams[number]
        source = self._config.find(stream.source)
        running = self._directory.get(("source", stream.source))
        if running is None or source is None or shape_of(source) != stream.shape:
            if not self._absent:
                self.tell_later(LOOK_SECONDS, LookAgain())
            self._absent[number] = None
            return
        stream.asked = running
        self.spawn(self._start_relay(running, stream))

    async def _start_relay(self, running: ActorRef[Any], stream: Stream) -> None:
        try:
            await running.ask(StartRelay(stream.follower), block=False)
        except Exception:
            self._tell_self(Unanswered(stream.follower.number))

    @handles(Unanswered)
    def _on_unanswered(self, message: Unanswered) -> None:
        if message.number in self._streams:
            self._join(message.number)

    @handles(LookAgain)
    def _look_again(self, _message: LookAgain) -> None:
        absent, self._absent = self._absent, {}
        for number in absent:
            if number in self._streams:
                self._join(number)

    def _drop(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        self._absent.pop(number, None)
        if stream.tap is not None:
            self._by_tap.pop(stream.tap, None)
        if stream.asked is not None:
            tell(stream.asked, StopRelay(stream.follower))

    # What sources tell

    @handles(Joined)
    def _on_joined(self, message: Joined) -> None:
        stream = self._streams.get(message.follower.number)
        if stream is None:
            return
        stream.tap = message.stream
        self._by_tap[message.stream] = stream
        stream.frames, stream.resumed = message.frames, message.resumed
        joined = {
            "stream": message.stream,
            "next": message.next,
            "timestamp": message.timestamp,
            "relation": message.relation,
            "since": message.since,
            "resumed": message.resumed,
        }
        self._channel.say({"reading": message.follower.number, "joined": joined})
        self._send_frames(stream)

    def _send_frames(self, stream: Stream) -> None:
        """Some of what a follower begins with, as far as there is room; when it has all, what came meanwhile."""
        if stream.frames is None:
            return
        number = stream.follower.number
        for _ in range(FRAMES_AT_ONCE):
            if not self._channel.has_room:
                return
            frame = next(stream.frames, None)
            if frame is None:
                break
            self._channel.send(frame[0], number, frame[1])
        else:
            self._tell_self(RoomAgain())
            return
        stream.frames = None
        if not stream.resumed:
            self._channel.say({"reading": number, "completed": True})
        for kind, of, payload in stream.later:
            self._channel.send(kind, of, payload)
        stream.later.clear()
        stream.later_bytes = 0

    @handles(RoomAgain)
    def _on_room(self, _message: RoomAgain) -> None:
        for stream in list(self._streams.values()):
            self._send_frames(stream)

    @handles(Relayed)
    def _on_relayed(self, message: Relayed) -> None:
        stream = self._by_tap.get(message.stream)
        if stream is None:
            return
        if stream.frames is None:
            self._channel.send(Kind.BATCH, message.stream, message.batch)
        else:
            self._put_by(stream, Kind.BATCH, message.stream, message.batch)
        if self._waiting_bytes() > self._config.backlog:
            self._cut()

    @handles(Noted)
    def _on_noted(self, message: Noted) -> None:
        self._say_to(message.follower.number, {"noted": message.reason})

    @handles(Ended)
    def _on_ended(self, message: Ended) -> None:
        self._end_reading(message.follower.number, message.failure)

    def _end_reading(self, number: int, failure: Failure) -> None:
        self._say_to(number, {"ended": asdict(failure)})
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.asked = None  # it knows
        if stream.frames is None:
            self._drop(number)
        elif stream.tap is not None:
            self._by_tap.pop(stream.tap, None)
            stream.tap = None

    def _say_to(self, number: int, message: dict[str, Any]) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        message = {"reading": number, **message}
        if stream.frames is None:
            self._channel.say(message)
        else:
            self._put_by(stream, Kind.MESSAGE, 0, json.dumps(message).encode())

    # A worker that is too slow

    def _put_by(self, stream: Stream, kind: Kind, of: int, payload: bytes) -> None:
        stream.later.append((kind, of, payload))
        stream.later_bytes += len(payload)

    def _waiting_bytes(self) -> int:
        waiting = self._channel.waiting_bytes
        if waiting or not self._channel.has_room:
            waiting += sum(stream.later_bytes for stream in self._streams.values())
        return waiting

    def _cut(self) -> None:
        """Tell it of no more changes: once it has read what waits, it asks again."""
        self._cuts += 1
        log.warning("a worker is too slow: more than %d bytes wait for it", self._config.backlog)
        for number, stream in list(self._streams.items()):
            if stream.tap is None:
                continue
            self._channel.say({"reading": number, "ended": asdict(Failure(0, TOO_SLOW))})
            self._drop(number)

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        yield sample("tycostream_relay_waiting_bytes", self._waiting_bytes(), worker=self._worker)
        yield sample("tycostream_relay_sent_bytes_total", self._channel.sent_bytes, worker=self._worker)
        yield sample("tycostream_relay_cuts_total", self._cuts, worker=self._worker)

    def details(self) -> dict[str, Any]:
        return {
            "following": sorted({stream.source for stream in self._streams.values()}),
            "bytes_waiting": self._waiting_bytes(),
            "bytes_sent": self._channel.sent_bytes,
            "frames_sent": self._channel.sent_frames,
            "cuts": self._cuts,
        }


async def ask_worker(relay: ActorRef[Any], name: str, within: float, **arguments: Any) -> Any:
    """The worker's answer. Raises CallError, ActorDeadError."""
    return await relay.ask(AskWorker(name, within, arguments), block=False)
