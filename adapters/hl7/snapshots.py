"""What a list of a message no longer has: it stays, and the message log says so."""

from __future__ import annotations

from typing import Final

from adapters.hl7.draft import Person
from adapters.hl7.faults import Problem
from adapters.hl7.planned import CLOCK, Plan
from fhir_server.interface import Writing

LISTED: Final = "AllergyIntolerance"
SEGMENT: Final = "AL1"
MOST: Final = 200  # allergies of one patient that are looked at


async def note_missing(writing: Writing, sender: str, person: Person, patient: str, made: Plan) -> None:
    """Note allergies that this sender told of before and that its list (AL1) no longer has.

    Nobody said that they are over: an allergy ends by IAM-6 D, or by whom the record belongs to.
    """
    listed = [one for one in person.wanted if one.segment.name == SEGMENT]
    if not listed or patient.startswith("urn:"):
        return
    ids = {one.resource["id"] for one in listed}
    for stored in await writing.find(f"{LISTED}?patient={patient.partition('/')[2]}&_count={MOST}"):
        if stored["id"] not in ids and await writing.record(CLOCK, f"{LISTED}|{stored['id']}||{sender}") is not None:
            made.problems.append(Problem(f"{SEGMENT}[1]", "no-longer-listed"))
            return
