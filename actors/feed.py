"""The Feed actor: owns the replication stream that the sources of a PostgreSQL database share.

It connects when the first source asks for it. When the stream is lost, every follower is told, and the next one that
asks makes a new stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pykka
from pykka import ActorRef

from actors.runtime import LoopActor, handles, tell
from tycostream.databases.connection import ConnectionParameters
from tycostream.databases.driver import DatabaseError
from tycostream.databases.postgres.replication import DurableOptions, Follower, Left, ReplicationStream
from tycostream.metrics import Sample, sample

log = logging.getLogger("tycostream.feed")

Waiting = Callable[[str | None], None]


@dataclass(frozen=True, slots=True)
class Follow:
    """Ask to be told of the tables' changes. The answer is a future that fails with DatabaseError once the stream is
    lost."""

    follower: Follower
    waiting: Waiting


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Ask to be told no more."""

    follower: Follower


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream is lost."""

    stream: ReplicationStream
    error: Exception


@dataclass(eq=False, slots=True)
class FeedCounts:
    """Streams that were opened, and the transactions of those that are lost; whichever actors there were."""

    streams: int = 0
    transactions: int = 0


class FeedActor(LoopActor):
    """See the module."""

    kind = "feed"

    def __init__(
        self,
        parameters: ConnectionParameters,
        slot_timeout: float,
        durable: DurableOptions | None = None,
        counts: FeedCounts | None = None,
    ) -> None:
        super().__init__()
        self._counts = counts or FeedCounts()
        self._parameters = parameters
        self._durable = durable
        self._left: Left | None = None
        self._slot_timeout = slot_timeout
        self._opening: asyncio.Task[ReplicationStream] | None = None
        self._stream: ReplicationStream | None = None
        self._reading: asyncio.Task[None] | None = None
        self._lost: dict[Follower, asyncio.Future[None]] = {}
        self._following: dict[Follower, asyncio.Task[asyncio.Future[None]]] = {}
        self._waiting: dict[Waiting, None] = {}
        self._last_error: str | None = None

    @handles(Follow)
    def _on_follow(self, message: Follow) -> asyncio.Future[asyncio.Future[None]]:
        follower = message.follower
        following = self._following[follower] = self.spawn(self._follow(follower, message.waiting))
        following.add_done_callback(lambda _done: self._following.pop(follower, None))
        return following

    @handles(Unfollow)
    def _on_unfollow(self, message: Unfollow) -> asyncio.Future[None]:
        return self.spawn(self._unfollow(message.follower, self._following.pop(message.follower, None)))

    @handles(StreamEnded)
    def _on_stream_ended(self, message: StreamEnded) -> None:
        if message.stream is self._stream:
            log.warning("the replication stream is lost: %s", message.error)
            self._lose(message.error)

    def on_stop(self) -> None:
        self._lose(DatabaseError("the feed has stopped"))

    def on_failure(self, *error: object) -> None:
        self._lose(DatabaseError(f"the feed failed: {error[1]}"))

    async def _follow(self, follower: Follower, waiting: Waiting) -> asyncio.Future[None]:
        self._waiting[waiting] = None
        try:
            if self._opening is None:
                self._opening = self.spawn(self._open())
            stream = await asyncio.shield(self._opening)
        finally:
            self._waiting.pop(waiting, None)
        try:
            await stream.follow(follower)
        except DatabaseError:
            await stream.unfollow(follower)
            raise
        lost: asyncio.Future[None] = self.dispatcher.loop.create_future()
        # A follower that fails of itself at this moment does not look at it any more
        lost.add_done_callback(lambda done: done.cancelled() or done.exception())
        if stream is not self._stream:
            raise DatabaseError("the replication stream was lost meanwhile")
        self._lost[follower] = lost
        return lost

    async def _open(self) -> ReplicationStream:
        def waiting(reason: str | None) -> None:
            for tell_it in list(self._waiting):
                tell_it(reason)

        stream = ReplicationStream(
            self._parameters, slot_timeout=self._slot_timeout, durable=self._durable, left=self._left
        )
        try:
            await stream.open(waiting)
        except BaseException:
            self._opening = None
            await stream.close()
            raise
        self._stream = stream
        self._counts.streams += 1
        self._reading = self.spawn(self._read(stream))
        return stream

    async def _read(self, stream: ReplicationStream) -> None:
        error: Exception = DatabaseError("the replication stream ended")
        try:
            await stream.read()
        except Exception as failure:
            error = failure
        tell(self.actor_ref, StreamEnded(stream, error))

    async def _unfollow(self, follower: Follower, following: asyncio.Future[Any] | None) -> None:
        if following is not None:  # a statement that runs must not be interrupted
            await asyncio.wait({following})
        lost = self._lost.pop(follower, None)
        if lost is not None:
            lost.cancel()
        if self._stream is not None:
            try:
                await self._stream.unfollow(follower)
            except DatabaseError as error:
                log.info("could not withdraw a table from the publication: %s", error)

    def _lose(self, error: Exception) -> None:
        """Forget the stream, and tell every follower."""
        self._last_error = str(error)
        if self._opening is not None:
            self._opening.cancel()
        if self._stream is not None:
            self._left = self._stream.left()
            self._counts.transactions += self._stream.transactions
            self.spawn(_close(self._stream, self._reading))
        self._stream = self._reading = self._opening = None
        for lost in self._lost.values():
            if not lost.done():
                lost.set_exception(_as_database_error(error))
        self._lost.clear()

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        stream, counts = self._stream, self._counts
        yield sample("tycostream_feed_connected", stream is not None)
        yield sample("tycostream_feed_streams_total", counts.streams)
        current = 0 if stream is None else stream.transactions
        yield sample("tycostream_feed_transactions_total", counts.transactions + current)

    def details(self) -> dict[str, Any]:
        stream = self._stream
        return {
            "database": repr(self._parameters),
            "connected": stream is not None,
            "slot": None if stream is None else stream.slot,
            "durable": self._durable is not None,
            "followers": len(self._lost),
            "position": None if stream is None else str(stream.lsn),
            "transactions": None if stream is None else stream.transactions,
            "streams": self._counts.streams,
            "last_error": self._last_error,
        }


async def _close(stream: ReplicationStream, reading: asyncio.Task[None] | None) -> None:
    """Close a stream once nobody reads it any more."""
    if reading is not None:
        reading.cancel()
        await asyncio.wait({reading})
    await stream.close()


def _as_database_error(error: Exception) -> DatabaseError:
    if isinstance(error, DatabaseError):
        return error
    return DatabaseError(f"unexpected {type(error).__name__} in the replication stream: {error}")


class FeedHandle:
    """The feed as drivers see it: finds the actor that runs now."""

    def __init__(self, directory: Mapping[tuple[str, str], ActorRef[Any]], name: str) -> None:
        self._directory = directory
        self._name = name

    async def follow(self, follower: Follower, waiting: Waiting) -> asyncio.Future[None]:
        """See `databases.postgres.table.Feed`."""
        feed = self._directory.get(("feed", self._name))
        if feed is None:
            raise DatabaseError("the feed is being restarted")
        try:
            lost: asyncio.Future[None] = await feed.ask(Follow(follower, waiting), block=False)
        except pykka.ActorDeadError:
            raise DatabaseError("the feed has stopped") from None
        except asyncio.CancelledError:
            tell(feed, Unfollow(follower))
            raise
        return lost

    async def unfollow(self, follower: Follower) -> None:
        """See `databases.postgres.table.Feed`."""
        feed = self._directory.get(("feed", self._name))
        if feed is not None:
            try:
                await feed.ask(Unfollow(follower), block=False)
            except pykka.ActorDeadError:
                return
