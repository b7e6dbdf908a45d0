"""Frames come whole and in order however the bytes are cut, and no more are held than may be."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tycostream.databases.reader import frames
from tycostream.databases.reader.child import FRAME
from tycostream.databases.reader.frames import READ_BYTES, Frames

Frame = tuple[bytes, bytes]


class Socket(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


def connected() -> tuple[Frames, Socket]:
    one, socket = Frames(), Socket()
    one.connection_made(socket)
    return one, socket


def receive(one: Frames, data: bytes) -> None:
    for start in range(0, len(data), READ_BYTES):
        part = data[start : start + READ_BYTES]
        one.get_buffer(-1)[: len(part)] = part
        one.buffer_updated(len(part))


def encoded(frame: Frame) -> bytes:
    return FRAME.pack(frame[0], len(frame[1])) + frame[1]


@given(st.lists(st.tuples(st.sampled_from([b"l", b"f"]), st.binary(max_size=50)), max_size=8), st.data())
def test_frames_come_whole_and_in_order(sent: list[Frame], data: st.DataObject) -> None:
    whole = b"".join(map(encoded, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))

    async def read() -> list[Frame]:
        one, _socket = connected()
        taken: list[Frame] = []
        for start, end in pairwise((0, *cuts, len(whole))):
            receive(one, whole[start:end])
            while data.draw(st.booleans()) and (frame := await one.take(0)) is not None:
                taken.append(frame)
        one.connection_lost(None)
        while True:
            try:
                frame = await one.take()
            except EOFError:
                return taken
            assert frame is not None
            taken.append(frame)

    assert asyncio.run(asyncio.wait_for(read(), 5)) == sent


@given(st.lists(st.integers(0, 200), min_size=1, max_size=20))
def test_the_rest_stays_where_it_is_but_a_long_frame_is_read_to_its_end(sizes: list[int]) -> None:
    async def read() -> None:
        one, socket = connected()
        sent = [(b"l", bytes(size)) for size in sizes]
        rest = b"".join(map(encoded, sent))
        held = 0
        for frame in sent:
            while not socket.paused and rest:
                receive(one, rest[:7])
                held += min(7, len(rest))
                rest = rest[7:]
            assert held <= max(100, len(encoded(frame))) + 7
            assert await one.take() == frame
            held -= len(encoded(frame))
            assert not socket.paused or held >= 100
        assert not rest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "HELD_BYTES", 100)
        asyncio.run(asyncio.wait_for(read(), 5))


async def test_who_waits_is_told_of_a_frame_of_the_end_and_that_nothing_has_come() -> None:
    one, _socket = connected()
    assert await one.take(0.001) is None
    waiting = asyncio.ensure_future(one.take())
    await asyncio.sleep(0)
    receive(one, encoded((b"l", b"a line\n")))
    assert await asyncio.wait_for(waiting, 5) == (b"l", b"a line\n")
    waiting = asyncio.ensure_future(one.take(60))
    await asyncio.sleep(0)
    one.connection_lost(None)
    with pytest.raises(EOFError):
        await asyncio.wait_for(waiting, 5)
