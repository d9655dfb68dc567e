"""MLLP: frames on a TCP connection, many on each, answered in order.

A frame is VT, the message, FS, CR. Between frames CR, LF, NUL and blanks are tolerated. FS may occur in a
message: only FS with CR ends a frame; FS alone does where the next frame begins or the sender is done.
Source: HL7 v2.5.1 implementation guide, appendix C (minimal lower layer protocol).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from adapters.hl7.faults import Fault, Place
from fhir_server.errors import Unavailable

VT, FS, END = b"\x0b", b"\x1c", b"\x1c\r"
_TOLERATED = b"\r\n\x00 \t"
CHUNK = 65_536  # bytes read at once

log = logging.getLogger("predmp.hl7")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection, and all of them, may cost."""

    max_message: int = 16_777_216  # bytes
    max_junk: int = 65_536  # bytes before a frame begins
    stall_s: float = 30.0  # seconds a frame may take, and 1 s more for each 1,024 bytes of it
    in_flight: int = 64  # messages of one connection under way; fewer where they are long
    connections: int = 512
    grace_s: float = 5.0  # at the end: for messages under way


class Frame(NamedTuple):
    """What stood between VT and the frame's end."""

    data: bytes
    fault: Fault | None = None  # the frame was cut, or is too long


class TooLong(Exception):
    """The connection cannot go on: a frame over its limit, or too much outside of frames."""


