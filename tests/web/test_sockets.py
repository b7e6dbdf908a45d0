"""Real WebSockets against a real server, frame by frame."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.web.support import PROTOCOL, WAIT, raw, serving
from tycostream.web.application import WebConfig
from tycostream.web.envelope import text_frame
from tycostream.web.websocket import LINGER_SECONDS, STALLED_PINGS, PatientProtocol


async def test_texts_go_both_ways() -> None:
    async with serving() as server, raw(server.port) as client:
        inbox = await server.inbox()
        assert (inbox.info.remote_address, inbox.info.protocol) == ("127.0.0.1", PROTOCOL)
        client.text("héllo")
        assert await inbox.text() == "héllo"
        inbox.transport.send(text_frame(b"one") + text_frame(b"two"))
        assert [(await client.frame()).payload for _ in range(2)] == [b"one", b"two"]


async def test_the_protocol_header_is_spelled_as_the_standard_does() -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        _, head = await client.handshake()
        assert f"\r\nSec-WebSocket-Protocol: {PROTOCOL}\r\n" in head
        assert "\r\nSec-WebSocket-Accept: " in head


async def test_the_library_is_understood() -> None:
    async with serving() as server:
        url = f"ws://127.0.0.1:{server.port}/graphql"
        async with connect(url, subprotocols=["x", PROTOCOL], user_agent_header="me") as client:  # type: ignore[list-item]
            assert client.subprotocol == PROTOCOL
            assert client.protocol.extensions == [], "compression costs 145 KiB a connection"
            inbox = await server.inbox()
            assert inbox.info.user_agent == "me"
            await client.send("x" * 100_000)
            assert await inbox.text() == "x" * 100_000
            await client.close(1000, "bye")
        assert await inbox.ended() == (1000, "bye")


@pytest.mark.parametrize("offered", [None, "graphql", "Graphql-Transport-Ws", "a, b"])
async def test_without_a_protocol_that_is_spoken_it_is_closed_with_4406(offered: str | None) -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        status, head = await client.handshake(Sec_WebSocket_Protocol=offered)
        assert status == 101
        assert "sec-websocket-protocol" not in head.lower()
        assert (await client.frame()).close == (4406, "Subprotocol not acceptable")
        client.send(8)
        await client.eof()
        assert not server.open


@pytest.mark.parametrize("headers", [
    {"Sec_WebSocket_Key": None},
    {"Sec_WebSocket_Version": None},
    {"Sec_WebSocket_Version": "8"},
    {"Connection": "keep-alive"},
])  # fmt: skip
async def test_a_handshake_that_is_none_is_refused(headers: dict[str, str | None]) -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        status, answer = await client.handshake(**headers)
        assert status in (400, 426)
        if status == 400:
            assert "errors" in json.loads(answer.split("\r\n\r\n")[1])
        assert not server.open


@pytest.mark.parametrize(("origin", "status"), [
    (None, 101), ("https://app.example", 101), ("HTTPS://APP.example", 101),
    ("https://evil.example", 403), ("null", 403),
])  # fmt: skip
async def test_origins_may_be_limited(origin: str | None, status: int) -> None:
    config = WebConfig(origins=frozenset({"https://app.example"}))
    async with serving(config) as server, raw(server.port, upgraded=False) as client:
        got, answer = await client.handshake(Origin=origin)
        assert got == status
        if status == 403:
            assert json.loads(answer.split("\r\n\r\n")[1])["errors"]


async def test_any_origin_is_fine_by_default() -> None:
    async with serving() as server, raw(server.port, upgraded=False) as client:
        assert (await client.handshake(Origin="https://evil.example", Sec_Fetch_Site="cross-site"))[0] == 101


async def test_more_connections_than_allowed_are_refused_until_one_leaves() -> None:
    async with serving(WebConfig(max_connections=1)) as server:
        url = f"ws://127.0.0.1:{server.port}/graphql"
        async with raw(server.port):
            first = await server.inbox()
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, subprotocols=[PROTOCOL])  # type: ignore[list-item]
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "5"
            assert json.loads(refused.value.response.body or b"")["errors"]
        await first.ended()
        async with raw(server.port):
            pass


async def test_a_connection_that_can_not_be_made_is_not_counted() -> None:
    async with serving(WebConfig(max_connections=1)) as server:
        server.refuse = RuntimeError("no actor today")
        async with raw(server.port) as client:
            await client.eof()
        server.refuse = None
        async with raw(server.port):
            await server.inbox()


@pytest.mark.parametrize(("opcode", "payload"), [(2, b"{}"), (1, b"\xff\xfe"), (1, b"\xed\xa0\x80")])
async def test_what_is_no_text_is_closed_with_4400(opcode: int, payload: bytes) -> None:
    async with serving() as server, raw(server.port) as client:
        inbox = await server.inbox()
        client.send(opcode, payload)
        code, reason = (await client.frame()).close
        assert code == 4400
        assert reason.startswith("Invalid message")
        inbox.transport.send(text_frame(b"too late"))
        client.text("not heard")
        client.send(8, b"\x11\x30")
        assert await client.eof() == b""
        await inbox.ended()
        assert inbox.texts.qsize() <= 1


async def test_a_message_in_fragments_is_one_message() -> None:
    async with serving() as server, raw(server.port) as client:
        inbox = await server.inbox()
        text = "grüße".encode()
        client.send(1, text[:3], final=False)  # within a character
        client.send(9, b"?")
        client.send(0, text[3:4], final=False)
        client.send(0, text[4:])
        assert await inbox.text() == "grüße"
        pong = await client.frame()
        assert (pong.opcode, pong.payload) == (10, b"?")


async def test_a_message_at_the_limit_is_heard_and_one_beyond_closes_with_1009() -> None:
    async with serving(WebConfig(max_message_bytes=1000)) as server, raw(server.port) as client:
        inbox = await server.inbox()
        client.send(1, b"x" * 1000)
        assert len(await inbox.text()) == 1000
        client.send(1, b"x" * 600, final=False)
        client.send(0, b"x" * 401)
        assert (await client.frame()).close == (1009, "message too big")
        await inbox.ended()
        inbox.transport.send(text_frame(b"never"))
        assert await client.eof(within=LINGER_SECONDS / 2) == b""


async def test_what_follows_a_message_that_is_too_big_is_taken_until_the_client_has_read_why() -> None:
    async with serving(WebConfig(max_message_bytes=1000)) as server, raw(server.port) as client:
        inbox = await server.inbox()
        client.send(1, b"x" * 20_000_000)
        await inbox.ended()
        inbox.transport.send(text_frame(b"never"))
        await asyncio.wait_for(client.writer.drain(), WAIT)
        await client.writer.drain()
        assert (await client.frame()).close == (1009, "message too big")


async def send_and_wait(client: ClientConnection) -> None:
    await client.send("x" * 20_000_000)
    await client.recv()


async def test_a_client_that_sends_far_too_much_learns_why() -> None:
    async with serving() as server:
        url = f"ws://127.0.0.1:{server.port}/graphql"
        client = await connect(url, subprotocols=[PROTOCOL])  # type: ignore[list-item]
        inbox = await server.inbox()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(send_and_wait(client), WAIT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        await inbox.ended()


async def test_a_claim_of_a_huge_frame_costs_nothing() -> None:
    async with serving() as server, raw(server.port) as client:
        client.send(1, b"", claim=2**62)
        assert (await client.frame()).close[0] == 1009


@pytest.mark.parametrize("payload", [b"", b"x" * 125])
async def test_pings_are_answered(payload: bytes) -> None:
    async with serving() as server, raw(server.port) as client:
        client.send(9, payload)
        pong = await client.frame()
        assert (pong.opcode, pong.payload) == (10, payload)


async def test_frames_of_tornado_and_ours_do_not_interleave() -> None:
    async with serving() as server, raw(server.port) as client:
        inbox = await server.inbox()
        big = b"x" * 2_000_000
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(4):
            inbox.transport.send(text_frame(big))
        assert inbox.transport.pending
        client.send(9, b"now")
        client.text("after the ping")
        await inbox.text()
        inbox.transport.send(text_frame(b"last"))
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        frames = [await client.frame() for _ in range(6)]
        assert [frame.opcode for frame in frames] == [1, 1, 1, 1, 10, 1]
        assert all(frame.payload == big for frame in frames[:4])
        assert frames[5].payload == b"last"
        await asyncio.wait_for(inbox.drained.wait(), WAIT)
        assert inbox.transport.pending == 0


async def test_a_client_that_answers_no_ping_is_dropped() -> None:
    async with serving(WebConfig(ping=0.05)) as server, raw(server.port) as client:
        inbox = await server.inbox()
        assert (await client.frame()).opcode == 9
        assert (await client.frame()).opcode == 8
        assert inbox.transport.blocked, "nothing goes behind a close frame"
        client.writer.transport.abort()
        await inbox.ended()


async def test_a_slow_client_that_takes_what_it_is_sent_is_not_dropped() -> None:
    async with serving(WebConfig(ping=0.2)) as server, raw(server.port) as client:
        inbox = await server.inbox()
        loop = asyncio.get_running_loop()
        for _ in range(200):
            inbox.transport.send(text_frame(b"x" * 100_000))
        end = loop.time() + 1.0
        frames = []
        while loop.time() < end:  # it reads, but never answers a ping
            frames.append(await client.frame())
            await asyncio.sleep(0.02)
        assert all(frame.opcode != 8 for frame in frames)


@pytest.fixture
def given_up(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Why the server has closed connections."""
    reasons: list[str | None] = []
    close = PatientProtocol.close

    def note(self: PatientProtocol, code: int | None = None, reason: str | None = None) -> None:
        reasons.append(reason)
        close(self, code, reason)

    monkeypatch.setattr(PatientProtocol, "close", note)
    return reasons


