"""Messages about one patient, read segment by segment: who it is, and which stay is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.draft import Person, Visit
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.maps import nk1
from adapters.hl7.messages.patient_parts import with_parts
from adapters.hl7.messages.person import VISIT_LINK, read_person, visit_key
from adapters.hl7.tokens import Segment

ALONG: Final = frozenset({"AL1", "IAM", "IN1", "NK1", "OBX"})
"""Segments beside PID that are read of messages that do not lead on identity."""

OF_OBX: Final = frozenset({"NTE", "PRT"})
"""What belongs to the OBX that it follows."""


def named(segments: Sequence[Segment], name: str) -> list[Segment]:
    """Return the segments of a name."""
    return [segment for segment in segments if segment.name == name]


def only_patient(context: Context, segments: Sequence[Segment]) -> Person:
    """Return the patient whom a message is about; orders, documents and vaccinations have one.

    Raises:
        Refused: There is none, there are several, or no identifier tells who it is.
    """
    found = named(segments, "PID")
    if len(found) != 1:
        place = found[1].place() if found else Place("PID")
        raise Refused(Fault("100", place, "The message is about one patient: it has one PID."))
    return read_person(context, found[0], leads=False)


def told_parts(context: Context, segments: Sequence[Segment], person: Person) -> Person:
    """Return a person with the contacts, allergies, insurance and observations that a message gives along.

    It leads on none but the observations (from version 2.6 on OBX stand after PID too): it only fills what is missing.
    """
    found = _along(segments)
    if not found:
        return person
    made = with_parts(context, [*named(segments, "MSH"), *found], person, None)
    contacts = tuple(one for one in made.stated if one.row is nk1.CONTACTS)
    wanted = tuple(one if one.segment.name == "OBX" else replace(one, how="fill") for one in made.wanted)
    return replace(person, stated=(*person.stated, *contacts), wanted=wanted)


def _along(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments that are read beside PID, with what belongs to an OBX."""
    made: list[Segment] = []
    is_open = False
    for one in segments:
        is_open = one.name == "OBX" or (is_open and one.name in OF_OBX)
        if one.name in ALONG or (is_open and one.name == "NTE"):
            made.append(one)
    return made


def visit_of(context: Context, pid: Segment, segments: Sequence[Segment]) -> Visit | None:
    """Return the stay that a message names; it says no more about it."""
    found = named(segments, "PV1")
    key = visit_key(context, pid, found[0]) if found else None
    if key is None:
        return None
    context.take(found[0], VISIT_LINK)
    return Visit(key, found[0])
