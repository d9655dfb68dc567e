"""Frames: where a message begins and ends in a stream of bytes; knows nothing of sockets.

A frame is VT, the message, FS, CR. Between frames CR, LF, NUL and blanks are tolerated. FS may occur in a
message: only FS with CR ends a frame; FS alone does where the next frame begins or the sender is done. VT too
may occur in a text: it begins a frame where a message's first bytes follow, or FS came before it.
Source: HL7 v2.5.1 implementation guide, appendix C (minimal lower layer protocol).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from adapters.hl7.faults import Fault, Place

VT, FS, END = b"\x0b", b"\x1c", b"\x1c\r"
_TOLERATED = b"\r\n\x00 \t"
_LOOK = 12  # bytes around VT that tell whether it begins a frame
_BEGIN = re.compile(
    rb"\x1c[\x00\n]{0,4}\x0b"
    rb"|\x0b(?=MSH|FHS|BHS|\xef\xbb\xbf[MFB]|\xff\xfe[MFB]\x00|\xfe\xff\x00[MFB]|[MFB]\x00[SH]\x00|\x00[MFB]\x00[SH])"
)
NO_END = Fault("100", Place("MSH"), "The frame has no end.")
TOO_LONG = Fault("207", Place("MSH"), "The message is longer than this system takes.", reject=True)
HEAD = 4096  # bytes of a message that is too long which are looked at for its header


class Frame(NamedTuple):
    """What stood between VT and the frame's end."""

    data: bytes
    fault: Fault | None = None  # the frame was cut, or is too long
    is_answered: bool = True  # False: the sender begins anew and would take the answer for the next message's


class TooLong(Exception):
    """The connection cannot go on: a frame over its limit, or too much outside of frames."""


def whole(data: bytes) -> bytes | None:
    """Return the message where the bytes are one frame and nothing else, which they usually are; else None."""
    size = len(data) - 2
    if size > 0 and data[0] == 0x0B and data.find(END) == size and data.find(VT, 1) < 0:
        return data[1:-2]
    return None


class Deframer:
    """Parts a stream of bytes into frames.

    Args:
        max_message: Bytes of a frame.
        max_junk: Bytes outside of frames between two of them.
    """

    __slots__ = ("_buffer", "_junk", "_max_junk", "_max_message", "_searched", "is_inside")

    def __init__(self, max_message: int, max_junk: int) -> None:
        self._max_message, self._max_junk = max_message, max_junk
        self._buffer = bytearray()
        self._searched = 0
        self._junk = 0
        self.is_inside = False

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is kept: the next byte is outside of a frame."""
        return not self._buffer and not self.is_inside

    @property
    def ends_bare(self) -> bool:
        """Whether all that a frame lacks is the CR after its FS."""
        return self.is_inside and self._buffer.endswith(FS)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that these bytes complete.

        Raises:
            TooLong: After the frames that came before.
        """
        self.push(data)
        while (frame := self.pull()) is not None:
            yield frame

    def push(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer += data

    def pull(self) -> Frame | None:
        """Return the next frame that is complete; None where there is none.

        Raises:
            TooLong: A limit is broken.
        """
        if not self._buffer:
            return None
        if not self.is_inside and not self._begin():
            return None
        return self._end()

    def _begin(self) -> bool:
        """Leave out what stands before the next frame; False where none has begun."""
        at = self._buffer.find(VT)
        if at:
            before = self._buffer[:at] if at >= 0 else self._buffer
            self._junk += len(before.translate(None, _TOLERATED))
            if self._junk > self._max_junk:
                raise TooLong
        del self._buffer[: at + 1 if at >= 0 else len(self._buffer)]
        self.is_inside = at >= 0
        self._searched = 0
        return self.is_inside

    def _end(self) -> Frame | None:
        """Take the frame that is complete, or cut off by the next one; None where neither is."""
        buffer = self._buffer
        end = buffer.find(END, self._searched)
        begin = self._next(self._searched, end if end >= 0 else len(buffer))
        if begin < 0 and end < 0:
            if len(buffer) > self._max_message + buffer.endswith(FS):  # FS may be the end's first byte
                raise TooLong
            self._searched = max(len(buffer) - _LOOK, 0)
            return None
        size = begin if begin >= 0 else end
        if size > self._max_message + (begin >= 0):
            raise TooLong
        data = bytes(memoryview(buffer)[:size])
        del buffer[: size + (1 if begin >= 0 else 2)]
        self._searched = self._junk = 0
        self.is_inside = begin >= 0
        return Frame(data) if begin < 0 else _cut(data, is_answered=False)

    def _next(self, start: int, stop: int) -> int:
        """Return where another frame begins before this one has ended, -1 where none does."""
        if self._buffer.find(VT, start, stop) < 0:
            return -1
        found = _BEGIN.search(self._buffer, start, stop)
        return found.end() - 1 if found else -1

    def close(self) -> Frame | None:
        """Return what the sender left when it closed: a frame that lacks only its last CR, or one cut off."""
        data, inside = bytes(self._buffer), self.is_inside
        self._buffer.clear()
        self._searched = 0
        self.is_inside = False
        return _cut(data) if inside and data else None

    def head(self) -> bytes:
        """Return the header of the message that has begun, for its answer; nothing where it cannot be told."""
        return head_of(bytes(self._buffer[:HEAD])) if self.is_inside else b""


def head_of(raw: bytes) -> bytes:
    """Return the header of a message, nothing where it has none."""
    if not raw.startswith(b"MSH"):
        return b""
    return raw[:HEAD].replace(b"\n", b"\r").partition(b"\r")[0] + b"\r"


def _cut(data: bytes, *, is_answered: bool = True) -> Frame:
    """Return a frame that ends without FS and CR: whole where FS is there."""
    found = data.rstrip(b"\x00\n")
    if found.endswith(FS):
        return Frame(found[:-1])
    return Frame(data, NO_END, is_answered)
