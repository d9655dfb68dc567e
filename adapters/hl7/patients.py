"""The Patient that a message is about: found by its number, through merges, and made one with another.

A number that was merged away leads to the patient that was kept, whatever comes first: the merge, or messages with
the old number. A merge is the core's `$merge`, so `$unmerge` undoes it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from adapters.hl7.clocks import hear, name_of
from adapters.hl7.draft import Draft, Key, Person, Prior
from adapters.hl7.faults import Fault, Problem, Refused
from adapters.hl7.ids import made_id
from adapters.hl7.maps import order
from adapters.hl7.merge import complete, replace, united
from adapters.hl7.planned import Plan, identified
from fhir_server.errors import MultipleMatches
from fhir_server.interface import Writing
from fhir_server.model import Entry, Resource

ACTOR: Final = "adapters.hl7"
"""Who merges, as audit shows it."""

MOST_HELD: Final = 50  # Patients that may have one number: those merged, one after another, and the one kept
MOST_LINKS: Final = 50  # merges that a number is followed through


async def find(writing: Writing, key: Key) -> Resource | None:
    """Return the Patient that has a number now; None where nobody has.

    Raises:
        MultipleMatches: More than one has it, and they were not merged.
    """
    found = await writing.find(f"{identified('Patient', key)}&_count={MOST_HELD}")
    standing = [one for one in found if not _replaced_by(one)]
    if len(standing) > 1:
        raise MultipleMatches("More than one Patient has the identifier that the message gives.")
    if standing or not found:
        return standing[0] if standing else None
    return await _kept(writing, found[0])


async def _kept(writing: Writing, patient: Resource) -> Resource | None:
    """Return the Patient that a merged one was merged into in the end."""
    current: Resource | None = patient
    for _ in range(MOST_LINKS):
        if current is None or not (further := _replaced_by(current)):
            return current
        current = await writing.resource(further)
    return None


def _replaced_by(patient: Resource) -> str:
    """Return what a merged Patient's link says, "" for one that was not merged."""
    links = (link for link in patient.get("link", ()) if link.get("type") == "replaced-by")
    return next((str(link["other"].get("reference", "")) for link in links), "")


async def join(writing: Writing, person: Person, made: Plan) -> None:
    """Merge the patients of earlier numbers into the one that the message is about.

    Where only one of the two is known there is nothing to merge: it goes on, under the new number (`settle`).

    Raises:
        MultipleMatches: More than one Patient has a number.
        Refused: The message merges a patient with itself, or one that was merged into another already.
        FhirError: The merge cannot be made.
    """
    for prior in person.prior:
        if prior.key == person.key:
            raise Refused(Fault("204", prior.segment.place(1), "A patient is not merged with itself."))
        source, target = await find(writing, prior.key), await find(writing, person.key)
        if source is None:
            made.problems.append(Problem(prior.segment.place(1).path, "merged-patient-unknown"))
        elif target is not None and source["id"] != target["id"]:
            if any(_key(one) == prior.key and one.get("use") == "old" for one in source["identifier"]):
                raise Refused(Fault("204", prior.segment.place(1), "The patient was merged into another one already."))
            made.merged += await writing.merge(source["id"], target["id"], by=ACTOR)


async def settle(writing: Writing, draft: Draft, sender: str, person: Person, made: Plan) -> str:
    """Plan the Patient as the message says it is; return the reference to it.

    Raises:
        MultipleMatches: More than one Patient has a number.
    """
    reference = made.references.get(("Patient", *person.key), "")
    if reference and not person.prior:
        return reference
    current = made.planned(reference) if reference else None
    for key in (person.key, *(prior.key for prior in person.prior)):
        current = current or await find(writing, key)
    resource, is_newest = await _said(writing, draft, sender, person, current, made)
    for prior in person.prior:
        resource = _with_old(resource, person.key, prior, is_newest=is_newest)
    reference = _planned(made, resource, person.key, current, reference)
    for key in (person.key, *(prior.key for prior in person.prior)):
        made.references["Patient", *key] = reference
    return reference


async def _said(
    writing: Writing, draft: Draft, sender: str, person: Person, current: Resource | None, made: Plan
) -> tuple[Resource, bool]:
    """Return the Patient as the message says it is, laid over what is stored; and whether nothing newer is known."""
    if not person.leads:
        resource, differing = complete(current or {"resourceType": "Patient"}, person.stated)
        fields = [one.row.field for one in differing if one.row.field]  # contacts are of another segment
        made.problems += [Problem(person.segment.place(field).path, "identity-differs") for field in fields]
        return resource, True
    empty: Resource = {"resourceType": "Patient"}
    name = name_of(current or replace(empty, person.stated), sender)
    heard = await hear(writing, name, draft, person.stated, current)
    if heard.is_outdated:
        made.outdated = True
        made.problems.append(Problem(person.segment.place().path, "older-than-stored"))
    return order.arranged(replace(current or empty, heard.stated), order.PATIENT), not heard.is_outdated


def _with_old(resource: Resource, key: Key, prior: Prior, *, is_newest: bool) -> Resource:
    """Return the Patient with the numbers that it had before marked as old, and the one it has now no longer so."""
    old = [{**one, "use": "old"} for one in prior.identifiers if _key(one) != key]
    known = united(resource.get("identifier", []), old)
    if is_newest:
        known = [_in_use(one) if _key(one) == key and one.get("use") == "old" else one for one in known]
    return {**resource, "identifier": known}


def _in_use(identifier: dict[str, Any]) -> dict[str, Any]:
    """Return a number that had ended as one that is in use."""
    period = {name: value for name, value in identifier.get("period", {}).items() if name != "end"}
    made = {name: value for name, value in identifier.items() if name not in ("use", "period")}
    return {**made, "period": period} if period else made


def _key(identifier: dict[str, Any]) -> Key:
    return identifier.get("system", ""), identifier.get("value", "")


def _planned(made: Plan, resource: Resource, key: Key, current: Resource | None, reference: str) -> str:
    """Add the entry that stores a Patient, if it changes anything; return the reference to it."""
    if reference.startswith("urn:"):  # an earlier part of this message makes it
        number = made.written[reference]
        made.entries[number] = dataclasses.replace(made.entries[number], resource=resource)
        return reference
    if current is None:
        url = f"urn:uuid:{made_id('Patient', *key)}"
        one = Entry("PUT", identified("Patient", key), resource, full_url=url)
        made.write(one)
        made.written[url] = made.written[one.url]
        return url
    if resource != current:
        made.write(Entry("PUT", f"Patient/{current['id']}", resource))
    return f"Patient/{current['id']}"


async def tie(writing: Writing, draft: Draft, made: Plan) -> None:
    """Plan the links between patients that are one person but keep their records (A24), or take them away (A37)."""
    for person in draft.people:
        if person.link is None:
            continue
        one, other = (made.references["Patient", *key] for key in (person.key, person.link.key))
        if one == other:  # they were merged: there is one record, which is not linked to itself
            made.problems.append(Problem(person.segment.place().path, "merged-already"))
            continue
        for reference, to in ((one, other), (other, one)):
            patient = made.planned(reference) or await writing.resource(reference)
            if patient is not None:
                _planned(made, _linked(patient, to, person.link.is_same), person.key, patient, reference)


def _linked(patient: Resource, to: str, is_same: bool) -> Resource:
    others = [
        link for link in patient.get("link", ()) if link["other"].get("reference") != to or link["type"] != "seealso"
    ]
    links = [*others, {"other": {"reference": to}, "type": "seealso"}] if is_same else others
    made = {key: value for key, value in patient.items() if key != "link"}
    return {**made, "link": links} if links else made
