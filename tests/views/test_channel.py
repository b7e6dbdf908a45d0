"""Which channels are ready for a change: after any history exactly those that nothing stands before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.views.support import Lines, subscription
from tycostream.views import Outlet, Subscription
from tycostream.views.views import Group, Views


class Socket:
    def put(self, _frames: bytes) -> int:
        raise AssertionError("nobody sends here")

    def left(self, _frames: bytes, _taken: int) -> None:
        raise AssertionError("nobody sends here")


_outlets = st.integers(0, 2)
_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["release", "occupy"]), _outlets),
        st.tuples(
            st.just("add"), _outlets, st.sampled_from(["a", "b", "longer"]), st.sampled_from([None, "X"]), st.booleans()
        ),
        st.tuples(st.sampled_from(["end", "remove", "tell"]), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps=_steps)
def test_ready_are_those_that_nothing_stands_before(steps: list[tuple[Any, ...]]) -> None:
    views = Views()
    outlets = [Outlet(None, Socket()) for _ in range(3)]
    here: list[Subscription] = []
    for step, *rest in steps:
        match step:
            case "release":
                outlets[rest[0]].release()
            case "occupy":
                outlets[rest[0]].occupy()
            case "add":
                at, operation_id, symbol, explained = rest
                where = symbol and {"symbol": {"_eq": symbol}}
                one = replace(subscription(operation_id, where), outlet=outlets[at], envelope=Lines(operation_id))
                one.explanation = b"{}" if explained else None
                here.append(one)
                views.add(one)
            case "end" if here:
                here[rest[0] % len(here)].end()
            case "tell" if here:
                one = here[rest[0] % len(here)]
                assert one.take_news() in (None, b"{}")
                assert one.take_news() is None
            case "remove" if here:
                assert views.remove(here.pop(rest[0] % len(here)))
        _check([group for view in views for group in view.groups.values()], here)


def _check(groups: list[Group], here: list[Subscription]) -> None:
    assert {one for group in groups for one in group.subscriptions} == set(here)
    assert sum(group.channels.subscribed for group in groups) == len(here)
    followed = [channel.outlet for group in groups for channel in group.channels]
    for group in groups:
        ready: set[Any] = set()
        for envelope, sockets in group.channels.ready.items():
            assert sockets, "nothing is kept for those who are not there"
            assert sockets.envelope == envelope
            for put, channel in sockets.items():
                ready.add(channel)
                assert put == channel.outlet.sender.put
                envelopes = [one.envelope for one in channel.subscriptions]
                assert envelopes == [envelope] if envelope is not None else len(envelopes) > 1
        assert ready == {
            channel
            for channel in group.channels
            if channel.outlet.free
            and followed.count(channel.outlet) == 1
            and all(one.live and one.explanation is None for one in channel.subscriptions)
        }
        assert set(group.channels.occupied) == set(group.channels) - ready
