"""The Source actor: one per configured source. It owns the rows, the views on them, and the driver that feeds them.

Everything that touches the rows is a message to this actor, so a new subscription sees the rows of one moment and then
every change after it, by construction: nothing is locked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pykka import ActorRef

from actors.attempts import Attempts
from actors.driver_run import DriverRun, finish
from actors.handing_out import hand_out
from actors.ingest import Ingest
from actors.intake import SLICE_ROWS, Run
from actors.questions import Questions, answer, candidates, select
from actors.runtime import LoopActor, handles, tell
from actors.source_condition import SourceCondition, describe, tellable
from actors.source_memory import SourceMemory
from actors.source_messages import (
    Attach,
    Attached,
    BatchDue,
    CrossingsWait,
    Delivered,
    Detach,
    DriverFailed,
    EventsWait,
    ExplainFilter,
    GiveUp,
    LingerOver,
    ListViews,
    ReadRows,
    Refused,
    ShowRow,
    SourceUnavailableError,
    StartDriver,
    StartRelay,
    StartWatch,
    State,
    StopRelay,
    StopWatch,
    WindowsDue,
)
from actors.tap import Tap
from tycostream import model
from tycostream.databases.driver import DatabaseError, Driver
from tycostream.graphql.errors import UNAVAILABLE
from tycostream.metrics import ClientCounts, Sample, sample
from tycostream.model import Row
from tycostream.triggers.watches import Watch
from tycostream.views import Delivery, Derivation, Derived, Subscription
from tycostream.views.delivery import OnUnavailable
from tycostream.views.views import Group

log = logging.getLogger("tycostream.source")

RESTARTED = "an error interrupted it; it is being restarted"


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Times in seconds."""

    eager: bool = False
    linger: float = 60.0
    retry_min: float = 0.1
    retry_max: float = 30.0


