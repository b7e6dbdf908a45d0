"""What a client was told, message by message: losing, doubling and reordering are found."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from benchmarks.clients import LostError, sink
from benchmarks.plain import plain
from benchmarks.replay import ReplayError, digest, replay
from benchmarks.rows import row, shown, update_frame


def told(
    operation: str, identifier: int, fields: list[str] | None = None, operation_id: str = "1", **more: Any
) -> bytes:
    """A message as a frame."""
    data = {"id": identifier, **more}
    update = {"operation": operation, "data": data, "fields": list(data) if fields is None else fields}
    text = json.dumps(
        {"id": operation_id, "type": "next", "payload": {"data": {"trades": update}}}, separators=(",", ":")
    )
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text.encode()


ONE = told("INSERT", 1, price=1.0, made_at="0")


def test_changes_lead_to_rows() -> None:
    data = (
        ONE + told("INSERT", 2, price=2.0) + told("UPDATE", 1, ["price"], price=3.5, made_at=None) + told("DELETE", 2)
    )
    (follower,) = replay(data).values()
    assert follower.rows == {"1": {"id": 1, "price": 3.5, "made_at": "0"}}
    assert follower.messages == 4


def test_operations_are_followed_apart() -> None:
    found = replay(ONE + told("INSERT", 1, operation_id="2", price=5.0))
    assert {key: one.rows["1"]["price"] for key, one in found.items()} == {"1": 1.0, "2": 5.0}


@pytest.mark.parametrize(("data", "error"), [
    (ONE + ONE, "message 2: INSERT of row 1"),
    (ONE + told("UPDATE", 2, ["price"], price=1.0), "message 2: UPDATE of row 2"),
    (ONE + told("DELETE", 2), "message 2: DELETE of row 2"),
    (ONE + told("UPDATE", 1, ["made_at"], made_at="20") + told("UPDATE", 1, ["made_at"], made_at="10"), "message 3: made before"),
    (ONE[:-1], "not whole"),
])  # fmt: skip
def test_what_is_wrong_is_told(data: bytes, error: str) -> None:
    with pytest.raises(ReplayError, match=error):
        replay(data)


def test_a_digest_is_that_of_the_rows_in_any_order() -> None:
    first, second = shown(row(1)), shown(row(2))
    assert digest({"1": first, "2": second}) == digest({"2": second, "1": first})
    assert digest({"1": first}) != digest({"1": first | {"price": 1.5}})


async def test_clients_that_lose_double_or_differ_are_found() -> None:
    frames = [
        told("INSERT", 0, operation_id="00000", **{key: value for key, value in shown(row(0)).items() if key != "id"})
    ]
    frames += [update_frame(row(0, 1.0 + number, number)) for number in range(1, 5)]
    after = {"0": shown(row(0, 5.0, 4))}
    async with sink() as process:
        for sent, messages, error in (
            ((frames, frames), 5, None),
            ((frames, [*frames[:3], *frames[4:], frames[4]]), 5, "other bytes"),  # lost one, and had another twice
            (([*frames[:2], frames[3], frames[2], frames[4]], frames), 5, "made before"),
            ((frames[:4], frames[:4]), 4, "other rows"),
        ):
            async with plain(process, 2) as beside:
                for opened, data in zip(beside.sockets, sent, strict=True):
                    opened.send(b"".join(data)[:300])  # a message in two pieces
                    await asyncio.sleep(0)
                    opened.send(b"".join(data)[300:])
                seen = await beside.group.reached(messages)
                assert 1 <= seen.segments <= 2
                if error is None:
                    await beside.group.check(messages, after)
                else:
                    with pytest.raises(LostError, match=error):
                        await beside.group.check(messages, after)
        async with plain(process, 2) as beside:
            beside.sockets[0].send(b"".join(frames))
            beside.sockets[1].send(b"".join(frames[:-1]))
            beside.sockets[0].send(frames[-1])
            with pytest.raises(LostError, match="lost or doubled"):
                await beside.group.reached(5)


async def test_a_connection_that_is_refused_or_closed_ends_the_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with sink() as process:
        with pytest.raises(LostError, match="3 connections were refused"):
            await process.connect(port, 3)
        async with plain(process, 2) as beside:
            beside.sockets[0].close()
            with pytest.raises(LostError, match="1 connections were refused or closed"):
                await beside.group.reached(1)
