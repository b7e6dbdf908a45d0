"""What one client may do and use: how many operations, how fast, how much may wait for it, how long it may be idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tycostream.graphql import RequestError
from tycostream.graphql.errors import LIMIT_EXCEEDED, RATE_LIMITED
from tycostream.limits import Backlog, NearLimits, OperationRate, Verdict
from tycostream.metrics import ClientCounts
from tycostream.views.outbox import Outbox
from tycostream.views.pace import SlowPolicy


@dataclass(frozen=True, slots=True)
class ConnectionConfig:
    """Limits of one connection; times in seconds. `ping` 0: no keep-alive messages; `idle` 0: it may be idle for ever.

    `operations_per_second` 0: as many as it likes, and otherwise `operations_burst` at once. `max_pending_bytes`: what
    may wait of answers that a client asked for, behind something that it has not read yet. The last four: see `Outbox`.
    """

    init_timeout: float = 3.0
    ping: float = 12.0
    idle: float = 0.0
    max_subscriptions: int = 1000
    operations_per_second: float = 0.0
    operations_burst: int = 2000
    max_pending_bytes: int = 16 * 1024 * 1024
    hold_rows: int = 10_000
    max_rows: int = 200_000
    drop_rows: int = 1000
    slow: SlowPolicy = SlowPolicy.CONFLATE

    def outbox(self) -> Outbox:
        """An empty outbox."""
        return Outbox(hold_rows=self.hold_rows, max_rows=self.max_rows, drop_rows=self.drop_rows)


@dataclass(frozen=True, slots=True)
class SharedLimits:
    """What all connections of the process have in common, and where they count what they do."""

    near: NearLimits = field(default_factory=NearLimits)
    backlog: Backlog = field(default_factory=lambda: Backlog(1 << 62, NearLimits()))
    counts: ClientCounts = field(default_factory=ClientCounts)


class FloodError(Exception):
    """The client goes on starting operations although they are refused; the message is for the client."""


class ConnectionLimits:
    """One client's share of the limits. `too_slow` closes it, soon; `clock` is the loop's."""

    def __init__(
        self,
        config: ConnectionConfig,
        shared: SharedLimits,
        who: str,
        clock: Callable[[], float],
        too_slow: Callable[[], None],
    ) -> None:
        self._config = config
        self._near = shared.near
        self._who = who
        self._clock = clock
        self._account = shared.backlog.open(too_slow)
        self._active_at = clock()
        self._rate: OperationRate | None = None
        if config.operations_per_second:
            self._rate = OperationRate(config.operations_per_second, config.operations_burst, clock())

    def admit(self, running: int) -> None:
        """The client wants to start an operation while so many run. Raises RequestError where it may not, FloodError
        where the client is not worth an answer any more."""
        self.active()
        if self._rate is not None:
            self._judge(self._rate)
        most = self._config.max_subscriptions
        self._near.note("MAX_SUBSCRIPTIONS_PER_CONNECTION", min(running + 1, most), most, self._who)
        if running >= most:
            text = f"this connection already runs {most} operations, the most that one may"
            raise RequestError([_error(text, LIMIT_EXCEEDED)])

    def _judge(self, rate: OperationRate) -> None:
        verdict = rate.judge(self._clock())
        self._near.note("OPERATIONS_BURST", rate.used, self._config.operations_burst, self._who)
        allowed = f"more than {self._config.operations_per_second:g} operations a second"
        if verdict is Verdict.FLOOD:
            raise FloodError(f"too many operations: {allowed} for too long")
        if verdict is Verdict.REFUSED:
            raise RequestError([_error(f"this connection starts {allowed}; wait a little", RATE_LIMITED)])

    # Idle

    def active(self) -> None:
        """The client has started an operation, or one of its operations has ended."""
        self._active_at = self._clock()

    def idle_left(self) -> float:
        """How long a client without an operation may still be idle."""
        return self._active_at + self._config.idle - self._clock()

    # What waits

    def waits(self, rows: int, size: int) -> None:
        """So many changes wait in the outbox, and this many bytes there and in the socket."""
        self._near.note("OUTBOX_MAX_ROWS", rows, self._config.max_rows, self._who)
        self._account.set(size)

    def answers_wait(self, size: int) -> bool:
        """So many bytes of answers wait; returns whether that is too much."""
        self._near.note("MAX_PENDING_BYTES", size, self._config.max_pending_bytes, self._who)
        return size > self._config.max_pending_bytes

    def close(self) -> None:
        """The client has gone."""
        self._account.close()


def _error(text: str, code: str) -> dict[str, Any]:
    return {"message": text, "extensions": {"code": code}}
