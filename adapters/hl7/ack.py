"""Acknowledgements: which are due, and their text.

Original mode answers one AA, AE or AR. A message with MSH-15 or MSH-16 asks for enhanced mode: an accept
acknowledgement (CA: kept, CE, CR) by MSH-15, an application acknowledgement (AA, AE, AR) by MSH-16.
Source: HL7 v2.5.1 chapter 2, section 2.9 (message processing rules); ERR: section 2.15.5.
"""

from __future__ import annotations

from typing import NamedTuple

from adapters.hl7.escapes import Delimiters, escape
from adapters.hl7.faults import Fault
from adapters.hl7.tokens import Segment, write_field

USUAL = Delimiters()
OWN_NAME = "PREDMP"
SHORT_ERR = ("2.1", "2.2", "2.3", "2.3.1", "2.4")  # versions whose ERR has the place and the code in ERR-1
ACCEPTING = {"AA": "CA", "AE": "CE", "AR": "CR"}


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


def sender(header: Segment) -> Sender:
    """Read from an MSH segment what its answer needs."""
    return Sender(
        _usual(header, 3),
        _usual(header, 4),
        _usual(header, 5),
        _usual(header, 6),
        header.text(9, 2),
        _usual(header, 10),
        _usual(header, 11) or "P",
        _usual(header, 12) or "2.5",
        header.text(15),
        header.text(16),
        _usual(header, 18),
    )


def _usual(header: Segment, field: int) -> str:
    """Return a field as it is written with the usual delimiters: senders that use others read these too."""
    if header.syntax.delimiters == USUAL:
        return header.raw(field)
    return write_field(header.repetitions(field), USUAL)


def _is_due(condition: str, *, good: bool) -> bool:
    return condition == "AL" or (condition == "SU" and good) or (condition == "ER" and not good)


def due(to: Sender, code: str, *, kept: bool) -> list[str]:
    """Return the MSA-1 codes of the answers that are due.

    Args:
        to: Whom they answer.
        code: AA, AE or AR: what became of the message.
        kept: Whether it is stored; then the accept acknowledgement is CA also where its content has a fault.
    """
    if not to.accept and not to.respond:
        return [code]
    accepted = "CA" if kept and code != "AR" else ACCEPTING[code]
    found = [accepted] if _is_due(to.accept, good=accepted == "CA") else []
    return [*found, code] if _is_due(to.respond, good=code == "AA") else found


def write(to: Sender, code: str, *, at: str, own_id: str, fault: Fault | None = None) -> str:
    """Write one acknowledgement.

    Args:
        to: Whom it answers.
        code: MSA-1.
        at: MSH-7.
        own_id: MSH-10 of the answer, at most 20 characters.
        fault: What ERR says; it never holds a value of the message.
    """
    marks = USUAL
    field, component = marks.field, marks.component
    kind = component.join(("ACK", escape(to.trigger, marks), "ACK") if to.trigger else ("ACK",))
    header = (
        "MSH", marks.encoding, to.receiving_application or OWN_NAME, to.receiving_facility, to.application, to.facility,
        at, "", kind, own_id, to.processing, to.version, "", "", "", "", "", to.charset,
    )  # fmt: skip
    segments = [field.join(header).rstrip(field), field.join(("MSA", code, to.control_id))]
    if fault is not None:
        segments.append(_error(fault, to.version))
    return "\r".join(segments) + "\r"


def _error(fault: Fault, version: str) -> str:
    marks, place = USUAL, fault.place
    location = [escape(place.segment, marks), str(place.number)]
    if place.field:
        location.append(str(place.field))
    if version.partition(marks.component)[0] in SHORT_ERR:
        return f"ERR{marks.field}{marks.component.join([*location, fault.code])}"
    if place.field and (place.repetition or place.component):
        location += [str(place.repetition or 1), *([str(place.component)] if place.component else [])]
    named = marks.component.join((fault.code, escape(fault.text, marks), "HL70357"))
    cells = ("ERR", "", marks.component.join(location), named, "E", "", "", escape(fault.detail, marks))
    return marks.field.join(cells).rstrip(marks.field)
