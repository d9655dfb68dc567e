"""A draft to the entries of one FHIR transaction, by what is stored now.

Runs inside the transaction that also stores the message: what is looked up here cannot change before it is written.
It writes there too: clocks (`clocks`), movements (`stays`) and merges (`patients`); a run that is only to tell what
would happen must not be committed.
"""

from __future__ import annotations

from adapters.hl7 import patients, snapshots, stays
from adapters.hl7.draft import Draft
from adapters.hl7.planned import Plan as Plan
from adapters.hl7.standing import place
from adapters.hl7.stays import stay as stay
from fhir_server.interface import Writing
from fhir_server.model import Resource


async def plan(writing: Writing, draft: Draft, sender: str) -> Plan:
    """Return the entries that make the store say what the message says.

    Args:
        writing: The transaction; merges that the message asks for are made in it.
        draft: What the message wants stored.
        sender: Names the feed (application and facility).

    Raises:
        FhirError: More than one resource has an identifier, or a merge cannot be made.
        Refused: The stay belongs to another patient; a patient would be merged with itself.
    """
    made = Plan()
    for person in draft.people:
        await patients.join(writing, person, made)
    for person in draft.people:
        patient = await patients.settle(writing, draft, sender, person, made)
        encounter: Resource | None = None
        if person.visit and person.leads:
            encounter = {"reference": await stays.settle(writing, draft, sender, person.visit, patient, made)}
        elif person.visit:
            encounter = await stays.link(writing, person.visit, patient, made)
        await snapshots.note_missing(writing, sender, person, patient, made)
        await place(writing, draft, sender, person, patient, encounter, made)
    await patients.tie(writing, draft, made)
    return made
