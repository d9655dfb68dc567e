"""NK1 to Patient.contact and RelatedPerson. Guide: HL7/v2-to-fhir at 8c9b414, segments/NK1.

Every next of kin is a contact; all but employers, federal agencies, insurance companies and state agencies (NK1-3 of
table 0131 or 0063: E, EMR, F, I, S) are RelatedPersons too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, coded, identifier, mapped
from adapters.hl7.demography import address, human_name, organization, telecoms
from adapters.hl7.ids import unique
from adapters.hl7.maps.rows import whole
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import Parts, Segment

CONTACTS: Final = whole(0, "contact", "NK1[Patient]; the list is a snapshot: it replaces the one before")
USED: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15, 16, 20, 30, 31, 32, 33, 40, 41})
NO_PERSONS: Final = frozenset({"E", "EMR", "F", "I", "S"})


def _role(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert a contact role by table 0131; ours: a code of table 0063, which many send, is read by that."""
    name = "ContactRole" if parts[0][0] in table("ContactRole") else "Relationship"
    return mapped(name)(context, segment, number, parts)


def _each(context: Context, segment: Segment, numbers: Sequence[int], convert: Any) -> list[Any]:
    made = [convert(context, segment, n, parts) for n in numbers for parts in segment.repetitions(n)]
    return [one for one in made if one]


def _telecom(context: Context, nk1: Segment, numbers: Sequence[int]) -> list[Json]:
    made = []
    for number in numbers:
        found = telecoms(context, nk1, number)
        made += [{**one, "use": "work"} if number == 6 else one for one in found]
    return made


def _shared(context: Context, nk1: Segment) -> Json:
    """Return what a contact and a RelatedPerson have in common."""
    made: Json = {"relationship": _each(context, nk1, (3,), mapped("Relationship")) + _each(context, nk1, (7,), _role)}
    if gender := code_of(context, nk1, 15, "AdministrativeSex", nk1.text(15)):
        made["gender"] = gender
    if period := context.period(nk1, 8, nk1.text(8), nk1.text(9)):
        made["period"] = period
    return made


def is_no_person(nk1: Segment) -> bool:
    """Whether NK1 tells of an employer, an agency or an insurance."""
    return nk1.text(3) in NO_PERSONS or nk1.text(7) in NO_PERSONS


def contact(context: Context, nk1: Segment) -> Json | None:
    """Return Patient.contact; None where it says nothing that a contact must have."""
    made = _shared(context, nk1)
    names = _each(context, nk1, (2, 30), human_name)
    places = _each(context, nk1, (4, 32), address)
    if is_no_person(nk1):  # no RelatedPerson has what a contact has no place for
        for field, found in ((2, names), (4, places)):
            if len(found) > 1:
                context.note(nk1, field, "repetition-not-used")
    if names:
        made["name"] = names[0]
    if telecom := _telecom(context, nk1, (5, 6, 31, 40, 41)):
        made["telecom"] = telecom
    if places:
        made["address"] = places[0]
    if where := _each(context, nk1, (13,), organization):
        made["organization"] = where[0]
    if not made.keys() & {"name", "telecom", "address", "organization"}:  # R4, pat-1
        context.note(nk1, 2, "contact-without-content")
        return None
    return {key: value for key, value in made.items() if value}


def _told_of_contact(context: Context, nk1: Segment) -> Json:
    """Return what the contact says too, as a RelatedPerson has it: what could not be carried is noted there."""
    return {
        **_shared(context, nk1),
        "name": _each(context, nk1, (2, 30), human_name),
        "telecom": _telecom(context, nk1, (5, 6, 31, 40, 41)),
        "address": _each(context, nk1, (4, 32), address),
    }


def related_person(context: Context, nk1: Segment, patient: tuple[str, str]) -> Json | None:
    """Return the RelatedPerson; None for what is no person, or has nothing that tells it from others."""
    if is_no_person(nk1):
        return None
    told = context.quietly(lambda: _told_of_contact(context, nk1))
    numbers, names = _each(context, nk1, (12, 33), identifier), told["name"]
    known = (numbers[0]["system"], numbers[0]["value"]) if numbers else (nk1.raw(2), nk1.raw(3))
    if not numbers and not names:
        known = ("", "".join(nk1.raw(field) for field in (4, 5, 6, 31, 32, 40, 41)))
    if not any(known):
        return None
    id = unique(context, nk1, ("RelatedPerson", context.tenant, *patient, *known), 2)
    birth = context.moment(nk1, 16, nk1.text(16))
    made: Json = {
        "resourceType": "RelatedPerson",
        "id": id,
        "active": True,
        "identifier": numbers,
        **told,
        "birthDate": birth.date if birth else "",
        "communication": [{"language": one} for one in _each(context, nk1, (20,), coded)],
    }
    return {key: value for key, value in made.items() if value not in ("", [])}
