"""The courier: gets events to webhooks over HTTP, in order for each row, however slow or broken some endpoints are.

An endpoint is a scheme, host and port. There is a task for each call under way and none for what waits; all retries
share one timer. Endpoints take turns. One that has not answered for a while gets one call at a time, and all of those
together half of the calls at most, so that the dead can't keep the living waiting.

Everything happens on the loop that the courier was made on.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import ssl
import time
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.tcpclient import TCPClient

from tycostream import __version__
from tycostream.metrics import Sample, sample
from tycostream.triggers.client import Client, Patience
from tycostream.triggers.endpoint import Account, Endpoint, Lane, Pending, Standing
from tycostream.triggers.events import Outcome, Result, Statistics, WebhookEvent
from tycostream.triggers.policy import TargetError, TargetPolicy, endpoint_of
from tycostream.triggers.resolver import GuardedResolver, LookUp
from tycostream.triggers.retry import Schedule, Verdict, judge, redirected_to, retry_after
from tycostream.triggers.session import EndpointSession
from tycostream.triggers.turns import Turns
from tycostream.triggers.warnings import Warnings

log = logging.getLogger("tycostream.triggers")

MOST_ENDPOINTS = 1000
"""Endpoints that are remembered; beyond that, those with nothing to do are forgotten with their counts and cookies."""

_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"tycostream/{__version__}",
    "Accept-Encoding": "identity",
}
_CLOSED = "the service was stopped"


@dataclass(frozen=True, slots=True)
class CourierConfig:
    """Durations are in seconds. An endpoint never gets all of `concurrency`, unless that is 1.

    `queue`, `queue_per_endpoint` and `queue_bytes` (of bodies) bound what waits; past any of them the oldest event
    that waits is dropped.
    """

    policy: TargetPolicy = field(default_factory=TargetPolicy)
    patience: Patience = Patience(connect=5.0, request=15.0)
    schedule: Schedule = Schedule(attempts=8, least=1.0, most=300.0, max_age=3600.0)
    concurrency: int = 64
    concurrency_per_endpoint: int = 8
    queue: int = 100_000
    queue_per_endpoint: int = 10_000
    queue_bytes: int = 256 * 1024 * 1024


class Courier:
    """Delivers events. Make it on a running loop; `close` it in the end.

    `tls` says whose certificates https endpoints may have: the system's authorities where it is None. `look_up`
    replaces the system's resolver.
    """

    def __init__(
        self, config: CourierConfig, *, tls: ssl.SSLContext | None = None, look_up: LookUp | None = None
    ) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._resolver = GuardedResolver(policy=config.policy, look_up=look_up)
        self._tcp = TCPClient(resolver=self._resolver)
        self._tls = tls or ssl.create_default_context()
        self._checked = lru_cache(maxsize=4096)(config.policy.check_url)
        self._endpoints: dict[str, Endpoint] = {}
        self._owners: dict[Hashable, Account] = {}
        self._everything = Account()
        self._turns = Turns(config.concurrency, config.concurrency_per_endpoint)
        self._numbers = count()
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._delayed: list[tuple[float, int, Lane]] = []
        self._delays = 0
        self._timer: asyncio.TimerHandle | None = None
        self._outcomes: deque[tuple[WebhookEvent, Outcome]] = deque()
        self._warnings = Warnings(self._loop.time)
        self._telling: asyncio.Handle | None = None
        self._closing = False
        self._rest = asyncio.Event()

    # --- what others call ---

    def send(self, event: WebhookEvent) -> None:
        """Deliver the event as soon as may be. Never blocks and never raises: the event's outcome says what became of
        it."""
        if self._closing:
            self._tell(event, Outcome(Result.DROPPED, _CLOSED, 0))
            return
        owner = self._owners.get(event.owner)
        if owner is None:
            owner = self._owners[event.owner] = Account()
        try:
            endpoint = self._endpoint(self._checked(event.url))
        except TargetError as error:
            owner.failed += 1
            self._everything.failed += 1
            owner.last_error = str(error)
            self._tell(event, Outcome(Result.FAILED, str(error), 0))
            return
        if event.url in endpoint.disabled:
            for account in (self._everything, endpoint.account, owner):
                account.dropped += 1
            self._tell(event, _gone(0))
            return
        pending = endpoint.add(event, next(self._numbers), self._loop.time())
        pending.accounts = (self._everything, endpoint.account, owner)
        for account in pending.accounts:
            account.pending[pending.number] = pending
        self._bytes += len(event.body)
        self._turns.list(endpoint)
        self._start()
        self._make_room(endpoint)

    def forget(self, owner: Hashable) -> None:
        """Drop what waits for this owner, and its counts. What is being tried at this moment is not tried again."""
        account = self._owners.pop(owner, None)
        if account is None:
            return
        for pending in list(account.pending.values()):
            if pending.in_flight:
                pending.forgotten = True
            else:
                self._finish(pending, Outcome(Result.FORGOTTEN, "the owner was deleted", pending.attempts))
        self._start()

    def enable(self, url: str) -> bool:
        """Call a webhook again that answered 410; False where it had not."""
        disabled = self.is_disabled(url)
        if disabled:
            self._endpoints[endpoint_of(url)].disabled.remove(url)
        return disabled

    def is_disabled(self, url: str) -> bool:
        """Whether this webhook (as `TargetPolicy.check_url` wrote it) answered 410 and was not enabled since."""
        return any(url in endpoint.disabled for endpoint in self._endpoints.values())

    def statistics(self, owner: Hashable) -> Statistics:
        """What has become of this owner's events since it was last forgotten. `disabled` is 0 here."""
        account = self._owners.get(owner)
        return account.statistics(0) if account else Statistics()

    def endpoints(self) -> dict[str, Statistics]:
        """The same by endpoint, `https://example.com:443`."""
        return {one.name: one.account.statistics(len(one.disabled)) for one in self._endpoints.values()}

    def totals(self) -> Statistics:
        """The same of all events."""
        return self._everything.statistics(sum(len(one.disabled) for one in self._endpoints.values()))

    def samples(self) -> Iterator[Sample]:
        """For `/metrics`."""
        totals = self.totals()
        yield sample("tycostream_webhook_events_total", totals.delivered, outcome="delivered")
        yield sample("tycostream_webhook_events_total", totals.failed, outcome="failed")
        yield sample("tycostream_webhook_events_total", totals.dropped, outcome="dropped")
        yield sample("tycostream_webhook_retries_total", totals.retried)
        yield sample("tycostream_webhook_events_waiting", totals.waiting)
        yield sample("tycostream_webhook_calls_in_flight", totals.in_flight)
        yield sample("tycostream_webhooks_disabled", totals.disabled)

    async def close(self, within: float) -> None:
        """Deliver what can be delivered now, for at most this many seconds, and end. Retries that are not due yet are
        not waited for. Whatever is left has its outcome, told, when this returns."""
        self._closing = True
        self._rest.clear()
        if self._everything.in_flight and within > 0:
            try:
                async with asyncio.timeout(within):
                    await self._rest.wait()
            except TimeoutError:
                pass
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pending in list(self._everything.pending.values()):
            if pending.in_flight:
                self._landed(pending, None, _CLOSED)
            self._finish(pending, Outcome(Result.DROPPED, _CLOSED, pending.attempts))
        self._resolver.close()
        self._tcp.close()
        for endpoint in self._endpoints.values():
            endpoint.session.close()
        self._tell_all()

    # --- the queue ---

    def _endpoint(self, url: str) -> Endpoint:
        name = endpoint_of(url)
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            if len(self._endpoints) >= MOST_ENDPOINTS:
                idle = next((known for known, one in self._endpoints.items() if one.idle), None)
                if idle is not None:
                    self._endpoints.pop(idle).session.close()
            session = EndpointSession(Client(self._tcp, self._config.patience, self._tls))
            endpoint = self._endpoints[name] = Endpoint(name, session)
        return endpoint

    def _make_room(self, endpoint: Endpoint) -> None:
        config = self._config
        while True:
            if endpoint.account.waiting > config.queue_per_endpoint:
                oldest = endpoint.account.oldest_waiting()
            elif self._everything.waiting > config.queue or self._bytes > config.queue_bytes:
                oldest = self._everything.oldest_waiting()
            else:
                return
            if oldest is None:  # the bytes are those of events that are being tried
                return
            self._warnings.warn(oldest.endpoint.name, "the oldest waiting event was dropped: too many wait")
            self._finish(oldest, Outcome(Result.DROPPED, "too many events waited", oldest.attempts))
            self._start()  # a row's next event need not wait for a retry that is gone

    def _finish(self, pending: Pending, outcome: Outcome) -> None:
        """The event, which is not in flight, leaves the queue with this outcome."""
        self._bytes -= len(pending.event.body)
        for account in pending.accounts:
            del account.pending[pending.number]
            match outcome.result:
                case Result.DELIVERED:
                    account.delivered += 1
                case Result.FAILED:
                    account.failed += 1
                case _:
                    account.dropped += 1
        lane = pending.lane
        if lane.standing is Standing.DELAYED and lane.events[0] is pending:
            self._delays -= 1
        pending.endpoint.remove(pending)
        self._turns.list(pending.endpoint)
        self._tell(pending.event, outcome)

    def _tell(self, event: WebhookEvent, outcome: Outcome) -> None:
        self._outcomes.append((event, outcome))
        if self._telling is None:
            self._telling = self._loop.call_soon(self._tell_all)

    def _tell_all(self) -> None:
        self._telling = None
        for _ in range(len(self._outcomes)):
            event, outcome = self._outcomes.popleft()
            try:
                event.outcome(event, outcome)
            except Exception:
                log.exception("Whoever sent a webhook event failed to hear of its end")

    # --- attempts ---

    def _start(self) -> None:
        """Begin as many calls as may be under way."""
        while (endpoint := self._turns.next()) is not None:
            pending = endpoint.take()
            if self._loop.time() - pending.born > self._config.schedule.max_age:
                self._fail(pending, "it waited too long")
                continue
            pending.in_flight = True
            pending.attempts += 1
            for account in pending.accounts:
                account.in_flight += 1
                account.retried += pending.attempts > 1
            self._turns.began(endpoint)
            self._turns.list(endpoint)
            task = self._loop.create_task(self._attempt(pending))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._turns.idle:
            self._rest.set()

    async def _attempt(self, pending: Pending) -> None:
        event = pending.event
        request = HTTPRequest(event.url, "POST", HTTPHeaders(_HEADERS), event.body)
        try:
            response = await pending.endpoint.session.fetch(request)
        except TargetError as error:
            self._landed(pending, None, str(error))
            self._fail(pending, str(error))
        except OSError as error:
            reason = _explained(error)
            self._landed(pending, False, reason)
            self._again(pending, reason)
        except Exception:
            log.exception("Calling a webhook of %s failed", pending.endpoint.name)
            self._landed(pending, None, "internal error")
            self._fail(pending, "internal error")
        else:
            self._answered(pending, response)
        self._start()

    def _landed(self, pending: Pending, answered: bool | None, error: str | None, status: int | None = None) -> None:
        """The event's call is over; what is to become of it comes next."""
        pending.in_flight = False
        for account in pending.accounts:
            account.in_flight -= 1
            account.last_error = error
            account.last_status = status
        endpoint = pending.endpoint
        before = endpoint.failing
        self._turns.ended(endpoint, answered)
        self._turns.list(endpoint)
        if endpoint.failing and not before:
            log.warning("Webhooks of %s: no answer several times in a row (%s); slowing down", endpoint.name, error)
        elif before and not endpoint.failing:
            log.info("Webhooks of %s: there are answers again", endpoint.name)

    def _answered(self, pending: Pending, response: HTTPResponse) -> None:
        status = response.code
        reason = f"answered {status}"
        verdict = judge(status)
        self._landed(pending, True, None if verdict is Verdict.DELIVERED else reason, status)
        match verdict:
            case Verdict.DELIVERED:
                self._finish(pending, Outcome(Result.DELIVERED, reason, pending.attempts, status))
            case Verdict.GONE:
                self._disable(pending, status)
            case Verdict.RETRY:
                self._again(pending, reason, status, retry_after(response.headers.get("Retry-After"), time.time()))
            case Verdict.FAILED:
                location = redirected_to(response.headers.get("Location"), pending.event.url)
                self._fail(pending, reason, status, location if 300 <= status < 400 else None)

    def _fail(self, pending: Pending, reason: str, status: int | None = None, location: str | None = None) -> None:
        self._warnings.warn(pending.endpoint.name, "an event failed for good", reason)
        self._finish(pending, Outcome(Result.FAILED, reason, pending.attempts, status, location))

    def _again(self, pending: Pending, reason: str, status: int | None = None, asked: float = 0.0) -> None:
        """Try the event again after a while, which its lane waits for, or give it up."""
        now = self._loop.time()
        wait = self._config.schedule.wait(pending.attempts, now - pending.born, asked)
        if pending.forgotten:
            self._finish(pending, Outcome(Result.FORGOTTEN, "the owner was deleted", pending.attempts, status))
        elif pending.event.url in pending.endpoint.disabled:
            self._finish(pending, _gone(pending.attempts, status))
        elif wait is None:
            self._fail(pending, f"{reason}; tried {pending.attempts} times", status)
        else:
            self._delay(pending.lane, now + wait)
            self._make_room(pending.endpoint)

    def _disable(self, pending: Pending, status: int) -> None:
        """410: the webhook is not called again until it is enabled."""
        endpoint, url = pending.endpoint, pending.event.url
        if url not in endpoint.disabled:
            log.warning("Webhooks of %s: one answered 410 Gone and is disabled", endpoint.name)
            endpoint.disabled.add(url)
        self._finish(pending, _gone(pending.attempts, status))
        for other in endpoint.waiting_for(url):
            self._finish(other, _gone(other.attempts))

    # --- time ---

    def _delay(self, lane: Lane, due: float) -> None:
        lane.standing = Standing.DELAYED
        lane.due = due
        self._delays += 1
        if len(self._delayed) > 2 * self._delays + 64:  # most are of lanes whose first event was dropped meanwhile
            self._delayed = [entry for entry in self._delayed if _is_due(entry)]
            heapq.heapify(self._delayed)
        heapq.heappush(self._delayed, (due, next(self._numbers), lane))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            if self._delayed and self._timer.when() == self._delayed[0][0]:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._delayed[0][0], self._on_due) if self._delayed else None

    def _on_due(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._delayed and self._delayed[0][0] <= now:
            entry = heapq.heappop(self._delayed)
            lane = entry[2]
            if _is_due(entry):
                self._delays -= 1
                lane.endpoint.make_ready(lane)
                self._turns.list(lane.endpoint)
        self._set_timer()
        self._start()


def _is_due(entry: tuple[float, int, Lane]) -> bool:
    """Whether the lane still waits for this moment."""
    due, _, lane = entry
    return lane.standing is Standing.DELAYED and lane.due == due


def _gone(attempts: int, status: int | None = None) -> Outcome:
    return Outcome(Result.DISABLED, "the webhook answered 410 Gone and is disabled", attempts, status)


def _explained(error: OSError) -> str:
    """The error for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate can't be trusted: {error.verify_message}"
    return error.strerror or str(error) or type(error).__name__
