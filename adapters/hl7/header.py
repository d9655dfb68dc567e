"""The header of a message: all that its acknowledgement needs, read without reading the rest.

A sender's headers differ in their time and control id alone, so what else they say is read once (`_Form`) and found
again by its bytes. A header that is out of the ordinary (other delimiters, other than ASCII, very long) is read
anew each time, with the same result.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from adapters.hl7 import ack, charset, tokens
from adapters.hl7.channels import Channel
from adapters.hl7.convert import kind
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.times import stamp
from adapters.hl7.tokens import Message, Segment

_NAME = re.compile(r"[A-Z]{3}\^[A-Z][0-9]{2}")
_PID = re.compile(rb"[\r\n][ \t\r\n]*PID(?=[^A-Za-z0-9])([^\r\n]*)")
_SECOND = re.compile(rb"[\r\n][ \t\r\n]*MSH(?=[^A-Za-z0-9\r\n])")
_DAY = re.compile(r"\d{8}")

PROCESSING, TRIALS = frozenset({"P", ""}), frozenset({"T", "D"})
"""MSH-11 of messages that are taken; tests and debugging only where the channel says so."""

PATIENTS: Final = frozenset({"ADT", "MDM", "OML", "ORM", "ORU", "VXU"})
"""Message types that are about a patient: without a PID they are refused at once."""

NO_PATIENT: Final = Fault("100", Place("PID"), "The message has no patient.")
NO_IDENTIFIER: Final = Fault("101", Place("PID", 1, 3), "The patient has no identifier.")
TWO_MESSAGES: Final = Fault("100", Place("MSH", 2), "There are two messages in one frame.")

_MOST_FORMS = 1_000  # senders' headers that are kept
_LONGEST = 1_024  # bytes of a header that is
_TIME, _ID, _OWN = "\ue000", "\ue001", "\ue002"  # places in the text of an answer
_NULL = tokens.NULL.encode()


class _Piece(NamedTuple):
    """An answer with its places."""

    code: str
    before_time: str
    before_own: str
    before_id: str
    after: str


@dataclass(slots=True)
class _Form:
    """What the headers of one sender and one kind of message have in common."""

    sender: ack.Sender
    name: str  # e.g. ADT^A01; "" where it cannot be told
    known: str  # channel, application and facility, as a key begins
    codec: str = "utf-8"
    fault: Fault | None = None
    has_profile: bool = False  # MSH-21: the profile may take results without a patient
    is_answer: bool = field(init=False)
    answers: dict[tuple[str, bool], tuple[_Piece, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_answer = self.name.partition("^")[0] in ack.ANSWERS

    def pieces(self, code: str, *, kept: bool) -> tuple[_Piece, ...]:
        """Return the answers that are due to a message without a fault."""
        found = self.answers.get((code, kept))
        if found is None:
            to = self.sender._replace(control_id=_ID)
            found = tuple(_piece(to, each) for each in ack.due(to, code, kept=kept))
            self.answers[code, kept] = found
        return found


def _piece(to: ack.Sender, code: str) -> _Piece:
    before_time, _, rest = ack.write(to, code, at=_TIME, own_id=_OWN).partition(_TIME)
    before_own, _, rest = rest.partition(_OWN)
    before_id, _, after = rest.partition(_ID)
    return _Piece(code, before_time, before_own, before_id, after)


@dataclass(slots=True)
class Header:
    """A message of which the header was read."""

    channel: Channel
    raw: bytes
    sha256: str
    codec: str
    control: str  # MSH-10, "" where it has none
    form: _Form
    day: str = ""  # of MSH-7, where the channel's keys have it
    sequence: str = ""  # MSH-13
    fault: Fault | None = None  # what is told at once
    is_cut: bool = False  # the frame had no end: it is not known by its control id, or it would hide the whole one
    text: str | None = None  # the whole message, where it was decoded on the way
    key: str = field(init=False)
    """What the message is known by: channel, application, facility, control id, day where its channel says so."""

    def __post_init__(self) -> None:
        made = self.form.known + self.control_id.replace("|", "%7C")
        if self.day:
            made += f"|{self.day}"
        self.key = f"{made}|{self.sha256}" if self.is_cut else made

    @property
    def sender(self) -> ack.Sender:
        """What an answer takes from it."""
        return self.form.sender._replace(control_id=self.control)

    @property
    def control_id(self) -> str:
        """MSH-10, else a name made from the bytes."""
        return self.control or f"sha256:{self.sha256}"

    @property
    def name(self) -> str:
        """E.g. `ADT^A01`; "" where it cannot be told."""
        return self.form.name

    @property
    def label(self) -> str:
        """The name where it looks like one: what a log may show."""
        return label_of(self.name)

    @property
    def is_answer(self) -> bool:
        """Whether it is itself an acknowledgement: these are not answered."""
        return self.form.is_answer

    def answers(
        self, code: str, *, kept: bool, now: int, faults: Sequence[Fault] = (), expected: int | None = None
    ) -> tuple[str, ...]:
        """Write the acknowledgements that are due; the same for the same message, code and time.

        Args:
            code: AA, AE or AR.
            kept: Whether the message is stored.
            now: Microseconds since 1970.
            faults: What ERR says.
            expected: MSA-4, the sequence number that is expected next.
        """
        at, key = _stamped(now // 1_000_000), self.key
        if faults or expected is not None:
            to = self.sender
            return tuple(
                ack.write(to, each, at=at, own_id=self._own_id(key, each), faults=faults, expected=expected)
                for each in ack.due(to, code, kept=kept)
            )
        return tuple(
            [
                f"{p.before_time}{at}{p.before_own}{self._own_id(key, p.code)}{p.before_id}{self.control}{p.after}"
                for p in self.form.pieces(code, kept=kept)
            ]
        )

    def answer(self, code: str, *, now: int, faults: Sequence[Fault] = ()) -> str:
        """Write one acknowledgement, whether or not it is due."""
        return ack.write(
            self.sender, code, at=_stamped(now // 1_000_000), own_id=self._own_id(self.key, code), faults=faults
        )

    def _own_id(self, key: str, code: str) -> str:
        """Return the control id of an answer: always the same for the same message and code."""
        return hashlib.sha256(f"{key}\x1f{self.sha256}\x1f{code}".encode()).hexdigest()[:20].upper()


class Headers:
    """Reads headers; remembers the forms of the last thousand."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, bool, bool, bytes], _Form | None] = {}

    def read(self, channel: Channel, raw: bytes, *, cut: Fault | None = None) -> Header:
        """Read the header of a message.

        Args:
            channel: The way it came.
            raw: Its bytes, without framing.
            cut: What is wrong with the frame itself.
        """
        found = self._quickly(channel, raw) if cut is None and raw.startswith(b"MSH|^~\\&|") else None
        return found or read_header(channel, raw, cut=cut)

    def _quickly(self, channel: Channel, raw: bytes) -> Header | None:
        """Read an ordinary header; None for any other."""
        end = raw.find(b"\r", 9, _LONGEST)
        line = raw[: max(end, 0)]
        cells = line.split(b"|")
        if len(cells) < 12 or not line.isascii() or b"\n" in line or b"\x00" in line:
            return None
        time, control, number = cells[6], cells[9], cells[12] if len(cells) > 12 else b""
        if not control or control == _NULL or len(control) > ack.LONGEST:
            return None
        cells[6] = cells[9] = b""
        if number:
            cells[12] = b""
        place = (channel.name, channel.test, channel.enhanced, b"|".join(cells))
        form = self._forms.get(place)
        if form is None:
            if place in self._forms:
                return None
            form = self._learn(channel, place)
            if form is None:
                return None
        try:
            text = raw.decode("ascii" if raw.isascii() else form.codec)
        except UnicodeDecodeError:
            return None  # it declares nothing, or not what it is in
        day = _day(time.decode("ascii")) if channel.key_by_day else ""
        digest = hashlib.sha256(raw).hexdigest()
        fault = form.fault or _looked_at(raw, form, end)
        return Header(
            channel, raw, digest, form.codec, control.decode("ascii"), form, day, number.decode("ascii"), fault,
            text=text if "\x00" not in text else None,
        )  # fmt: skip

    def _learn(self, channel: Channel, place: tuple[str, bool, bool, bytes]) -> _Form | None:
        """Read what headers like this one have in common; None where they must be read one by one."""
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        cells = place[3].split(b"|")
        cells[9] = b"1"
        made = read_header(channel, b"|".join(cells) + b"\r", is_alone=True)
        has_event = bool(cells[8].partition(b"^")[2].strip(b"^"))
        usable = made.codec in ("ascii", "utf-8") or made.codec.startswith("iso8859-")
        made.form.fault = made.fault
        self._forms[place] = made.form if usable and has_event and made.name else None
        return self._forms[place]


