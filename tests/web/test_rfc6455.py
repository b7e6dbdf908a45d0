"""The rules of WebSockets themselves (RFC 6455), over real sockets, whichever protocol is spoken on top."""

from __future__ import annotations

import asyncio
import struct

import pytest

from tests.web.support import LEGACY, PROTOCOL, RawClient, Server, raw, serving
from tycostream.web.application import WebConfig
from tycostream.web.envelope import text_frame

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

pytestmark = pytest.mark.parametrize("protocol", [PROTOCOL, LEGACY])


async def assert_refused(server: Server, client: RawClient, code: int = 1002) -> None:
    """The connection is closed with the code, and nothing reaches the inbox, whatever the client still sends."""
    inbox = await server.inbox()
    client.text("not heard")
    assert (await client.frame()).close[0] == code
    assert await client.eof() == b""
    client.writer.close()
    await inbox.ended()
    assert inbox.texts.empty()


async def test_a_message_in_fragments_with_control_frames_between_them(protocol: str) -> None:
    """Section 5.4: control frames may stand in the middle of a message."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        assert inbox.info.protocol == protocol
        for number, letter in enumerate("grüße".encode()):
            client.send(TEXT if number == 0 else CONTINUATION, bytes([letter]), final=False)
            client.send(PING, bytes([number]) * number)
            pong = await client.frame()
            assert (pong.opcode, pong.payload) == (PONG, bytes([number]) * number)
            client.send(PONG, b"nobody asked")
        client.send(CONTINUATION, b"", final=True)
        assert await inbox.text() == "grüße"
        client.text("the next")
        assert await inbox.text() == "the next"


async def test_the_newest_of_many_pings_is_answered(protocol: str) -> None:
    """Section 5.5.3: with the ping's payload; the pong of the most recent one is enough."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        for number in range(100):
            client.send(PING, str(number).encode())
        last = b""
        while last != b"99":
            pong = await client.frame()
            assert pong.opcode == PONG
            assert int(pong.payload) > int(last or -1)
            last = pong.payload


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 3000, 4000, 4999])
async def test_a_close_is_answered_with_its_code(protocol: str, code: int) -> None:
    """Section 5.5.1: an endpoint typically echoes the status code that it received."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        client.send(CLOSE, struct.pack("!H", code) + "grüße".encode())
        client.text("not heard")
        answer = await client.frame()
        assert answer.close == (code, "")
        assert await client.eof() == b""
        assert await inbox.ended() == (code, "grüße")
        assert inbox.texts.empty()


async def test_a_close_without_a_code_is_answered_without_one(protocol: str) -> None:
    """Section 5.5.1: the body is optional."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        client.send(CLOSE)
        answer = await client.frame()
        assert (answer.opcode, answer.payload) == (CLOSE, b"")
        assert await client.eof() == b""
        assert await inbox.ended() == (None, None)


@pytest.mark.parametrize(
    "payload",
    [b"\x03"] + [struct.pack("!H", code) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)]
    + [b"\x03\xe8\xff\xfe", b"\x03\xe8\xed\xa0\x80"],
)  # fmt: skip
async def test_a_close_that_says_nothing_valid_is_a_protocol_error(protocol: str, payload: bytes) -> None:
    """Sections 5.5.1 and 7.4: a code of two bytes, out of those that may be sent, and a reason in UTF-8."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(CLOSE, payload)
        await assert_refused(server, client)


async def test_a_close_in_the_middle_of_a_message_ends_it(protocol: str) -> None:
    """Section 5.4: a control frame; the message is never whole."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        client.send(TEXT, b"half", final=False)
        client.send(CLOSE, struct.pack("!H", 1000))
        assert (await client.frame()).close == (1000, "")
        await inbox.ended()
        assert inbox.texts.empty()


@pytest.mark.parametrize("reserved", [0x40, 0x20, 0x10, 0x70])
@pytest.mark.parametrize("opcode", [TEXT, PING])
async def test_reserved_bits_are_a_protocol_error(protocol: str, reserved: int, opcode: int) -> None:
    """Section 5.2: they are zero, since no extension was agreed on."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(opcode, b"{}", reserved=reserved)
        await assert_refused(server, client)


@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
async def test_reserved_opcodes_are_a_protocol_error(protocol: str, opcode: int) -> None:
    """Section 5.2."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(opcode, b"{}")
        await assert_refused(server, client)


