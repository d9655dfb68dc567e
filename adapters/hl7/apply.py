"""A draft to the entries of one FHIR transaction, by what is stored now.

Runs inside the transaction that also stores the message: what is looked up here cannot change before it
is written. A feed's older event never undoes a newer one: the time of its last event on each patient and
stay is kept beside them.
"""

from __future__ import annotations

from typing import Any

from adapters.hl7.draft import Draft, Person, Visit
from adapters.hl7.faults import Fault, Problem, Refused
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.merge import complete, replace
from adapters.hl7.planned import Plan as Plan
from adapters.hl7.planned import identified, is_outdated
from adapters.hl7.results import made_id
from adapters.hl7.standing import place
from adapters.hl7.times import is_reversed
from fhir_server.errors import MultipleMatches
from fhir_server.interface import Writing
from fhir_server.model import Entry, Resource

UNKNOWN_CLASS: Resource = {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}


async def _stored(writing: Writing, type: str, key: tuple[str, str]) -> Resource | None:
    found = await writing.find(f"{identified(type, key)}&_count=2")
    if len(found) > 1:
        raise MultipleMatches(f"More than one {type} has the identifier that the message gives.")
    return found[0] if found else None


async def plan(writing: Writing, draft: Draft, sender: str) -> Plan:
    """Return the entries that make the store say what the message says.

    Args:
        writing: The transaction.
        draft: What the message wants stored.
        sender: Names the feed (application and facility).

    Raises:
        FhirError: More than one resource has an identifier.
        Refused: The stay belongs to another patient.
    """
    made = Plan()
    for person in draft.people:
        patient = await _patient(writing, draft, sender, person, made)
        encounter = None
        if person.visit and person.leads:
            encounter = await _encounter(writing, draft, sender, person.visit, patient, made)
        elif person.visit:
            encounter = await _link(writing, person.visit, patient, made)
        await place(writing, draft, sender, person, patient, encounter, made)
    return made


async def _patient(writing: Writing, draft: Draft, sender: str, person: Person, made: Plan) -> str:
    """Plan the patient; return the reference to it."""
    known = made.references.get(("Patient", *person.key))
    if known:
        return known
    current = await _stored(writing, "Patient", person.key)
    outdated = person.leads and await is_outdated(writing, draft, sender, "Patient", person.key)
    if current is None:
        resource = replace({"resourceType": "Patient"}, person.stated)
        reference = _planned(made, resource, person.key, None)
    else:
        reference = f"Patient/{current['id']}"
        if outdated:
            made.outdated = True
            made.problems.append(Problem(person.segment.place().path, "older-than-stored"))
        else:
            _planned(made, _updated(person, current, made), person.key, current)
    made.references["Patient", *person.key] = reference
    return reference


def _updated(person: Person, current: Resource, made: Plan) -> Resource:
    if person.leads:
        return replace(current, person.stated)
    resource, differing = complete(current, person.stated)
    made.problems += [Problem(person.segment.place(one.row.field).path, "identity-differs") for one in differing]
    return resource


def _planned(made: Plan, resource: Resource, key: tuple[str, str], current: Resource | None) -> str:
    """Add the entry that stores a resource, if it changes anything; return the reference to it."""
    type = resource["resourceType"]
    if current is None:
        url = f"urn:uuid:{made_id(type, *key)}"
        made.entries.append(Entry("PUT", identified(type, key), resource, full_url=url))
        return url
    reference = f"{type}/{current['id']}"
    if resource != current:
        made.entries.append(Entry("PUT", reference, resource))
    return reference


async def _encounter(writing: Writing, draft: Draft, sender: str, visit: Visit, patient: str, made: Plan) -> str:
    current = await _stored(writing, "Encounter", visit.key)
    outdated = await is_outdated(writing, draft, sender, "Encounter", visit.key)
    if current is not None:
        if current.get("subject", {}).get("reference") != patient:
            raise Refused(Fault("204", visit.segment.place(19), "The stay belongs to another patient."))
        if outdated:
            made.outdated = True
            made.problems.append(Problem(visit.segment.place().path, "older-than-stored"))
            return f"Encounter/{current['id']}"
    resource = stay(visit, current or {"resourceType": "Encounter"}, patient, made)
    return _planned(made, resource, visit.key, current)


def stay(visit: Visit, current: Resource, patient: str, made: Plan) -> Resource:
    """Return the Encounter as the message wants it; what had to be decided is noted in the plan."""
    resource = replace(current, visit.stated)
    period: dict[str, Any] = resource.get("period", {})
    if visit.ended and "end" not in period:
        period = {**period, "end": visit.ended}
    if "start" in period and "end" in period and is_reversed(period["start"], period["end"]):
        made.problems.append(Problem(visit.segment.place(45).path, "period-reversed"))
        period = {"start": period["start"]}
    status = pv1_map.status(
        visit.trigger, visit.patient_class, ended=visit.segment.is_valued(45), current=current.get("status", "")
    )
    if "class" not in resource:
        made.problems.append(Problem(visit.segment.place(2).path, "class-missing"))
        resource["class"] = UNKNOWN_CLASS
    resource |= {"status": status, "subject": {"reference": patient}}
    return {**resource, "period": period} if period else resource


async def _link(writing: Writing, visit: Visit, patient: str, made: Plan) -> str | None:
    """Return the reference to the stay that results name, None where it is not known or not the patient's."""
    current = await _stored(writing, "Encounter", visit.key)
    if current is None:
        made.problems.append(Problem(visit.segment.place(19).path, "visit-unknown"))
        return None
    if current.get("subject", {}).get("reference") != patient:
        made.problems.append(Problem(visit.segment.place(19).path, "visit-of-another-patient"))
        return None
    return f"Encounter/{current['id']}"