class Deframer:
    """Parts a stream of bytes into frames; knows nothing of sockets."""

    def __init__(self, max_message: int, max_junk: int) -> None:
        self._max_message, self._max_junk = max_message, max_junk
        self._buffer = bytearray()
        self._searched = 0
        self._junk = 0
        self.is_inside = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that these bytes complete.

        Raises:
            TooLong: After the frames that came before.
        """
        self._buffer += data
        while self._buffer:
            if not self.is_inside:
                if not self._begin():
                    return
            else:
                frame = self._end()
                if frame is None:
                    return
                yield frame

    def _begin(self) -> bool:
        """Leave out what stands before the next frame; False where none has begun."""
        at = self._buffer.find(VT)
        before = self._buffer[:at] if at >= 0 else self._buffer
        self._junk += len(bytes(before).translate(None, _TOLERATED))
        if self._junk > self._max_junk:
            raise TooLong
        del self._buffer[: at + 1 if at >= 0 else len(self._buffer)]
        self.is_inside = at >= 0
        self._searched = 0
        return self.is_inside

    def _end(self) -> Frame | None:
        """Take the frame that is complete, or cut off by the next one; None where neither is."""
        end = self._buffer.find(END, max(self._searched - 1, 0))
        begin = self._buffer.find(VT, self._searched, end if end >= 0 else len(self._buffer))
        self._searched = len(self._buffer)
        if begin < 0 and end < 0:
            if len(self._buffer) > self._max_message + 1:
                raise TooLong
            return None
        if (size := begin if begin >= 0 else end) > self._max_message + 1 or (begin < 0 and size > self._max_message):
            raise TooLong
        data = bytes(self._buffer[:size])
        del self._buffer[: size + (1 if begin >= 0 else 2)]
        self._searched = 0
        self.is_inside = begin >= 0
        self._junk = 0
        return Frame(data) if begin < 0 else _cut(data)

    def close(self) -> Frame | None:
        """Return what the sender left when it closed: a frame that lacks only its last CR, or one cut off."""
        data, inside = bytes(self._buffer), self.is_inside
        self._buffer.clear()
        self.is_inside = False
        return _cut(data) if inside and data else None


def _cut(data: bytes) -> Frame:
    """Return a frame that ends without FS and CR: whole where FS is there."""
    whole = data.rstrip(b"\x00\n")
    if whole.endswith(FS):
        return Frame(whole[:-1])
    return Frame(data, Fault("100", Place("MSH"), "The frame has no end."))


class Answered(Protocol):
    """What became of a message."""

    @property
    def frames(self) -> list[bytes]:
        """Its acknowledgements, without framing: none, one or two."""
        ...


Take = Callable[[bytes, Fault | None], Awaitable[Answered]]
"""Takes a message and what is wrong with its frame; what depends on the order happens in the call itself."""


class Listener:
    """Accepts connections and hands their messages on.

    Args:
        address: `host:port`.
        take: Called for each message in the order of its connection; gives its acknowledgements.
        limits: What a connection may cost.
        tls: Makes the server's TLS context when it starts; None for plain TCP.
    """

    def __init__(
        self, address: str, take: Take, limits: Limits, tls: Callable[[], ssl.SSLContext | None] = lambda: None
    ) -> None:
        self._address, self._take, self._limits, self._tls = address, take, limits, tls
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()  # connections, and how those ended that ended badly

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    async def start(self) -> None:
        """Begin to listen; raise Unavailable that names the port where it cannot be had."""
        host, _, port = self._address.rpartition(":")
        context = self._tls()
        try:
            self._server = await asyncio.start_server(
                self._connected, host.strip("[]"), int(port), ssl=context, backlog=256
            )
        except OSError as error:
            raise Unavailable(
                f"MLLP: port {port} on {host} cannot be used: {error.strerror or 'no such address'}"
            ) from None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more, answer what is under way, close; may be called without `start`."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= self._limits.connections:
            self.counts["refused"] += 1
            writer.transport.abort()
            return
        self.counts["opened"] += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await Connection(reader, writer, self._take, self._limits, self.counts).run()
        finally:
            self._open.discard(task)


class Connection:
    """One sender: reads while fewer messages than the limit are under way, answers in order."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        take: Take,
        limits: Limits,
        counts: Counter[str],
    ) -> None:
        self._reader, self._writer, self._take, self._limits, self._counts = reader, writer, take, limits, counts
        self._deframer = Deframer(limits.max_message, limits.max_junk)
        self._slots = asyncio.Semaphore(limits.in_flight)
        self._waiting: asyncio.Queue[tuple[Awaitable[Answered], int] | None] = asyncio.Queue()

    async def run(self) -> None:
        """Serve until the sender closes, breaks a limit, or the listener stops."""
        self._keep_alive()
        answering = asyncio.create_task(self._answer())
        try:
            await self._read()
        except (TimeoutError, TooLong, ConnectionError, ssl.SSLError) as error:
            self._counts[type(error).__name__] += 1
            log.warning("connection ended: %s", type(error).__name__)
        except asyncio.CancelledError:
            self._counts["stopped"] += 1
        finally:
            self._waiting.put_nowait(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.grace_s):
                    await answering
            await self._close()

    def _keep_alive(self) -> None:
        found = self._writer.get_extra_info("socket")
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_KEEPIDLE"):
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)

    async def _close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()

    async def _read(self) -> None:
        """Hand every message on until the sender closes."""
        loop = asyncio.get_running_loop()
        began, size = 0.0, 0
        while True:
            if self._deframer.is_inside:
                deadline = began + self._limits.stall_s + size / 1024
                async with asyncio.timeout_at(deadline):
                    data = await self._reader.read(CHUNK)
            else:
                data = await self._reader.read(CHUNK)
            if not data:
                break
            was_inside = self._deframer.is_inside
            size += len(data)
            try:
                for frame in self._deframer.feed(data):
                    was_inside = False
                    await self._hand_on(frame)
            except TooLong:
                fault = Fault("207", Place("MSH"), "The message is longer than this system takes.", reject=True)
                await self._hand_on(Frame(b"", fault))
                raise
            if self._deframer.is_inside and not was_inside:
                began, size = loop.time(), 0
        if last := self._deframer.close():
            await self._hand_on(last)

    async def _hand_on(self, frame: Frame) -> None:
        """Hand a message on once there is room: a long one takes the room of many."""
        share = max(self._limits.max_message // self._limits.in_flight, 1)
        weight = min(len(frame.data) // share + 1, self._limits.in_flight)
        for _ in range(weight):
            await self._slots.acquire()
        self._waiting.put_nowait((self._take(frame.data, frame.fault), weight))

    async def _answer(self) -> None:
        """Write the acknowledgements in the order of the messages."""
        while (waiting := await self._waiting.get()) is not None:
            taken, weight = waiting
            frames = (await taken).frames
            for _ in range(weight):
                self._slots.release()
            if self._writer.is_closing():
                continue
            for frame in frames:
                self._writer.write(VT + frame + END)
            try:
                async with asyncio.timeout(self._limits.stall_s):
                    await self._writer.drain()
            except (TimeoutError, ConnectionError, ssl.SSLError):
                self._writer.transport.abort()