@pytest.mark.parametrize(
    ("opcode", "payload", "final"),
    [(TEXT, b"{}", True), (TEXT, b"{}", False), (PING, b"", True), (CLOSE, b"\x03\xe8", True), (TEXT, b"", True)],
)
async def test_a_frame_without_a_mask_is_a_protocol_error(
    protocol: str, opcode: int, payload: bytes, *, final: bool
) -> None:
    """Section 5.1: the server must close the connection, and may do so with 1002."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(opcode, payload, final=final, masked=False)
        await assert_refused(server, client)


@pytest.mark.parametrize("masked", [(True, False), (False, True)])
async def test_one_fragment_without_a_mask_is_a_protocol_error(protocol: str, masked: tuple[bool, bool]) -> None:
    """Section 5.1: every frame."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(TEXT, b"half", final=False, masked=masked[0])
        client.send(CONTINUATION, b"half", masked=masked[1])
        await assert_refused(server, client)


async def test_an_error_of_ours_is_not_called_the_clients(
    protocol: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Section 7.4.1: 1002 says that the client broke the protocol."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        monkeypatch.setattr(inbox, "texts", None)
        client.text("{}")
        assert await client.eof() == b""
        await inbox.ended()
        assert "AttributeError" in caplog.text


async def test_a_control_frame_of_more_than_125_bytes_is_a_protocol_error(protocol: str) -> None:
    """Section 5.5."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(PING, b"x" * 126)
        await assert_refused(server, client)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
async def test_a_control_frame_in_fragments_is_a_protocol_error(protocol: str, opcode: int) -> None:
    """Section 5.5."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(opcode, final=False)
        await assert_refused(server, client)


async def test_a_continuation_of_nothing_is_a_protocol_error(protocol: str) -> None:
    """Section 5.4."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(CONTINUATION, b"{}")
        await assert_refused(server, client)


async def test_a_message_within_a_message_is_a_protocol_error(protocol: str) -> None:
    """Section 5.4: fragments of one message do not interleave with another's."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        client.send(TEXT, b"half", final=False)
        client.send(TEXT, b"whole")
        await assert_refused(server, client)


async def test_a_protocol_error_is_told_though_more_is_under_way(protocol: str) -> None:
    """Section 7.1.1: what the client still sends is read, or the reset would overtake the close frame."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        client.send(0x3)
        for _ in range(100):
            client.send(TEXT, b"x" * 100_000)
        await asyncio.wait_for(client.writer.drain(), 10)
        assert (await client.frame()).close[0] == 1002
        await inbox.ended()
        assert inbox.texts.empty()


async def test_a_protocol_error_after_the_servers_close_just_ends_the_connection(protocol: str) -> None:
    """Section 5.5.1: no frames after a close frame."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        inbox.transport.close(1013, "too slow")
        assert (await client.frame()).close == (1013, "too slow")
        client.send(0x3)
        assert await client.eof() == b""
        await inbox.ended()


@pytest.mark.parametrize("fragments", [[600], [400, 200], [1] * 501, [0, 501], [499, 2]])
async def test_a_message_beyond_the_limit_is_closed_with_1009(protocol: str, fragments: list[int]) -> None:
    """Section 7.4.1. The limit is for the whole message."""
    async with serving(WebConfig(max_message_bytes=500)) as server, raw(server.port, protocol=protocol) as client:
        for number, size in enumerate(fragments):
            last = number == len(fragments) - 1
            client.send(CONTINUATION if number else TEXT, b"x" * size, final=last)
        await assert_refused(server, client, 1009)


@pytest.mark.parametrize(("opcode", "payload"), [(BINARY, b"{}"), (BINARY, b""), (TEXT, b"\xff"), (TEXT, b"\xc3")])
async def test_what_is_no_text_is_closed_with_4400(protocol: str, opcode: int, payload: bytes) -> None:
    """Sections 5.6 and 8.1, and PROTOCOL.md of enisdenjo/graphql-ws. The older protocol says nothing of it."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        client.send(opcode, payload)
        assert (await client.frame()).close[0] == 4400
        client.send(CLOSE, struct.pack("!H", 4400))
        assert await client.eof() == b""
        await inbox.ended()
        assert inbox.texts.empty()


async def test_what_the_server_sends_before_a_protocol_error_arrives(protocol: str) -> None:
    """Section 7.1.1."""
    async with serving() as server, raw(server.port, protocol=protocol) as client:
        inbox = await server.inbox()
        inbox.transport.send(text_frame(b"first"))
        client.send(TEXT, b"{}", masked=False)
        assert (await client.frame()).payload == b"first"
        assert (await client.frame()).close == (1002, "not a frame that a client may send")
        assert await client.eof() == b""