async def test_a_client_that_takes_little_of_a_large_message_is_not_dropped(given_up: list[str | None]) -> None:
    async with serving(WebConfig(ping=0.05)) as server, raw(server.port) as client:
        inbox = await server.inbox()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        inbox.transport.send(text_frame(b"x" * 50_000_000))
        loop = asyncio.get_running_loop()
        with client.writer.get_extra_info("socket").dup() as taken:
            taken.setblocking(False)
            end = loop.time() + 3 * STALLED_PINGS * 0.05
            while loop.time() < end:
                assert await loop.sock_recv(taken, 100_000)
                await asyncio.sleep(0.01)
            assert inbox.transport.pending
            assert not given_up


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell what was acknowledged")
async def test_a_client_that_takes_nothing_of_what_waits_is_dropped_after_a_while(given_up: list[str | None]) -> None:
    async with serving(WebConfig(ping=0.05)) as server, raw(server.port) as client:
        inbox = await server.inbox()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        inbox.transport.send(text_frame(b"x" * 50_000_000))
        began = loop.time()
        async with asyncio.timeout(WAIT):
            while not given_up:
                await asyncio.sleep(0.01)
        assert given_up == ["ping timed out"]
        assert loop.time() - began > STALLED_PINGS * 0.05


async def test_a_client_that_is_cut_off_is_told_as_closed() -> None:
    async with serving() as server:
        async with raw(server.port) as client:
            inbox = await server.inbox()
            client.send(1, b"unfinished", claim=5000)
        assert await inbox.ended() == (None, None)


