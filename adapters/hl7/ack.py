"""Acknowledgements: which are due, and their text.

Original mode answers one AA, AE or AR. A message with MSH-15 or MSH-16 asks for enhanced mode: an accept
acknowledgement (CA: kept, CE, CR) by MSH-15 at once, and an application acknowledgement (AA, AE, AR) by MSH-16,
a message of its own on the same line, once the message is applied.
Source: HL7 v2.5.1 chapter 2, section 2.9 (message processing rules); ERR: section 2.15.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from adapters.hl7.charset import header_line
from adapters.hl7.escapes import Delimiters, escape
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.tokens import Segment, tokenize, write_field

USUAL = Delimiters()
OWN_NAME = "PREDMP"
SHORT_ERR = ("2.1", "2.2", "2.3", "2.3.1", "2.4")  # versions whose ERR has the place and the code in ERR-1
SHORT_TYPE = ("2.1", "2.2", "2.3")  # versions whose MSH-9 has no third component
ACCEPTING = {"AA": "CA", "AE": "CE", "AR": "CR"}

ANSWERS = frozenset(
    {"ACK", "MCF", "MFK", "NMR", "ORA", "ORG", "ORL", "ORR", "OSR", "RRA", "RRD", "RRE", "RRG", "RRI", "RSP", "SRR"}
)
"""MSH-9.1 of messages that answer another: they are never answered."""

RESPONSES = {"R40": ("ORA", "R41", "ORA_R41")}
"""Trigger -> MSH-9 of the application acknowledgement, where it is not the general one. IHE PCD-04 has it so."""

CONDITIONS = frozenset({"AL", "NE", "ER", "SU"})
"""MSH-15 and MSH-16: HL7 table 0155. Another word says nothing: a sender that writes one waits for its answer."""

_PLAIN = re.compile(r"[\w .:/+-]{1,250}", re.ASCII)

LONGEST = 250
"""Characters of a header's field that are echoed. The longest that HL7 allows a field of MSH is 250 (MSH-21 aside)."""

MOST_ERRORS = 20
"""ERR segments of one answer."""


class Sender(NamedTuple):
    """What an answer takes from the header it answers, each as written with the usual delimiters."""

    application: str = ""  # MSH-3
    facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    trigger: str = ""  # MSH-9.2
    control_id: str = ""
    processing: str = "P"
    version: str = "2.5"
    accept: str = ""  # MSH-15
    respond: str = ""  # MSH-16
    charset: str = ""

    @property
    def is_enhanced(self) -> bool:
        """Whether it asks for enhanced mode."""
        return bool(self.accept or self.respond)

    def is_of(self, versions: Sequence[str]) -> bool:
        """Whether MSH-12 is one of these."""
        return self.version.partition(USUAL.component)[0] in versions


def sender(header: Segment) -> Sender:
    """Read from an MSH segment what its answer needs."""
    return Sender(
        _usual(header, 3),
        _usual(header, 4),
        _usual(header, 5),
        _usual(header, 6),
        header.text(9, 2)[:LONGEST],
        _usual(header, 10),
        _usual(header, 11) or "P",
        _usual(header, 12) or "2.5",
        _condition(header, 15),
        _condition(header, 16),
        _usual(header, 18),
    )


def _condition(header: Segment, field: int) -> str:
    found = header.text(field).strip().upper()
    return found if found in CONDITIONS else ""


def sender_of(raw: bytes) -> Sender:
    """Read the same from bytes whose character set is not known, or a batch's or file's header; nothing without one."""
    line = header_line(raw)
    is_batch = line[:3] in ("BHS", "FHS")
    try:
        header = tokenize(f"MSH{line[3:]}" if is_batch else line).header
    except Refused:
        return _unparted(line)
    if is_batch:
        names = (_usual(header, 3), _usual(header, 4), _usual(header, 5), _usual(header, 6))
        return Sender(*names, control_id=_usual(header, 11))
    return sender(header)._replace(charset="")


def _unparted(line: str) -> Sender:
    """Read whom to answer where MSH-2 parts nothing: the names and the control id that hold no mark of ours."""
    field = line[3:4]
    if line[:3] != "MSH" or not field or field.isalnum() or field.isspace():
        return Sender()
    cells = [each.strip() if _PLAIN.fullmatch(each.strip()) else "" for each in [*line.split(field)[:12], *[""] * 12]]
    version = cells[11] if cells[11] in SHORT_ERR else Sender().version
    return Sender(cells[2], cells[3], cells[4], cells[5], control_id=cells[9], version=version)


