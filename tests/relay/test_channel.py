"""Frames come out whole however the bytes come; questions find their answers; who is behind is not sent more."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.actors.support import until
from tycostream.relay.calls import CallError, Calls
from tycostream.relay.channel import LONGEST, Channel, ChannelError, FrameReader, Kind, framed

frames = st.lists(st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=50)), max_size=8)


@given(frames, st.lists(st.integers(1, 30), min_size=1, max_size=200))
def test_frames_are_whole_however_they_come(sent: list[tuple[Kind, int, bytes]], sizes: list[int]) -> None:
    data = b"".join(framed(*frame) for frame in sent)
    reader, heard, at = FrameReader(), [], 0
    for size in sizes:
        heard += reader.feed(data[at : at + size])
        at += size
    heard += reader.feed(data[at:])
    assert heard == sent


@pytest.mark.parametrize("head", [b"\0\0\0\1\x63\0\0\0\0x", (LONGEST + 1).to_bytes(4, "big") + b"\1\0\0\0\0"])
def test_what_is_no_frame_is_refused(head: bytes) -> None:
    with pytest.raises(ChannelError):
        FrameReader().feed(head)


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    ends = await Channel.over(one), await Channel.over(other)
    lost = [asyncio.get_running_loop().create_future() for _ in ends]
    for end, future in zip(ends, lost, strict=True):
        end.on_lost = future.set_result
    try:
        yield ends
    finally:
        ends[0].close()
        ends[1].close()
        await asyncio.wait_for(asyncio.gather(*lost), 10)


async def test_who_holds_is_sent_no_more_than_there_is_room_for() -> None:
    async with pair() as (one, other):
        heard = 0

        def hear(_kind: Kind, _stream: int, payload: bytes) -> None:
            nonlocal heard
            heard += len(payload)

        other.hear = hear
        room = asyncio.Event()
        one.on_room = room.set
        other.hold("a")
        other.hold("b")
        while one.has_room:
            one.send(Kind.ROWS, 1, bytes(100_000))
            await asyncio.sleep(0)
        sent = one.sent_bytes
        assert one.waiting_bytes > 0
        other.let_go("a")
        await asyncio.sleep(0)
        assert heard < sent
        other.let_go("b")
        await asyncio.wait_for(room.wait(), 10)
        await until(lambda: heard == sent)
        assert one.has_room


async def test_what_is_no_frame_ends_the_channel(io_loop: Any) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    one, other = socket.socketpair()
    channel = await Channel.over(one)
    lost = asyncio.get_running_loop().create_future()
    channel.on_lost = lost.set_result
    other.sendall(b"\0\0\0\1\x63\0\0\0\0x")
    await asyncio.wait_for(lost, 10)
    assert other.recv(10) == b""
    other.close()
    channel.send(Kind.ROWS, 1, b"nobody hears it")
    assert channel.sent_frames == 0


async def test_questions_find_their_answers_in_any_order() -> None:
    async with pair() as (one, other):
        gates = {"slow": asyncio.Event(), "fast": asyncio.Event()}

        async def answer(name: str, arguments: dict[str, Any]) -> Any:
            if name == "broken":
                raise ValueError("nobody's business")
            await gates[name].wait()
            return {"you said": arguments}

        async def nothing(_name: str, _arguments: dict[str, Any]) -> Any:
            raise AssertionError

        asking, answering = Calls(one.say, nothing), Calls(other.say, answer)
        one.hear = lambda _kind, _stream, payload: asking.heard(json.loads(payload)) and None
        other.hear = lambda _kind, _stream, payload: answering.heard(json.loads(payload)) and None
        slow = asyncio.ensure_future(asking.ask("slow", 10, a=1))
        fast = asyncio.ensure_future(asking.ask("fast", 10, b=[None, 2**70]))
        gates["fast"].set()
        assert await fast == {"you said": {"b": [None, 2**70]}}
        assert not slow.done()
        gates["slow"].set()
        assert await slow == {"you said": {"a": 1}}
        with pytest.raises(CallError, match=r"it failed with ValueError$"):
            await asking.ask("broken", 10)
        gates["slow"].clear()
        with pytest.raises(CallError, match=r"has not answered within 0\.01 s"):
            await asking.ask("slow", 0.01)
        waiting = asyncio.ensure_future(asking.ask("slow", 10))
        await asyncio.sleep(0)
        await asking.close()
        with pytest.raises(CallError, match="gone"):
            await waiting
        with pytest.raises(CallError, match="gone"):
            await asking.ask("fast")
        await answering.close()