@lru_cache(maxsize=16)
def _stamped(second: int) -> str:
    return stamp(second * 1_000_000)


def _day(time: str) -> str:
    match = _DAY.match(time)
    return match.group() if match else ""


def _looked_at(raw: bytes, form: _Form, end: int) -> Fault | None:
    """Tell by the bytes what must be there: one header, which has its end, and the patient where one is asked for."""
    if raw.find(b"MSH", 3) >= 0 and _SECOND.search(raw, 3):
        return TWO_MESSAGES
    if form.name[:3] not in PATIENTS:
        return None
    stop = raw.find(b"\r", end + 1)
    line = raw[end + 1 : stop if stop >= 0 else len(raw)]
    if line[:4] == b"PID|" and b"\n" not in line:  # where it usually stands; `raw` begins with MSH|
        cells = line.split(b"|", 5)
    elif (found := _PID.search(raw, end)) is not None:
        cells = found.group(1).split(b"|", 5)
    else:
        return None if form.has_profile and form.name[:3] == "ORU" else NO_PATIENT
    for cell in cells[2:5]:
        if cell and cell != _NULL:
            return None
    return NO_IDENTIFIER


def _missing(message: Message, form: _Form) -> Fault | None:
    """Tell the same of a message that was decoded and parted, whatever its delimiters and character set."""
    if sum(segment.name == "MSH" for segment in message.segments) > 1:
        return TWO_MESSAGES
    if form.name[:3] not in PATIENTS:
        return None
    pid = next((segment for segment in message.segments if segment.name == "PID"), None)
    if pid is None:
        return None if form.has_profile and form.name[:3] == "ORU" else NO_PATIENT
    return None if any(map(pid.is_valued, (2, 3, 4))) else NO_IDENTIFIER