def _usual(header: Segment, field: int) -> str:
    """Return a field as it is written with the usual delimiters: senders that use others read these too."""
    if header.syntax.delimiters == USUAL:
        return header.raw(field)[:LONGEST]
    return write_field(header.repetitions(field), USUAL)[:LONGEST]


def _is_due(condition: str, *, good: bool) -> bool:
    return condition == "AL" or (condition == "SU" and good) or (condition == "ER" and not good)


def accept_due(to: Sender, code: str, *, kept: bool) -> str:
    """Return the accept acknowledgement of enhanced mode that is due at once (CA, CE, CR), "" where none is."""
    accepted = "CA" if kept and code != "AR" else ACCEPTING[code]
    return accepted if _is_due(to.accept, good=accepted == "CA") else ""


def application_due(to: Sender, code: str) -> str:
    """Return the application acknowledgement of enhanced mode that is due (AA, AE, AR), "" where none is."""
    return code if _is_due(to.respond, good=code == "AA") else ""


def due(to: Sender, code: str, *, kept: bool) -> list[str]:
    """Return the MSA-1 codes of the answers that are due.

    Args:
        to: Whom they answer.
        code: AA, AE or AR: what became of the message.
        kept: Whether it is stored; then the accept acknowledgement is CA also where its content has a fault.
    """
    if not to.is_enhanced:
        return [code]
    accepted, applied = accept_due(to, code, kept=kept), application_due(to, code)
    if accepted in ("CE", "CR"):
        return [accepted]  # what is not accepted is not applied: no other answer follows
    return [found for found in (accepted, applied) if found]


def _kind(to: Sender, code: str) -> str:
    """Return MSH-9 of an answer."""
    if code[0] == "A" and to.trigger in RESPONSES:
        return USUAL.component.join(RESPONSES[to.trigger])
    parts = ("ACK", escape(to.trigger, USUAL), "ACK") if to.trigger else ("ACK",)
    return USUAL.component.join(parts[:2] if to.is_of(SHORT_TYPE) else parts)


def write(
    to: Sender,
    code: str,
    *,
    at: str,
    own_id: str,
    fault: Fault | None = None,
    faults: Sequence[Fault] = (),
    expected: int | None = None,
) -> str:
    """Write one acknowledgement.

    Args:
        to: Whom it answers.
        code: MSA-1.
        at: MSH-7.
        own_id: MSH-10 of the answer, at most 20 characters.
        fault: What ERR says; it never holds a value of the message.
        faults: The same where there are several: one ERR for each, at most 20.
        expected: MSA-4, the sequence number that is expected next.
    """
    marks = USUAL
    field = marks.field
    wrong = [*([fault] if fault else []), *faults][:MOST_ERRORS]
    modes = ("NE", "NE") if to.is_enhanced and code[0] == "A" else ("", "")  # an answer asks for none
    header = (
        "MSH", marks.encoding, to.receiving_application or OWN_NAME, to.receiving_facility, to.application, to.facility,
        at, "", _kind(to, code), own_id, to.processing, to.version, "", "", *modes, "", to.charset,
    )  # fmt: skip
    said = (wrong[0].detail or wrong[0].text) if wrong and to.is_of(SHORT_ERR) else ""
    more = ["" if not said else escape(said, marks)[:80], "" if expected is None else str(expected)]
    while more and not more[-1]:
        more.pop()
    segments = [field.join(header).rstrip(field), field.join(("MSA", code, to.control_id, *more))]
    return "\r".join([*segments, *_errors(wrong, to)]) + "\r"


def _errors(faults: Sequence[Fault], to: Sender) -> list[str]:
    """Return the ERR segments: one a fault; up to 2.4 one for all, a repetition of ERR-1 for each."""
    if not to.is_of(SHORT_ERR):
        return [_error(fault) for fault in faults]
    return [f"ERR{USUAL.field}{USUAL.repetition.join(map(_short_error, faults))}"] if faults else []


def _short_error(fault: Fault) -> str:
    place = fault.place
    cells = (escape(place.segment, USUAL), str(place.number), str(place.field or ""), fault.code)
    return USUAL.component.join(cells)


def _error(fault: Fault) -> str:
    marks, place = USUAL, fault.place
    location = [escape(place.segment, marks), str(place.number)]
    if place.field:
        location.append(str(place.field))
        if place.repetition or place.component:
            location += [str(place.repetition or 1), *([str(place.component)] if place.component else [])]
    named = marks.component.join((fault.code, escape(fault.text, marks), "HL70357"))
    path, detail = escape(place.path, marks), escape(fault.detail, marks)
    cells = ("ERR", "", marks.component.join(location), named, "E", "", "", path, detail)
    return marks.field.join(cells).rstrip(marks.field)
