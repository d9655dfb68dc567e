"""Continued messages: parts that DSC-1 and MSH-14 join, put together before they are read.

A part that ends in DSC with a pointer is kept and acknowledged; the one whose MSH-14 is that pointer goes on. ADD
goes on with the segment that was cut. What is put together has the header of the last part, so its acknowledgement
answers that one. Parts that do not fit together, and those whose rest never comes, go to quarantine.
Source: HL7 v2.5.1 chapter 2, section 2.10.2 (continuation messages and segments), 2.15.1 (ADD), 2.15.4 (DSC).
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from adapters.hl7 import charset
from adapters.hl7.ack import Sender, sender_of
from adapters.hl7.channels import Channel
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.tokens import lines_of

KIND = "hl7-fragment"
"""Kind of the records that hold parts: the text so far, under the pointer that goes on with it."""

WAITING, JOINED = "waiting", "joined"
KEPT_S = 86_400  # seconds that a part waits for the next one, and that a joined one is kept for a repetition

UNKNOWN = Fault("204", Place("MSH", 1, 14), "No message is waiting to be continued so.")
ABANDONED = Fault("100", Place("DSC", 1, 1), "The rest of the message did not come.")
OTHER_MARKS = Fault("102", Place("MSH", 1, 2), "A continuation has the delimiters of the part before it.")
TOO_LONG = Fault("207", Place("DSC", 1, 1), "The message is longer than this system takes.", reject=True)
TOO_MANY = Fault("207", Place("DSC", 1, 1), "The message comes in too many parts.", reject=True)
COST = 32
"""Bytes that a message may cost, in those of the longest one: each part writes all that came before it again."""


class Part(NamedTuple):
    """A message that is continued, or continues one."""

    channel: Channel
    lines: tuple[str, ...]
    codec: str
    separator: str
    sender: Sender
    continues: str  # MSH-14
    pointer: str  # DSC-1; "" for the last part

    def key(self, pointer: str) -> str:
        """Name the record of what a pointer goes on with."""
        parts = (self.channel.name, self.sender.application, self.sender.facility, pointer)
        return "|".join(part.replace("|", "%7C") for part in parts)


def concerns(raw: bytes) -> bool:
    """Whether a message may be a part; quick for those that are none."""
    if b"DSC" in raw and (b"\rDSC" in raw or b"\nDSC" in raw):
        return True
    end = raw.find(b"\r", 0, 1_024)
    line = raw[: end if end >= 0 else 1_024]
    if b"\n" in line:
        line = line[: line.find(b"\n")]
    cells = line.split(line[3:4] or b"|", 14)
    return len(cells) > 13 and cells[13] != b""


def read(channel: Channel, raw: bytes) -> Part | None:
    """Read a part; None for a message that is whole, or cannot be read."""
    try:
        decoded = charset.decode(raw, default=channel.charset)
    except Refused:
        return None
    lines = [line for line in (part.lstrip(" \t\n") for part in lines_of(decoded.text)) if line]
    if not lines or len(lines[0]) < 9 or not lines[0].startswith("MSH"):
        return None
    separator = lines[0][3]
    header = lines[0].split(separator)
    continues = header[13].strip() if len(header) > 13 else ""
    last = lines[-1].split(separator)
    pointer = last[1].strip() if last[0] == "DSC" and len(last) > 1 else ""
    if not continues and not pointer:
        return None
    whole = lines[:-1] if last[0] == "DSC" else lines
    to = sender_of(raw)
    return Part(channel, tuple(whole), decoded.codec, separator, to, continues, pointer)


def join(before: tuple[str, ...], part: Part) -> tuple[str, ...]:
    """Put a part after what came before it.

    Raises:
        Refused: 102 where it has other delimiters.
    """
    if before[0][:8] != part.lines[0][:8]:
        raise Refused(OTHER_MARKS)
    mark = f"ADD{part.separator}"
    kept = list(before[1:])
    if kept and kept[-1].rstrip(part.separator) == "ADD":
        kept.pop()
    rest = list(part.lines[1:])
    if kept and rest and rest[0].startswith(mark):
        kept[-1] += rest.pop(0)[len(mark) :]
    return (_header(part.lines[0], before[0], part.separator), *kept, *rest)


def _header(last: str, first: str, separator: str) -> str:
    """Return the last header without its continuation pointer; with the character set of the first if it has none."""
    cells, earlier = last.split(separator), first.split(separator)
    if len(cells) > 13:
        cells[13] = ""
    if len(earlier) > 17 and earlier[17]:
        cells += [""] * (18 - len(cells))
        cells[17] = cells[17] or earlier[17]
    return separator.join(cells).rstrip(separator)


def write(lines: tuple[str, ...], *known: str) -> bytes:
    """Return a message's bytes, in the first of the codecs that has all its characters, else in UTF-8."""
    text = "\r".join(lines) + "\r"
    separator = text[3]
    declared = [*text.partition("\r")[0].split(separator), *[""] * 18][17].split(text[5])[0].strip()
    own = charset.codec_of(declared)
    for codec in filter(None, (own, "cp1252" if own in charset.WESTERN else "", *known)):
        try:
            return text.encode(codec)
        except UnicodeEncodeError:
            continue
    return text.encode("utf-8")


def body_of(part: Part, lines: tuple[str, ...], at: int, *, written: int = 0) -> dict[str, Any]:
    """Return what is stored of the text so far.

    Args:
        part: The newest part.
        lines: All segments until now.
        at: When it came, microseconds since 1970.
        written: Bytes that all its parts until now wrote.
    """
    raw = write(lines, part.codec)
    return {
        "text": "\r".join(lines),
        "codec": part.codec,
        "channel": part.channel.name,
        "pointer": part.pointer,
        "sha256": hashlib.sha256(raw).hexdigest(),
        "at": at,
        "written": written,
    }


def raw_of(body: dict[str, Any]) -> bytes:
    """Return the bytes of the text so far."""
    return write(lines_in(body), body["codec"])


def lines_in(body: dict[str, Any]) -> tuple[str, ...]:
    """Return its segments."""
    text: str = body["text"]
    return tuple(text.split("\r"))
