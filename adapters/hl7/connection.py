"""One MLLP connection: messages in as they are complete, answers out in their order.

A protocol of asyncio without a task: a message costs a call of `take`, its future, and a write that it shares
with the other answers that are ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from adapters.hl7.batch import begins
from adapters.hl7.channels import Peer
from adapters.hl7.faults import Fault
from adapters.hl7.framing import END, TOO_LONG, VT, Deframer, Frame, TooLong, whole
from adapters.hl7.tls import peer_names

if TYPE_CHECKING:
    from adapters.hl7.mllp import Listener

LINGER_S = 2.0  # seconds that a peer which sent too much, or too slowly, has to read its answer

log = logging.getLogger("predmp.hl7")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection, and all of them, may cost."""

    max_message: int = 16_777_216  # bytes
    max_junk: int = 65_536  # bytes before a frame begins
    max_begun: int = 268_435_456  # bytes of frames that have not ended, of all connections
    stall_s: float = 30.0  # seconds between two parts of a frame; and for all of it, with 1 s more each 1,024 bytes
    handshake_s: float = 10.0  # seconds that TLS may take to begin
    in_flight: int = 64  # messages of one connection under way; fewer where they are long
    connections: int = 512
    per_peer: int = 8  # connections of one address; of this machine's own as many as there may be
    grace_s: float = 5.0  # at the end: for messages under way


class Answered(Protocol):
    """What became of a message.

    It may have `later`, an awaitable of another one of these: what is answered when more is known, e.g. the
    application acknowledgement of enhanced mode. It is sent on the same connection as soon as it is there.
    """

    @property
    def frames(self) -> list[bytes]:
        """Its acknowledgements, without framing: none, one or two."""
        ...


class HangUp(Exception):
    """The connection ends without an answer: what a channel may prefer to a refusal while the store is down."""


Take = Callable[[bytes, Fault | None], Awaitable[Answered]]
"""Takes a message and what is wrong with its frame; what depends on the order happens in the call itself. A future
that is given back is not wrapped in a task."""


class _Waiting:
    """A message under way."""

    __slots__ = ("future", "is_answered", "weight")

    def __init__(self, future: asyncio.Future[Answered], weight: int, is_answered: bool) -> None:
        self.future, self.weight, self.is_answered = future, weight, is_answered


