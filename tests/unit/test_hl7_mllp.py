"""Frames over real sockets: split and joined anywhere, answered in order, bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from adapters.hl7.connection import Limits
from adapters.hl7.faults import Fault
from adapters.hl7.framing import END, VT, Deframer, TooLong
from adapters.hl7.mllp import Listener
from fhir_server.errors import Unavailable


class Answered(NamedTuple):
    frames: list[bytes]


class Echo:
    """Answers each message with itself; a message `wait N` is answered once N others came after it."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, str]] = []
        self.came = asyncio.Condition()
        self.under_way = self.most = 0

    def take(self, raw: bytes, fault: Fault | None) -> Awaitable[Answered]:
        self.seen.append((raw, fault.code if fault else ""))
        return asyncio.create_task(self._answer(raw, fault, len(self.seen)))

    async def _answer(self, raw: bytes, fault: Fault | None, number: int) -> Answered:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async with self.came:
                self.came.notify_all()
                if raw.startswith(b"wait "):
                    wanted = number + int(raw[5:])
                    await self.came.wait_for(lambda: len(self.seen) >= wanted)
            await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        return Answered([] if raw == b"silent" else [fault.code.encode() if fault else raw])


USUAL = Limits()


@asynccontextmanager
async def listening(echo: Echo, limits: Limits = USUAL) -> AsyncIterator[Listener]:
    listener = Listener("127.0.0.1:0", lambda peer: echo.take, limits)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


class Sender:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def receive(self) -> bytes:
        async with asyncio.timeout(120):
            frame = await self.reader.readuntil(END)
        assert frame.startswith(VT)
        return frame[1:-2]

    async def closed(self) -> bool:
        async with asyncio.timeout(120):
            return await self.reader.read() == b""


