"""What a connection may cost, who may have one, answers in two parts, certificates that are renewed; real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.hl7.channels import Peer
from adapters.hl7.connection import HangUp, Limits, Take
from adapters.hl7.faults import Fault
from adapters.hl7.framing import END, VT, whole
from adapters.hl7.handshake import Handshakes
from adapters.hl7.mllp import Listener
from adapters.hl7.tls import Certificates
from fhir_server.errors import Unavailable
from tests.blackbox.test_mllp import certificates
from tests.unit.test_hl7_mllp import Sender, connected, frame, hang_up

__all__ = ["certificates"]


class Answer:
    """An answer with another one that comes later."""

    def __init__(self, *frames: bytes, later: Awaitable[Any] | None = None) -> None:
        self.frames, self.later = list(frames), later


def echo(raw: bytes, fault: Fault | None) -> Awaitable[Answer]:
    made: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    made.set_result(Answer(fault.code.encode() if fault else raw))
    return made


class Listening:
    """A listener as a context manager."""

    def __init__(
        self,
        take: Take = echo,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        admit: Callable[[Peer], Take | None] | None = None,
        **more: Any,
    ) -> None:
        self.listener = Listener("127.0.0.1:0", admit or (lambda peer: take), limits, **more)

    async def __aenter__(self) -> Listener:
        await self.listener.start()
        return self.listener

    async def __aexit__(self, *_: object) -> None:
        await self.listener.stop()


async def test_the_second_part_of_an_answer_comes_on_the_same_connection_and_holds_back_no_other() -> None:
    applied: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def take(raw: bytes, fault: Fault | None) -> Answer:
        return Answer(b"CA " + raw, later=applied if raw == b"one" else None)

    async with Listening(take) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"one") + frame(b"two"))
        assert [await sender.receive(), await sender.receive()] == [b"CA one", b"CA two"]
        applied.set_result(Answer(b"AA one"))
        assert await sender.receive() == b"AA one"


async def test_a_sender_that_is_done_writing_gets_the_second_part_too() -> None:
    applied: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def take(raw: bytes, fault: Fault | None) -> Answer:
        asyncio.get_running_loop().call_soon(applied.set_result, Answer(b"AA"))
        return Answer(b"CA", later=applied)

    async with Listening(take) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"one"))
        sender.writer.write_eof()
        assert [await sender.receive(), await sender.receive()] == [b"CA", b"AA"]
        assert await sender.closed()


async def test_what_breaks_when_a_message_is_taken_ends_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def take(raw: bytes, fault: Fault | None) -> Awaitable[Answer]:
        if raw == b"bad":
            raise RuntimeError("never shown")
        return echo(raw, fault)

    async with Listening(take) as listener, connected(listener) as sender, connected(listener) as other:
        sender.writer.write(frame(b"bad"))
        assert await sender.closed()
        other.writer.write(frame(b"good"))
        assert await other.receive() == b"good"
    assert "never shown" not in caplog.text


@pytest.mark.parametrize("error", [HangUp(), RuntimeError("never shown")])
async def test_what_became_of_a_message_is_not_known_so_the_connection_ends_without_an_answer(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def take(raw: bytes, fault: Fault | None) -> Answer:
        if raw == b"bad":
            raise error
        return Answer(raw)

    async with Listening(take) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"good"))
        assert await sender.receive() == b"good"
        sender.writer.write(frame(b"bad") + frame(b"good"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await sender.receive()
        assert listener.counts["unanswered"] == 1
    assert "never shown" not in caplog.text


@pytest.mark.parametrize(
    ("admit", "more"),
    [
        pytest.param(lambda peer: None, {}, id="no channel is for it"),
        pytest.param(lambda peer: echo, {"allowed": (ipaddress.ip_network("192.0.2.0/24"),)}, id="address not allowed"),
    ],
)
async def test_a_connection_that_is_refused_is_closed_at_once(
    admit: Callable[[Peer], Take | None], more: dict[str, Any]
) -> None:
    async with Listening(admit=admit, **more) as listener, connected(listener) as sender:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await sender.receive()
        assert (listener.connections, listener.counts["refused"]) == (0, 1)


async def test_an_allowed_address_is_served() -> None:
    async with Listening(allowed=(ipaddress.ip_network("127.0.0.0/8"),)) as listener, connected(listener) as sender:
        sender.writer.write(frame(b"one"))
        assert await sender.receive() == b"one"


async def test_one_address_has_few_connections_and_this_machine_as_many_as_there_may_be() -> None:
    listener = Listener("127.0.0.1:0", lambda peer: echo, Limits(per_peer=2, connections=4))
    loop = asyncio.get_running_loop()

    class Transport(asyncio.Transport):
        def __init__(self, address: str) -> None:
            super().__init__({"peername": (address, 1)})
            self.is_open = True

        def abort(self) -> None:
            self.is_open = False

    def opened(address: str) -> Any:
        from adapters.hl7.connection import Connection

        made, transport = Connection(listener), Transport(address)
        made.connection_made(transport)
        return made, transport.is_open

    assert loop.is_running()
    first, *others = [opened(address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "::ffff:192.0.2.2")]
    assert [is_open for _, is_open in (first, *others)] == [True, True, False, True]
    first[0].connection_lost(None)
    assert opened("192.0.2.1")[1]
    assert [opened("127.0.0.1")[1] for _ in range(2)] == [True, False]  # the fourth of all, and the fifth


async def test_nothing_is_left_of_a_connection_that_is_gone() -> None:
    async with Listening() as listener:
        async with connected(listener) as sender:
            sender.writer.write(frame(b"one") + VT + b"MSH|begun")
            assert await sender.receive() == b"one"
            (known,) = map(weakref.ref, listener.open)
            sender.writer.write_eof()
            assert await sender.receive() == b"100"
        while listener.open:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        assert known() is None


async def test_a_frame_that_lacks_only_its_cr_is_answered_once_it_stalls() -> None:
    async with Listening(limits=Limits(stall_s=0.05)) as listener, connected(listener) as sender:
        sender.writer.write(VT + b"one\x1c")
        assert await sender.receive() == b"one"
        sender.writer.write(frame(b"two"))
        assert await sender.receive() == b"two"


async def test_a_frame_that_grows_by_a_byte_now_and_then_ends_its_connection() -> None:
    async with Listening(limits=Limits(stall_s=0.1)) as listener, connected(listener) as sender:
        sender.writer.write(VT + b"MSH|")
        reading = asyncio.create_task(sender.reader.read())
        while not reading.done():
            sender.writer.write(b"x")
            await asyncio.sleep(0.02)
        assert await reading in (b"", VT + b"100" + END)
        assert listener.counts["stalled"] == 1


async def test_what_a_peer_left_unfinished_when_it_was_reset_is_kept_aside() -> None:
    came: asyncio.Future[tuple[bytes, str]] = asyncio.get_running_loop().create_future()

    async def take(raw: bytes, fault: Fault | None) -> Answer:
        came.set_result((raw, fault.code if fault else ""))
        return Answer()

    async with Listening(take) as listener, connected(listener) as sender:
        sender.writer.write(VT + b"MSH|begun")
        while not listener.begun:
            await asyncio.sleep(0)
        sender.writer.transport.abort()
        assert await came == (b"MSH|begun", "100")
        assert listener.begun == 0


async def test_many_long_frames_that_do_not_end_cost_no_more_than_all_connections_may() -> None:
    limits = Limits(max_message=50_000, max_begun=60_000)
    async with Listening(limits=limits) as listener, connected(listener) as first, connected(listener) as second:
        first.writer.write(VT + b"x" * 40_000)
        while listener.begun < 40_000:
            await asyncio.sleep(0)
        second.writer.write(VT + b"x" * 40_000)
        assert await second.receive() == b"207"
        first.writer.write(END)
        assert await first.receive() == b"x" * 40_000
        assert listener.begun == 0


async def test_a_peer_that_reads_no_answers_is_read_no_more_and_cut_off() -> None:
    taken = 0

    async def take(raw: bytes, fault: Fault | None) -> Answer:
        nonlocal taken
        taken += 1
        return Answer(b"x" * 100_000)

    async with Listening(take, Limits(stall_s=0.2)) as listener, connected(listener) as sender:
        sender.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sender.writer.write(frame(b"one") * 10_000)
        while listener.connections:
            await asyncio.sleep(0.01)
        assert listener.counts["unread"] == 1
        assert taken < 10_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(frame(b"MSH|one"), b"MSH|one", id="one frame"),
        pytest.param(frame(b""), b"", id="an empty one"),
        pytest.param(frame(b"a") + frame(b"b"), None, id="two"),
        pytest.param(VT + b"a", None, id="no end"),
        pytest.param(b"a" + frame(b"b"), None, id="junk before"),
        pytest.param(frame(b"a") + b"\n", None, id="junk after"),
        pytest.param(VT + b"a" + frame(b"b"), None, id="VT inside"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(VT, None, id="VT alone, the rest of its frame to come"),
        pytest.param(END, None, id="an end alone"),
    ],
)
def test_one_whole_frame_is_seen_at_a_glance(data: bytes, message: bytes | None) -> None:
    assert whole(data) == message


async def serial(listener: Listener, context: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that a new connection is shown."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=context, server_hostname="localhost")
    sender = Sender(reader, writer)
    writer.write(frame(b"one"))
    assert await sender.receive() == b"one"
    found = writer.get_extra_info("peercert")["serialNumber"]
    await hang_up(writer)
    return str(found)


async def test_certificates_are_renewed_without_closing_a_connection(
    certificates: dict[str, Path], tmp_path: Path
) -> None:
    file = tmp_path / "server.pem"
    file.write_bytes(certificates["server"].read_bytes())
    files = Certificates(str(file))
    context = ssl.create_default_context(cafile=str(certificates["ca"]))
    async with Listening(tls=files.context) as listener:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", listener.port, ssl=context, server_hostname="localhost"
        )
        before, port, state = await serial(listener, context), listener.port, files.state()
        file.write_bytes(certificates["client"].read_bytes())  # signed by the same CA, for the same name
        assert files.state() != state
        await listener.reload()
        assert (await serial(listener, context) != before, listener.port) == (True, port)
        writer.write(frame(b"still"))
        assert await Sender(reader, writer).receive() == b"still"
        file.write_text("broken")
        with pytest.raises(Unavailable):
            await listener.reload()
        assert await serial(listener, context) != before
        await hang_up(writer)


@pytest.mark.parametrize(
    ("begun", "is_kept"),
    [
        pytest.param(b"MSH|cut", True, id="a message"),
        pytest.param(b"BHS|cut\rMSH|cut", True, id="a batch"),
        pytest.param(b"FHS|cut", True, id="a file"),
        pytest.param("MSH|cut\rPID|1".encode("utf-16") + b"x", True, id="a message in units of two bytes, cut in one"),
        pytest.param(b"cut", False, id="anything else"),
    ],
)
@pytest.mark.parametrize("after", [b"", frame(b"MSH|next")], ids=["the connection ends", "another frame begins"])
async def test_what_begins_like_messages_and_has_no_end_is_kept(begun: bytes, is_kept: bool, after: bytes) -> None:
    taken: list[tuple[bytes, bool]] = []

    async def take(raw: bytes, fault: Fault | None) -> Answer:
        taken.append((raw, fault is not None))
        return Answer(raw)

    async with Listening(take) as listener, connected(listener) as sender:
        sender.writer.write(VT + begun + after)
        sender.writer.write_eof()
        await sender.closed()
    assert taken == [(begun, True)] * is_kept + [(b"MSH|next", False)] * bool(after)


@pytest.mark.parametrize("turns", range(4))
async def test_who_connects_while_certificates_are_renewed_is_served(turns: int) -> None:
    with socket.socket() as sender:
        sender.settimeout(120)
        async with Listening() as listener:
            sender.connect(("127.0.0.1", listener.port))
            sender.sendall(frame(b"one"))
            for _ in range(turns):
                await asyncio.sleep(0)
            await listener.reload()
            assert await asyncio.to_thread(sender.recv, 100) == frame(b"one")


@pytest.mark.parametrize("turns", range(4))
async def test_who_connects_at_the_end_is_closed_too(turns: int) -> None:
    with socket.socket() as sender:
        sender.settimeout(120)
        async with Listening() as listener:
            sender.connect(("127.0.0.1", listener.port))
            for _ in range(turns):
                await asyncio.sleep(0)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(sender.recv, 100) == b""
    gc.collect()  # a socket that was left open says so here


async def test_a_message_over_the_limit_is_told_over_tls_too(
    certificates: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.hl7.connection.LINGER_S", 1.0)
    context = ssl.create_default_context(cafile=str(certificates["ca"]))
    files = Certificates(str(certificates["server"]))
    async with Listening(limits=Limits(max_message=1000), tls=files.context) as listener:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", listener.port, ssl=context, server_hostname="localhost"
        )
        writer.write(VT + b"x" * 500_000 + END)
        sender = Sender(reader, writer)
        assert await sender.receive() == b"207"
        assert await sender.closed()
        await hang_up(writer)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "http request", id="HTTP"),
        pytest.param(b"\x0bMSH|^~\\&|A", "wrong version number", id="a message without TLS"),
        pytest.param(b"", "", id="a client that only goes away is not told of"),
    ],
)
async def test_a_handshake_that_fails_is_told_and_counted(
    certificates: dict[str, Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    first: bytes,
    reason: str,
) -> None:
    monkeypatch.setattr("adapters.hl7.mllp.QUIET_S", 1e9)
    files = Certificates(str(certificates["server"]), "", str(certificates["ca"]))
    async with Listening(tls=files.context) as listener:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(first)
            if not first:
                writer.write_eof()
            await reader.read()
            await hang_up(writer)
        assert listener.counts["handshake"] == 3 * bool(reason)
    assert caplog.text.count("a TLS connection was refused") == bool(reason)
    assert reason in caplog.text


async def test_connections_whose_handshake_is_not_over_count_like_the_others(
    certificates: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.create_default_context(cafile=str(certificates["ca"]))
    files = Certificates(str(certificates["server"]))
    async with Listening(limits=Limits(connections=2), tls=files.context) as listener:
        address = ("127.0.0.1", listener.port)
        idle = [await asyncio.open_connection(*address) for _ in range(2)]
        reader, writer = await asyncio.open_connection(*address)
        assert await reader.read() == b""
        await hang_up(writer)
        assert "too many connections" in caplog.text
        listener._handshakes._lasts_s = 0.0  # the time of those is over
        both = [await asyncio.open_connection(*address, ssl=context, server_hostname="localhost") for _ in range(2)]
        for _, its_writer in (*idle, *both):
            await hang_up(its_writer)


async def test_a_connection_whose_handshake_takes_too_long_is_closed(certificates: dict[str, Path]) -> None:
    files = Certificates(str(certificates["server"]))
    async with Listening(limits=Limits(handshake_s=0.05), tls=files.context) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await reader.read() == b""
        await hang_up(writer)


def test_a_handshake_counts_until_it_is_over_or_took_too_long() -> None:
    now = [0.0]
    made = Handshakes(10.0, lambda others: others < 2, clock=lambda: now[0])
    first, second = made.begin(), made.begin()
    assert (bool(first), bool(second), made.begin()) == (True, True, 0)
    made.end(first)
    made.end(first)
    now[0] = 5.0
    assert made.begin() and len(made) == 2
    now[0] = 10.0
    assert len(made) == 1
    now[0] = 15.0
    assert len(made) == 0


def test_when_certificates_end_is_known(certificates: dict[str, Path]) -> None:
    found = Certificates(str(certificates["server"]), "", str(certificates["ca"])).ends()
    assert found["server"] == found["client_ca"] > 4_000_000_000
    assert Certificates().ends() == {}