class Connection(asyncio.Protocol):
    """One sender: reads while fewer messages than the limit are under way, answers in order."""

    def __init__(self, listener: Listener) -> None:
        self._listener, self._limits, self._counts = listener, listener.limits, listener.counts
        self._loop = asyncio.get_running_loop()
        self._deframer = Deframer(self._limits.max_message, self._limits.max_junk)
        self._share = max(self._limits.max_message // self._limits.in_flight, 1)
        self._waiting: deque[_Waiting] = deque()
        self._held = 0  # room that messages under way take
        self._next: Frame | None = None  # complete, but there is no room yet
        self._later: set[asyncio.Future[Answered]] = set()
        self._begun = 0  # bytes that `listener.begun` counts for this connection
        self._since = self._last = 0.0  # when the frame began, and when its last part came
        self._timer: asyncio.TimerHandle | None = None  # looks whether a frame stalls
        self._ender: asyncio.TimerHandle | None = None  # ends the connection
        self._is_paused = self._is_choked = self._is_ending = self._is_busy = False
        self._is_closed = False  # for writing
        self._is_draining = False  # what still comes is read and left: a reset would take the answer away
        self._gone: asyncio.Future[None] | None = None
        self.peer = Peer("")

    # what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the peer, or close."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = Peer(str(name[0]) if name else "", peer_names(transport.get_extra_info("peercert")))
        take = self._listener.admitted(self.peer)
        if take is None:
            self._counts["refused"] += 1
            log.warning("connection from %s refused", self.peer.address)
            self._is_ending = True
            self._transport.abort()
            return
        self._take = take
        self._listener.opened(self)
        _keep_alive(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Take the messages that are complete."""
        if self._is_ending:
            return
        if self._next is None and self._held < self._limits.in_flight and self._deframer.is_idle:
            message = whole(data)
            if message is not None and len(message) <= self._limits.max_message:
                self._hand_on(Frame(message))
                if self._waiting and self._waiting[-1].future.done():
                    self._pump()
                return
        self._last = self._loop.time()
        self._deframer.push(data)
        self._pump()
        self._watch()

    def eof_received(self) -> bool:
        """Answer what is under way, then close."""
        if (last := self._deframer.close()) and not self._is_ending:
            self._next = self._next or last
        self._is_ending, self._is_draining = True, False
        self._pump()
        self._end_in(self._limits.stall_s, self._transport.abort)
        return bool(self._waiting or self._later) and self._transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        """The peer reads no answers: take no more from it, for as long as a frame may stall."""
        self._is_choked = True
        self._throttle()
        self._end_in(self._limits.stall_s, self._abort_if_choked)

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._is_choked = False
        if self._ender is not None and not self._is_ending:
            self._ender.cancel()
            self._ender = None
        self._pump()

    def connection_lost(self, error: Exception | None) -> None:
        """Keep what was not whole aside; what is under way goes on."""
        if self not in self._listener.open:
            return
        last = self._deframer.close()
        if last is not None and not self._is_ending and begins(last.data):
            asyncio.ensure_future(self._take(last.data, last.fault)).add_done_callback(_looked_at)
        self._is_ending = True
        for timer in filter(None, (self._timer, self._ender)):
            timer.cancel()
        self._account()
        if self._waiting or self._later:
            self._counts["gone"] += 1  # before it was answered: it will send again
        self._listener.closed(self)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    # frames to messages, answers to frames

    def _pump(self) -> None:
        """Take messages while there is room, write the answers that are ready."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._take_some() | self._answer_some():
                pass
        finally:
            self._is_busy = False
        self._throttle()
        if self._is_ending and not self._waiting and not self._later and self._next is None:
            self._close()

    def _close(self) -> None:
        if not self._is_draining:
            self._transport.close()
        elif not self._is_closed:
            self._is_closed = True
            if self._transport.can_write_eof():  # TLS cannot: there the peer learns of the end a little later
                self._transport.write_eof()
            self._end_in(LINGER_S, self._transport.close)

    def _take_some(self) -> bool:
        """Hand on what is complete; whether there was any."""
        some = False
        try:
            while not self._is_choked and (frame := self._next or self._pull()) is not None:
                self._next = frame
                weight = self._weight(frame)
                if self._held and self._held + weight > self._limits.in_flight:
                    break
                self._next = None
                self._hand_on(frame)
                some = True
        except TooLong:
            self._counts["too-long"] += 1
            log.warning("connection from %s ended: too long", self.peer.address)
            self._hand_on(Frame(self._deframer.head(), TOO_LONG))
            self._is_ending = self._is_draining = True
            self._deframer = Deframer(0, 0)
            self._account()
            return True
        return some

    def _pull(self) -> Frame | None:
        inside = self._deframer.is_inside
        frame = self._deframer.pull()
        if self._deframer.is_inside and (frame is not None or not inside):
            self._since = self._loop.time()
        self._account()
        if frame is None and self._listener.begun > self._limits.max_begun and len(self._deframer) > self._share:
            raise TooLong
        return frame

    def _weight(self, frame: Frame) -> int:
        """Return how much room a message takes: a long one that of many."""
        return min(len(frame.data) // self._share + 1, self._limits.in_flight)

    def _account(self) -> None:
        """Count the bytes that are kept."""
        kept = 0 if self._is_ending else len(self._deframer)
        if kept != self._begun:
            self._listener.begun += kept - self._begun
            self._begun = kept

    def _hand_on(self, frame: Frame) -> None:
        if frame.fault is not None and frame.fault is not TOO_LONG:
            self._counts["cut"] += 1
            log.warning("frame from %s has no end", self.peer.address)
            if not begins(frame.data):
                return
        try:
            taken = self._take(frame.data, frame.fault)
        except Exception as error:  # a supervisor: what one message does to us ends its connection, and no more
            log.error("a message was not taken: %s", type(error).__name__)
            self.abort("unanswered")
            return
        future = taken if isinstance(taken, asyncio.Future) else asyncio.ensure_future(taken)
        weight = self._weight(frame)
        self._held += weight
        self._waiting.append(_Waiting(future, weight, frame.is_answered))
        if not future.done():
            future.add_done_callback(self._settled)

    def _settled(self, _: Any) -> None:
        if self._is_busy:
            return
        self._answer_some()
        if self._is_paused or self._is_ending:
            self._pump()

    def _answer_some(self) -> bool:
        """Write the answers of the messages that are done, in their order; whether there were any."""
        written: list[bytes] = []
        some = False
        while self._waiting and self._waiting[0].future.done():
            done = self._waiting.popleft()
            self._held -= done.weight
            some = True
            answered = self._result(done.future)
            if answered is None or not done.is_answered:
                continue
            written += answered.frames
            if (later := getattr(answered, "later", None)) is not None:
                self._expect(later)
        self._write(written)
        return some

    def _result(self, future: asyncio.Future[Answered]) -> Answered | None:
        """Return what became of a message; None where that is not known: then the connection ends, unanswered."""
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            return future.result()
        if not isinstance(error, HangUp):
            log.error("a message was not answered: %s", type(error).__name__)
        self._waiting.clear()
        self.abort("unanswered")
        return None

    def _write(self, frames: list[bytes]) -> None:
        if not frames or self._transport.is_closing():
            return
        if len(frames) == 1:
            self._transport.write(VT + frames[0] + END)
        else:
            self._transport.write(b"".join([part for frame in frames for part in (VT, frame, END)]))

    def _expect(self, later: Awaitable[Answered]) -> None:
        """Write another answer to the same message when it is there."""
        future = later if isinstance(later, asyncio.Future) else asyncio.ensure_future(later)
        self._later.add(future)
        future.add_done_callback(self._came)

    def _came(self, future: asyncio.Future[Answered]) -> None:
        self._later.discard(future)
        if future.cancelled() or future.exception() is not None:
            self._counts["unanswered"] += 1
        elif not self._transport.is_closing():
            self._write(future.result().frames)
        self._pump()

    # limits

    def _throttle(self) -> None:
        """Read no more than there is room for."""
        full = self._is_choked or (self._is_ending and not self._is_draining) or self._next is not None
        if full != self._is_paused and not self._transport.is_closing():
            self._is_paused = full
            (self._transport.pause_reading if full else self._transport.resume_reading)()
            self._last = self._loop.time()

    def _watch(self) -> None:
        """See to it that a frame which has begun goes on."""
        if self._timer is None and self._deframer.is_inside and not self._is_ending:
            self._timer = self._loop.call_at(self._deadline(), self._check)

    def _deadline(self) -> float:
        allowed = self._since + self._limits.stall_s + len(self._deframer) / 1024
        return min(self._last + self._limits.stall_s, allowed)

    def _check(self) -> None:
        """End the connection where its frame stalls; a frame that lacks only its CR is taken."""
        self._timer = None
        if self._is_ending or not self._deframer.is_inside:
            return
        if self._is_paused:
            self._last = self._since = self._loop.time()
        if self._loop.time() < self._deadline():
            self._watch()
            return
        bare = self._deframer.ends_bare
        self._next = self._deframer.close()
        if not bare:
            self._counts["stalled"] += 1
            log.warning("connection from %s ended: stalled", self.peer.address)
            self._is_ending = self._is_draining = True
        self._pump()

    def _end_in(self, seconds: float, end: Callable[[], None]) -> None:
        """End the connection after a while, unless that is due already."""
        if self._ender is None:
            self._ender = self._loop.call_later(seconds, end)

    def _abort_if_choked(self) -> None:
        if self._is_choked or self._is_ending:
            self.abort("unread")

    def end(self) -> asyncio.Future[None]:
        """Take no more; return what is done once all is answered and the connection is closed."""
        self._gone = self._loop.create_future()
        if not self._is_ending:
            self._is_ending = True
            self._counts["stopped"] += 1
        self._next = None
        self._pump()
        return self._gone

    def abort(self, reason: str) -> None:
        """End the connection at once."""
        self._counts[reason] += 1
        self._is_ending = True
        self._transport.abort()


def _looked_at(future: asyncio.Future[Answered]) -> None:
    """Keep asyncio from reporting a failure that nobody waits for."""
    with contextlib.suppress(asyncio.CancelledError):
        future.exception()


def _keep_alive(found: Any) -> None:
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
