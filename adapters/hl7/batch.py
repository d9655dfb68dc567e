"""Batches: many messages in one frame, body or file, parted; and their answers, joined.

`FHS [BHS {MSH ...} BTS] FTS`, each of the four optional, or messages one after the other. A batch whose counts
(BTS-1, FTS-1) do not agree with what came is not whole: it is refused as one, so that it can be sent again.
Source: HL7 v2.5.1 chapter 2, section 2.10.3 (batch protocol), 2.15.2 (BHS), 2.15.3 (BTS), 2.15.6, 2.15.7.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from adapters.hl7.ack import USUAL, Sender, sender_of
from adapters.hl7.charset import narrow
from adapters.hl7.faults import Fault, Place, Refused

MOST = 10_000  # messages of one batch: more are sent in several

_HEADS = rb"(?:MSH|BHS|FHS|BTS|FTS)(?=[^0-9A-Za-z]|\Z)"
_AT_CR = re.compile(rb"(?:\A|\r)[ \t\n\x00]*(" + _HEADS + rb")")
_AT_LF = re.compile(rb"(?:\A|\n)[ \t\r\x00]*(" + _HEADS + rb")")
_LINE = {_AT_CR: b"\r", _AT_LF: b"\n"}


class Batch(NamedTuple):
    """What a batch holds."""

    messages: tuple[bytes, ...]
    sender: Sender  # of the file's header, else the batch's: whom a joined answer goes to
    has_header: bool  # FHS or BHS
    is_file: bool  # FHS
    parts: tuple[tuple[str, int], ...] = ()  # BHS-11 of each of its batches, and how many messages that has


def is_batch(raw: bytes) -> bool:
    """Whether there may be more than one message, or a batch's header; quick for one message."""
    if raw[:3] == b"MSH":
        return raw.find(b"MSH", 3) >= 0 and _pattern(raw).search(raw, 3) is not None
    start = narrow(raw[:256])[0].lstrip(b" \t\r\n\x00")
    return start[:3] in (b"BHS", b"FHS") or (start[:3] == b"MSH" and _is_wide_batch(raw))


def begins(raw: bytes) -> bool:
    """Whether the bytes begin as a message or a batch does, in whatever character set; they may end in a character."""
    head = raw[:256]
    starts = [narrow(part)[0].lstrip(b" \t\r\n\x00")[:3] for part in (head, head[: len(head) & ~3])]
    return any(start in (b"MSH", b"BHS", b"FHS") for start in starts)


def _is_wide_batch(raw: bytes) -> bool:
    data = narrow(raw)[0]
    return _pattern(data).search(data, data.find(b"MSH") + 3) is not None


def _pattern(data: bytes) -> re.Pattern[bytes]:
    """Segments end at CR; where no bare CR stands, at LF."""
    return _AT_LF if b"\n" in data and data.count(b"\r") == data.count(b"\r\n") else _AT_CR


class _Count:
    """Counts messages and batches against what the trailers say."""

    def __init__(self) -> None:
        self.messages = self.batches = self.inside = 0
        self.order: list[str] = []
        self.parts: list[tuple[str, int]] = []
        self.is_open = False  # whether a batch has begun and not ended

    def message(self) -> None:
        """Take a message: of the batch that is open, else of one without a number."""
        if not self.is_open:
            self.parts.append(("", 0))
            self.is_open = True
        self.inside += 1
        self.parts[-1] = (self.parts[-1][0], self.parts[-1][1] + 1)

    def check(self, name: str, line: bytes, separator: bytes) -> None:
        """Take a header or trailer.

        Raises:
            Refused: 100: not in its place, or its count is another one.
        """
        place = Place(name, self.order.count(name) + 1)
        self.order.append(name)
        if name == "FHS" and len(self.order) > 1:
            raise Refused(Fault("100", place, "The file has a second header."))
        if name == "BHS":
            self.batches += 1
            self.inside = 0
            self.parts.append((sender_of(line[:8192]).control_id, 0))
            self.is_open = True
        elif name == "BTS":
            _compare(line, separator, self.inside, place, "messages of the batch")
            self.inside = 0
            self.is_open = False
        elif name == "FTS" and self.batches:
            _compare(line, separator, self.batches, place, "batches of the file")


def _compare(line: bytes, separator: bytes, found: int, place: Place, what: str) -> None:
    cells = line.split(separator)
    said = cells[1].strip() if len(cells) > 1 else b""
    if said and (not said.isdigit() or len(said) > 9 or int(said) != found):
        raise Refused(Fault("100", place._replace(field=1), f"The count is not that of the {what}."))


def split(raw: bytes) -> Batch:
    """Part a batch into its messages, byte for byte; those of a wide character set are in UTF-16 with its mark.

    Raises:
        Refused: 100: it is not whole, or holds what belongs to no message; 207: it has too many messages.
    """
    data, codec = narrow(raw)
    pattern = _pattern(data)
    found = list(pattern.finditer(data))
    count = _Count()
    messages: list[bytes] = []
    separator = b"|"
    for number, match in enumerate(found):
        name = match.group(1).decode("ascii")
        stop = found[number + 1].start() if number + 1 < len(found) else len(data)
        piece = data[match.start(1) : stop].rstrip(b"\r\n\x00")
        if name == "MSH":
            messages.append(piece + b"\r" if pattern is _AT_CR else piece + b"\n")
            count.message()
            continue
        line, _, rest = piece.partition(_LINE[pattern])
        if name in ("FHS", "BHS"):
            separator = line[3:4] or separator
        if rest.strip():
            raise Refused(Fault("100", Place(name), "What follows it belongs to no message."))
        count.check(name, line, separator)
    if len(messages) > MOST:
        raise Refused(Fault("207", Place("BHS"), f"A batch has at most {MOST} messages.", reject=True))
    wide = tuple(m.decode("utf-8").encode("utf-16") for m in messages) if codec else tuple(messages)
    has_header, is_file = bool({"FHS", "BHS"} & set(count.order)), "FHS" in count.order
    to = sender_of(data[found[0].start(1) :][:8192]) if found else Sender()
    return Batch(wide, to if has_header else to._replace(control_id=""), has_header, is_file, tuple(count.parts))


def join(answers: Sequence[Sequence[str]], batch: Batch, *, at: str, own_id: str) -> str:
    """Write the answers of a batch as one batch; of a file as a file, with a batch for each of its batches.

    Args:
        answers: The acknowledgements of each message, each ending in CR.
        batch: What they answer.
        at: BHS-7.
        own_id: BHS-11.
    """
    to, field = batch.sender, USUAL.field

    def head(name: str, control_id: str) -> str:
        cells = (
            name, USUAL.encoding, to.receiving_application, to.receiving_facility, to.application, to.facility,
            at, "", "", "", own_id, control_id,
        )  # fmt: skip
        return field.join(cells).rstrip(field) + "\r"

    made, at_message = [], 0
    for control_id, count in batch.parts or (("", len(answers)),):
        own = [text for each in answers[at_message : at_message + count] for text in each]
        made.append(f"{head('BHS', control_id)}{''.join(own)}BTS{field}{len(own)}\r")
        at_message += count
    inner = "".join(made)
    return f"{head('FHS', to.control_id)}{inner}FTS{field}{len(made)}\r" if batch.is_file else inner