def check_header(channel: Channel, message: Message) -> None:
    """Check what the header says of the message.

    Raises:
        Refused: 101 without control id, 200, 201, 203 for what is not taken, 202 for tests on a channel without.
    """
    header = message.header
    kind(message)
    if not header.is_valued(10):
        raise Refused(Fault("101", header.place(10), "The control id is missing."))
    if header.text(11) not in PROCESSING and not (channel.test and header.text(11) in TRIALS):
        raise Refused(Fault("202", header.place(11)))


def name_of(header: Segment) -> str:
    """Return the name of a message, e.g. `ADT^A01`."""
    return "^".join(text for text in (header.text(9, 1), header.text(9, 2)) if text)


def label_of(name: str) -> str:
    """Return the name of a message where it looks like one: what a log may show."""
    return name if _NAME.fullmatch(name) else "?"


def read_header(channel: Channel, raw: bytes, *, cut: Fault | None = None, is_alone: bool = False) -> Header:
    """Read any header.

    Args:
        channel: The way it came.
        raw: The message's bytes, without framing.
        cut: What is wrong with the frame itself.
        is_alone: Whether only the header is given, and nothing is said of the rest.
    """
    codec, to, name, day, number, profile = "utf-8", ack.Sender(), "", "", "", False
    fault, message = cut, None
    try:
        decoded = charset.decode(raw, default=channel.charset)
        codec = decoded.codec
        message = tokens.tokenize(decoded.text, codec)
        header = message.header
        to, name = ack.sender(header), name_of(header)
        day, number, profile = _day(header.text(7)), header.text(13), header.is_valued(21)
        if cut is None:
            check_header(channel, message)
    except Refused as refused:
        fault = fault or refused.fault
        if not to.control_id:
            to = ack.sender_of(raw)
    if not channel.enhanced:
        to = to._replace(accept="", respond="")
    parts = (channel.name, to.application, to.facility, "")
    form = _Form(to, name, "|".join(part.replace("|", "%7C") for part in parts), codec, has_profile=profile)
    if fault is None and message is not None and not is_alone:
        fault = _missing(message, form)
    return Header(
        channel,
        raw,
        hashlib.sha256(raw).hexdigest(),
        codec,
        to.control_id,
        form,
        day if channel.key_by_day else "",
        number,
        fault,
        cut is not None,
    )