async def test_the_server_closes_behind_what_it_has_sent() -> None:
    async with serving() as server, raw(server.port) as client:
        inbox = await server.inbox()
        inbox.transport.send(text_frame(b"last"))
        inbox.transport.close(1013, "too slow " + "é" * 100)
        inbox.transport.send(text_frame(b"never"))
        assert (await client.frame()).payload == b"last"
        code, reason = (await client.frame()).close
        assert code == 1013
        assert reason.startswith("too slow ")
        client.send(8, b"\x03\xf5")
        await client.eof()
        assert await inbox.ended() == (1013, None)


async def test_no_more_is_read_while_the_inbox_is_busy() -> None:
    async with serving() as server, raw(server.port) as client:
        inbox = await server.inbox()
        gate: asyncio.Future[None] = asyncio.Future()
        inbox.busy = gate
        client.text("first")
        client.text("second")
        client.send(9)
        assert await inbox.text() == "first"
        for _ in range(20):
            await asyncio.sleep(0)
        assert inbox.texts.empty()
        gate.set_result(None)
        inbox.busy = None
        assert await inbox.text() == "second"
        assert (await client.frame()).opcode == 10


async def test_a_client_that_leaves_while_the_inbox_is_busy_is_told_as_closed() -> None:
    async with serving() as server:
        async with raw(server.port) as client:
            inbox = await server.inbox()
            gate: asyncio.Future[None] = asyncio.Future()
            inbox.busy = gate
            client.text("first")
            await inbox.text()
        gate.set_result(None)
        await inbox.ended()