class SourceActor(LoopActor):
    """See the module. `make_driver` makes a driver for each attempt; `memory` comes from the actor's predecessor."""

    kind = "source"

    def __init__(
        self,
        source: model.Source,
        make_driver: Callable[[model.Source], Driver],
        config: SourceConfig,
        memory: SourceMemory,
        supervisor: ActorRef[Any],
        clients: ClientCounts,
    ) -> None:
        super().__init__()
        self.source = source
        self._make_driver = make_driver
        self._config = config
        self._memory = memory
        self._cache = memory.cache
        self._condition = SourceCondition(memory, supervisor)
        self._run = DriverRun(partial(tell, self.actor_ref), self.reminder, self.spawn)
        self._attempts = Attempts(config.retry_min, config.retry_max)
        self._waiting = memory.waiting
        self._questions = Questions()
        self._looking: dict[Watch, asyncio.Future[bool]] = {}
        """Whom to tell that their first rows have been looked at."""
        self._lingering: asyncio.TimerHandle | None = None
        self._tap = Tap(memory)
        self._ingest = Ingest(memory, self._condition, self._attempts, self._tap, self._flush, self._serve_waiting)
        self._batch_timer: asyncio.TimerHandle | None = None
        self._window_timer: asyncio.TimerHandle | None = None
        self._window_at = 0.0
        self._counts = memory.counts
        self._clients = clients

    # Life

    def on_start(self) -> None:
        for subscription in [
            one for one in self._memory.subscriptions() if not one.live or not one.connection.is_alive()
        ]:
            self._memory.remove(subscription)
        self._memory.drop_ended()
        self._condition.inherit(RESTARTED)
        for subscription in [one for one in self._waiting if not one.connection.is_alive()]:
            del self._waiting[subscription]
        if self._cache.timestamp is not None:  # there is nothing to wait for
            for subscription in self._waiting:
                tell(self.actor_ref, Attach(subscription))
            self._waiting.clear()
        self._condition.tell()
        if self._wanted() or self._condition.state is State.STALE:
            self._start_driver()
            self._linger_if_unused()

    def on_stop(self) -> None:
        self._stop_driver()
        self._tap.end("it is being stopped")
        self._questions.fail(f"source {self.source.name} is being stopped")
        for watch in list(self._looking):
            self._forget_looking(watch)

    def on_failure(self, *_error: object) -> None:
        self._memory.roll_back()
        self._tap.end(RESTARTED)
        self.on_stop()
        waiting = list(self._waiting)
        self._waiting.clear()
        for subscription in waiting:
            self._leave_to_successor(subscription)

    def missed(self, message: object) -> None:
        if isinstance(message, Attach):
            self._leave_to_successor(message.subscription)
        elif isinstance(message, Detach):
            self._waiting.pop(message.subscription, None)
            self._memory.remove(message.subscription)

    def _leave_to_successor(self, subscription: Subscription) -> None:
        if subscription.on_unavailable is OnUnavailable.WAIT:
            self._waiting[subscription] = None
        else:
            self._refuse(subscription, f"source {self.source.name} failed; subscribe again")

    def after_turn(self) -> None:
        self._flush()
        due = self._memory.windows_due
        if due is not None:
            self._end_windows(due)

    # Subscriptions

    @handles(Attach)
    def _attach(self, message: Attach) -> Coroutine[Any, Any, None] | None:
        subscription = message.subscription
        self._stop_lingering()
        if self._cache.timestamp is not None:
            self._flush()
            if self._memory.lacks_states(subscription.derivation):
                self._waiting[subscription] = None  # so that it is refused, should this end half-way
                return self._admit_waiting(subscription, self._cache.timestamp)
            self._admit(subscription, self._cache.timestamp)
        elif not self._may_wait(subscription):
            self._refuse(subscription, self._unavailable())
            self._linger_if_unused()
        else:
            self._waiting[subscription] = None
            if self._condition.state is State.IDLE:
                self._start_driver()
        return None

    def _may_wait(self, subscription: Subscription) -> bool:
        """Whether a subscription may wait for rows, which are not there yet."""
        wish = subscription.on_unavailable
        if wish is OnUnavailable.WAIT:
            return True
        return not (
            self._attempts.circuit_open if wish is OnUnavailable.ERROR else self._condition.state is State.FAILED
        )

    async def _admit_waiting(self, subscription: Subscription, timestamp: int) -> None:
        """Admit a subscription; the states that nobody has asked for yet are worked out first. Meanwhile this actor's
        inbox waits."""
        await self._work_out(subscription.derivation)
        del self._waiting[subscription]
        self._admit(subscription, timestamp)

    async def _work_out(self, derivation: Derivation | None) -> None:
        """Know the states of the rows that are there. Meanwhile this actor's inbox waits."""
        if derivation is None or not self._memory.lacks_states(derivation):
            return
        derived = Derived(derivation)
        rows = self._cache.frozen()
        for start in range(0, len(rows), SLICE_ROWS):
            derived.look_at(rows[start : start + SLICE_ROWS])
            await asyncio.sleep(0)
        self._memory.start_audience(derived)

    def _admit(self, subscription: Subscription, timestamp: int) -> None:
        if subscription.rhythm is not None:
            self._hand_out(self._memory.flush_window(subscription))
        reader = self._memory.beginning(subscription, timestamp)
        subscription.outlet.occupy()
        self._memory.add(subscription)
        if subscription.explain:
            self._memory.explain_to(subscription)
        if not tell(subscription.connection, Attached(subscription, reader)):
            self._memory.remove(subscription)

    @handles(Detach)
    def _detach(self, message: Detach) -> None:
        subscription = message.subscription
        self._waiting.pop(subscription, None)
        self._memory.remove(subscription)
        self._linger_if_unused()

    # Other processes

    @handles(StartRelay)
    def _start_relay(self, message: StartRelay) -> None:
        self._stop_lingering()
        self._flush()
        if self._condition.state is State.IDLE:
            self._start_driver()
        self._tap.follow(message.follower, live=self._condition.state is State.LIVE)

    @handles(StopRelay)
    def _stop_relay(self, message: StopRelay) -> None:
        self._tap.unfollow(message.follower)
        self._linger_if_unused()

    def _relay(self) -> None:
        """Tell other processes what has been told here, or see to it that it is told soon."""
        assert self._cache.timestamp is not None  # whoever follows has rows
        wait = self._tap.flush(self._cache.timestamp)
        if wait is not None and self._batch_timer is None:
            self._batch_timer = self.tell_later(wait, BatchDue())

    @handles(BatchDue)
    def _send_batch(self, _message: BatchDue) -> None:
        self._batch_timer = None
        self._tap.send()

    # Triggers

    @handles(StartWatch)
    def _start_watch(self, message: StartWatch) -> Coroutine[Any, Any, bool] | asyncio.Future[bool] | bool:
        watch = message.watch
        self._stop_lingering()
        unseen = self._memory.unseen
        if self._memory.watching(watch) and watch not in unseen:  # its actor is a new one
            tell(watch.receiver, CrossingsWait())
            return True
        if watch not in unseen and self._cache.timestamp is not None:
            self._flush()
            return self._watch(watch, self._cache.timestamp, fire=message.fire_existing)
        unseen.setdefault(watch, message.fire_existing)
        if self._condition.state is State.FAILED:
            return False
        if self._condition.state is State.IDLE:
            self._start_driver()
        self._forget_looking(watch)
        self._looking[watch] = self.dispatcher.loop.create_future()
        return self._looking[watch]

    async def _watch(self, watch: Watch, timestamp: int, *, fire: bool) -> bool:
        """Look at the rows that are there. Meanwhile this actor's inbox waits."""
        self._memory.unseen[watch] = fire  # so that a successor does it again, should this end half-way
        await self._work_out(watch.derivation)
        self._memory.start_watch(watch)
        rows = self._cache.frozen()
        for start in range(0, len(rows), SLICE_ROWS):
            self._memory.look_at(watch, rows[start : start + SLICE_ROWS], timestamp, fire=fire)
            await asyncio.sleep(0)
        self._memory.finish_look(watch, timestamp)
        self._flush()
        return True

    @handles(StopWatch)
    def _stop_watch(self, message: StopWatch) -> None:
        self._memory.stop_watch(message.watch)
        self._forget_looking(message.watch)
        self._linger_if_unused()

    def _forget_looking(self, watch: Watch) -> None:
        if (looking := self._looking.pop(watch, None)) is not None:
            looking.cancel()

    @handles(ShowRow)
    def _show_row(self, message: ShowRow) -> tuple[Row | None, int | None]:
        rows = self._cache.rows
        row = rows.get(message.key) if message.key is not None else None
        row = row or next(iter(rows.values()), None)
        if row is not None and message.derivation is not None:
            row = self._memory.extended(row, message.derivation)
        return row, self._cache.timestamp

    # Explaining

    @handles(ListViews)
    def _list_views(self, message: ListViews) -> dict[str, Any]:
        return self._memory.list_views(message.most)

    @handles(ExplainFilter)
    def _explain(self, message: ExplainFilter) -> dict[str, Any]:
        return self._memory.explain(message.filter, message.derivation)

    def _refuse(self, subscription: Subscription, message: str) -> None:
        tell(subscription.connection, Refused(subscription, message))

    @handles(ReadRows)
    def _read(self, message: ReadRows) -> asyncio.Future[list[Row]]:
        if self._cache.timestamp is not None:
            self._stop_lingering()
            self._linger_if_unused()
            return self.spawn(select(candidates(self._cache, message), message.filter))
        question: asyncio.Future[list[Row]] = self.dispatcher.loop.create_future()
        if self._condition.state is State.FAILED:
            question.set_exception(SourceUnavailableError(self._unavailable()))
            return question
        self._questions.waiting[question] = message
        self.tell_later(message.within, GiveUp(question))
        if self._condition.state is State.IDLE:
            self._start_driver()
        return question

    @handles(GiveUp)
    def _give_up(self, message: GiveUp) -> None:
        why = f" ({known})" if (known := self._condition.trouble or self._condition.note) else ""
        self._questions.give_up(message.question, f"source {self.source.name} has no rows yet{why}; ask again")

    def _unavailable(self) -> str:
        return f"source {self.source.name} is not available: {self._condition.trouble or 'it has failed'}"

    def _wanted(self) -> bool:
        return self._config.eager or bool(self._waiting or self._questions or self._memory.followed or self._tap)

    def _linger_if_unused(self) -> None:
        if not self._wanted() and self._condition.state is not State.IDLE and self._lingering is None:
            self._lingering = self.tell_later(self._config.linger, LingerOver())

    @handles(LingerOver)
    def _rest(self, _message: LingerOver) -> None:
        self._lingering = None
        if not self._wanted():
            self._stop_driver()
            self._memory.forget()
            self._attempts.forget()
            self._condition.become(State.IDLE, None)

    def _stop_lingering(self) -> None:
        self.cancel(self._lingering)
        self._lingering = None

    # What the driver reports

    @handles(EventsWait)
    def _on_events_wait(self, message: EventsWait) -> Coroutine[Any, Any, None] | None:
        intake = self._run.intake
        if message.run != self._run.number or intake is None:
            return None
        while (event := intake.next()) is not None:
            work = self._ingest.changes(event) if isinstance(event, Run) else self._ingest.event(event)
            if work is not None:
                return finish(work, intake)
        intake.rest()
        return None

    async def _serve_waiting(self, timestamp: int) -> None:
        for subscription in list(self._waiting):
            await self._admit_waiting(subscription, timestamp)
        self._tap.live()
        for question, message in self._questions.take().items():
            self.spawn(answer(question, candidates(self._cache, message), message.filter))
        for watch, fire in list(self._memory.unseen.items()):
            await self._watch(watch, timestamp, fire=fire)
            if (looking := self._looking.pop(watch, None)) is not None:
                looking.set_result(True)
        self._linger_if_unused()

    # Delivery

    def _flush(self) -> None:
        """Tell every connection once of all that its subscriptions have to hear."""
        told, woken = self._memory.flush()
        for watch in woken:
            tell(watch.receiver, CrossingsWait())
        self._hand_out(told)
        if self._tap.followers:
            self._relay()

    def _hand_out(self, told: Iterable[tuple[Group, Delivery]]) -> None:
        """Connections before which nothing stands have their changes put on the socket; the others are told."""
        addressed = hand_out(told, self._clients)
        for connection, deliveries in addressed.items():
            if not tell(connection, Delivered(deliveries)):
                for subscriptions, _delivery in deliveries:
                    for subscription in subscriptions:
                        self._detach(Detach(subscription))

    # Rhythm

    def _end_windows(self, due: float) -> None:
        """Tell what has been gathered in windows that have ended, and wake up for the next."""
        now = time.monotonic()
        if due <= now:
            self._hand_out(self._memory.flush_windows(now))
            later = self._memory.windows_due
            if later is None:
                return
            due = later
        if self._window_timer is not None and self._window_at > due:
            self.cancel(self._window_timer)
            self._window_timer = None
        if self._window_timer is None:
            self._window_at = due
            self._window_timer = self.tell_later(due - now, WindowsDue())

    @handles(WindowsDue)
    def _on_windows_due(self, _message: WindowsDue) -> None:
        self._window_timer = None  # the end of this turn does the rest

    # The driver

    @handles(StartDriver)
    def _start_again(self, _message: StartDriver) -> None:
        if not self._run.goes_on and self._condition.state is not State.IDLE:
            self._start_driver()

    def _start_driver(self) -> None:
        condition = self._condition
        condition.note = None
        if self._cache.timestamp is None and condition.state is not State.FAILED:
            condition.become(State.CONNECTING, condition.reason)
        anew = condition.state is State.FAILED
        self._run.start(
            self._make_driver(self.source),
            lambda: None if anew else self._ingest.position(),
        )

    def _stop_driver(self) -> None:
        self._run.stop()
        self._ingest.stop()

    @handles(DriverFailed)
    def _on_driver_failed(self, message: DriverFailed) -> None:
        if message.run != self._run.number:
            return
        if self._run.intake is not None and self._run.intake.waiting:
            tell(self.actor_ref, message)  # what it reported before comes first
            return
        error = message.error
        self._counts.failures += 1
        self._stop_driver()
        expected = isinstance(error, DatabaseError)
        permanent = isinstance(error, DatabaseError) and error.permanent
        reason = describe(error)
        self._condition.note = None
        self._condition.trouble = tellable(error)
        retry = self._attempts.failed(permanent=permanent)
        self._tap.failed(error)
        if permanent:
            self._condition.become(State.FAILED, reason)
        else:
            self._condition.become(State.STALE if self._cache.timestamp is not None else State.CONNECTING, reason)
        log.warning(
            "source %s: %s (next attempt in %.1f s) [%s]",
            self.source.name,
            reason,
            retry,
            UNAVAILABLE,
            exc_info=None if expected else error,
        )
        if self._cache.timestamp is None:
            self._refuse_impatient()
            if permanent:
                self._refuse_questions()
        # Also while nobody waits: those who were refused may come back, and are to find that it is over
        self.tell_later(retry, StartDriver())
        self._linger_if_unused()

    def _refuse_impatient(self) -> None:
        for subscription in [one for one in self._waiting if not self._may_wait(one)]:
            del self._waiting[subscription]
            self._refuse(subscription, self._unavailable())

    def _refuse_questions(self) -> None:
        self._questions.fail(self._unavailable())
        looking, self._looking = self._looking, {}
        for future in looking.values():
            future.set_result(False)

    @property
    def circuit_open(self) -> bool:
        """Whether those who do not want to wait are told that there are no rows."""
        return self._attempts.circuit_open

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`: what goes with the actor."""
        yield sample("tycostream_source_circuit_open", self.circuit_open, source=self.source.name)

    def details(self) -> dict[str, Any]:
        return {
            "source": self.source.name,
            "relation": str(self.source.relation),
            "state": self._condition.state.value,
            "reason": self._condition.reason,
            "since": self._condition.since,
            "rows": len(self._cache.rows),
            "timestamp": None if self._cache.timestamp is None else str(self._cache.timestamp),
            "lag_ms": self._memory.lag.ms,
            "changes": self._counts.changes,
            "reader_pid": self._ingest.reader_pid,
            "failures": self._attempts.failures,
            "circuit_open": self.circuit_open,
            "waiting": len(self._waiting),
            "relay": self._tap.details(),
            **self._memory.details(),
        }