@asynccontextmanager
async def connected(listener: Listener) -> AsyncIterator[Sender]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        yield Sender(reader, writer)
    finally:
        await hang_up(writer)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection and wait until it is; what was not sent is not waited for."""
    if writer.transport.get_write_buffer_size():
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            await writer.wait_closed()


def frame(text: bytes) -> bytes:
    return VT + text + END


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        pytest.param(frame(b"one"), [b"one"], id="one frame"),
        pytest.param(frame(b"one") + frame(b"two"), [b"one", b"two"], id="two in one packet"),
        pytest.param(b"\r\n\x00 " + frame(b"one") + b"\x00\x00\r\n" + frame(b"two"), [b"one", b"two"], id="NUL and line ends between"),
        pytest.param(frame(b"a\x1cb"), [b"a\x1cb"], id="FS inside a message"),
        pytest.param(VT + b"one\x1c" + frame(b"two"), [b"one", b"two"], id="FS without CR before the next frame"),
        pytest.param(VT + b"MSH|cut" + frame(b"MSH|two"), [b"MSH|two"], id="a frame without end is not answered, the next one is"),
        pytest.param(frame(b"MSH|one\x0btwo"), [b"MSH|one\x0btwo"], id="VT inside a text"),
        pytest.param(frame(b"one") + frame(b"MSH|" + b"\x0b" * 99), [b"one", b"MSH|" + b"\x0b" * 99], id="many of them"),
        pytest.param(b"junk" + frame(b"one"), [b"one"], id="other bytes before a frame"),
        pytest.param(frame(b""), [b""], id="an empty frame"),
        pytest.param(frame(b"silent") + frame(b"one"), [b"one"], id="what is not answered"),
    ],
)  # fmt: skip
async def test_what_is_sent_and_what_is_answered(sent: bytes, answers: list[bytes]) -> None:
    async with listening(Echo()) as listener, connected(listener) as sender:
        sender.writer.write(sent)
        assert [await sender.receive() for _ in answers] == answers


async def test_a_frame_may_arrive_byte_by_byte() -> None:
    async with listening(Echo()) as listener, connected(listener) as sender:
        for byte in frame(b"slowly"):
            sender.writer.write(bytes([byte]))
            await sender.writer.drain()
            await asyncio.sleep(0)
        assert await sender.receive() == b"slowly"


async def test_answers_keep_the_order_of_the_messages_though_a_later_one_is_done_first() -> None:
    echo = Echo()
    async with listening(echo) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"wait 2") + frame(b"two") + frame(b"three"))
        assert [await sender.receive() for _ in range(3)] == [b"wait 2", b"two", b"three"]
        assert echo.most >= 2


async def test_two_hundred_messages_on_one_connection() -> None:
    echo = Echo()
    async with listening(echo, Limits(in_flight=8)) as listener, connected(listener) as sender:
        texts = [f"m{n}".encode() for n in range(200)]
        sender.writer.write(b"".join(frame(text) for text in texts))
        assert [await sender.receive() for _ in texts] == texts
        assert echo.most <= 8


async def test_a_long_message_takes_the_room_of_many() -> None:
    echo = Echo()
    async with listening(echo, Limits(max_message=1000, in_flight=4)) as listener, connected(listener) as sender:
        texts = [bytes([65 + n]) * 900 for n in range(6)]
        sender.writer.write(b"".join(frame(text) for text in texts))
        assert [await sender.receive() for _ in texts] == texts
        assert echo.most == 1


async def test_a_sender_that_is_done_writing_still_gets_its_answers() -> None:
    async with listening(Echo()) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"one") + VT + b"two\x1c")
        sender.writer.write_eof()
        assert [await sender.receive(), await sender.receive()] == [b"one", b"two"]
        assert await sender.closed()


async def test_a_frame_that_the_sender_leaves_unfinished_is_a_fault() -> None:
    echo = Echo()
    async with listening(echo) as listener, connected(listener) as sender:
        sender.writer.write(VT + b"MSH|never ends")
        sender.writer.write_eof()
        assert await sender.receive() == b"100"
    assert echo.seen == [(b"MSH|never ends", "100")]


async def test_a_message_over_the_limit_is_told_and_the_connection_ends() -> None:
    async with listening(Echo(), Limits(max_message=10)) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"0123456789") + frame(b"0123456789X"))
        assert [await sender.receive(), await sender.receive()] == [b"0123456789", b"207"]
        assert await sender.closed()
        async with connected(listener) as other:
            other.writer.write(frame(b"fine"))
            assert await other.receive() == b"fine"


async def test_endless_junk_ends_the_connection() -> None:
    async with listening(Echo(), Limits(max_junk=100)) as listener, connected(listener) as sender:
        sender.writer.write(b"x" * 101)
        assert await sender.receive() == b"207"
        assert await sender.closed()


async def test_a_frame_that_stalls_ends_its_connection_and_no_other() -> None:
    async with listening(Echo(), Limits(stall_s=0.05)) as listener:
        async with connected(listener) as slow, connected(listener) as idle:
            slow.writer.write(VT + b"begun")
            assert await slow.closed()
            idle.writer.write(frame(b"still here"))
            assert await idle.receive() == b"still here"
        assert listener.counts["stalled"] == 1


async def test_one_connection_too_many_is_closed_at_once() -> None:
    async with listening(Echo(), Limits(connections=1)) as listener, connected(listener) as first:
        first.writer.write(frame(b"one"))
        assert await first.receive() == b"one"
        async with connected(listener) as second:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await second.receive()
        assert listener.counts["refused"] == 1


async def test_a_port_that_is_taken_is_named() -> None:
    async with listening(Echo()) as listener:
        other = Listener(f"127.0.0.1:{listener.port}", lambda peer: Echo().take, Limits())
        with pytest.raises(Unavailable) as caught:
            await other.start()
        assert str(listener.port) in caught.value.text


async def test_stopping_answers_what_is_under_way_and_closes() -> None:
    listener = Listener("127.0.0.1:0", lambda peer: Echo().take, Limits())
    await listener.start()
    async with connected(listener) as sender:
        sender.writer.write(frame(b"one"))
        assert await sender.receive() == b"one"
        await listener.stop()
        assert await sender.closed()
    await listener.stop()


async def test_a_sender_that_goes_away_harms_nothing() -> None:
    echo = Echo()
    async with listening(echo) as listener:
        async with connected(listener) as sender:
            sender.writer.write(frame(b"wait 1"))
            await sender.writer.drain()
            async with echo.came:
                await echo.came.wait_for(lambda: len(echo.seen) == 1)
            sender.writer.transport.abort()
        async with connected(listener) as other:
            other.writer.write(frame(b"next"))
            assert await other.receive() == b"next"


def test_the_deframer_yields_what_is_complete_before_it_gives_up() -> None:
    deframer = Deframer(5, 100)
    frames = deframer.feed(frame(b"12345") + frame(b"123456"))
    assert next(frames).data == b"12345"
    with pytest.raises(TooLong):
        next(frames)
