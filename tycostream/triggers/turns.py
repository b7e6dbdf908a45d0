"""Whose turn it is: calls are bounded for each endpoint and for all together, and endpoints take turns.

An endpoint that is failing holds its calls until their time is up. It therefore gets one call at a time, and all
failing ones together half of the calls; healthy and failing ones take turns too.
"""

from __future__ import annotations

from collections import OrderedDict

from tycostream.triggers.endpoint import Endpoint


class Turns:
    """Endpoints that have something to send and are below their bound, in the order of their turns."""

    def __init__(self, most: int, most_per_endpoint: int) -> None:
        self._most = most
        self._most_per_endpoint = min(most_per_endpoint, max(1, most - 1))
        self._most_failing = max(1, most // 2)
        self._in_flight = 0
        self._failing_in_flight = 0
        self._healthy: OrderedDict[Endpoint, None] = OrderedDict()
        self._failing: OrderedDict[Endpoint, None] = OrderedDict()
        self._failing_first = False

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not self._in_flight

    def list(self, endpoint: Endpoint) -> None:
        """The endpoint may have something to send: it gets a turn after those that are listed already."""
        if endpoint.ready and endpoint.account.in_flight < (1 if endpoint.failing else self._most_per_endpoint):
            (self._failing if endpoint.failing else self._healthy)[endpoint] = None

    def next(self) -> Endpoint | None:
        """Whose turn it is; None where nobody may send now. `list` it again after its call has begun."""
        if self._in_flight >= self._most:
            return None
        failing = self._failing if self._failing_in_flight < self._most_failing else None
        for queue in (failing, self._healthy) if self._failing_first else (self._healthy, failing):
            while queue:
                endpoint, _ = queue.popitem(last=False)
                if endpoint.ready:  # what it had may have been dropped
                    self._failing_first = queue is self._healthy
                    return endpoint
        return None

    def began(self, endpoint: Endpoint) -> None:
        """A call of the endpoint began, and is in its account."""
        self._in_flight += 1
        self._failing_in_flight += endpoint.failing

    def ended(self, endpoint: Endpoint, answered: bool | None) -> None:
        """A call ended, and is no longer in its account; `answered` is None where that says nothing of the endpoint."""
        self._in_flight -= 1
        self._failing_in_flight -= endpoint.failing
        if answered is None:
            return
        before = endpoint.failing
        endpoint.unanswered = 0 if answered else endpoint.unanswered + 1
        if endpoint.failing is not before:
            self._failing_in_flight += endpoint.account.in_flight * (1 if endpoint.failing else -1)
            self._healthy.pop(endpoint, None)
            self._failing.pop(endpoint, None)
