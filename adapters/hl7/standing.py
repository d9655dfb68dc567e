"""Results, orders, appointments and documents of a message, laid over what is stored of them.

A result goes from preliminary to final to corrected and never back: by its status, and by the time of the
sender's last event on its report. What is older changes nothing; what was never seen is taken all the same.
"""

from __future__ import annotations

from typing import Final

from adapters.hl7.draft import Draft, Person, Wanted
from adapters.hl7.faults import Problem
from adapters.hl7.maps import sch as sch_map
from adapters.hl7.overlay import completed, filled, over
from adapters.hl7.planned import LINKS, SUBJECT, Plan, entry, identified, is_outdated
from adapters.hl7.results import Report
from fhir_server.interface import Writing
from fhir_server.model import Resource

RANKS: Final = {
    "registered": 0, "preliminary": 1, "partial": 1, "final": 2, "amended": 2, "corrected": 2, "appended": 2,
}  # fmt: skip
"""How far a result is. Cancelled, entered-in-error and unknown say nothing of it: there the time decides alone."""

HOW: Final = {
    "put": "the resource replaces what is stored",
    "over": "elements that it has replace those stored, the others stay",
    "fill": "only elements that are not stored are added",
    "known": "as over, and nothing is made where nothing is stored",
}
"""`Wanted.how` -> what it means."""

COMPLETED: Final = frozenset({"Appointment", "DocumentReference", "ServiceRequest"})
"""Types of which an older message adds what no newer one said: a result comes before its order, a notice of a new
status before the document."""


async def place(
    writing: Writing, draft: Draft, sender: str, person: Person, patient: str, encounter: Resource | None, made: Plan
) -> None:
    """Plan what a message says about a patient beside the patient and the stay.

    Args:
        writing: The transaction.
        draft: The message.
        sender: Names the feed.
        person: The patient as the message tells it.
        patient: Reference to the Patient.
        encounter: Reference to the stay, by its number where it is not stored; None where there is none.
        made: What the transaction will hold; entries and problems are added.
    """
    for wanted in person.wanted:
        for resource in await _of_wanted(writing, draft, sender, wanted, patient, made):
            made.write(entry(resource, patient, encounter))
    for report in person.reports:
        for resource in await _of_report(writing, draft, sender, person, report, made):
            made.write(entry(resource, patient, encounter))
    if made.aliases:
        made.rename()


def falls_back(stored: Resource, wanted: Resource) -> bool:
    """Whether a status would go back, e.g. from final to preliminary."""
    before, after = RANKS.get(stored.get("status", "")), RANKS.get(wanted.get("status", ""))
    return before is not None and after is not None and after < before


async def _of_report(
    writing: Writing, draft: Draft, sender: str, person: Person, report: Report, made: Plan
) -> list[Resource]:
    """Return a report with its results, without those that a newer event settled."""
    own = report.report
    if own is None:
        return await _results(writing, person, report.observations, False, made)
    stored = await writing.resource(f"DiagnosticReport/{own['id']}")
    if stored is None:
        await is_outdated(writing, draft, sender, "DiagnosticReport", (own["id"], ""))
        return [*report.observations, own]
    behind = falls_back(stored, own)  # of a later message too: its results are still told, each by its own status
    late = await is_outdated(writing, draft, sender, "DiagnosticReport", (own["id"], ""), keep=not behind)
    found = await _results(writing, person, report.observations, late, made)
    outdated = behind or late
    known = {each["reference"] for each in stored.get("result", ())}
    taken = {f"Observation/{one['id']}" for one in found}
    new = [each for each in own.get("result", ()) if each["reference"] not in known]
    results = [*stored.get("result", ()), *(each for each in new if each["reference"] in taken)]
    if outdated:
        _note(made, person, report)
        return [*found, {**stored, "result": results}] if found and results != stored.get("result", []) else found
    merged = over(stored, own)
    return [*found, {**merged, "result": results} if results else merged]


async def _results(
    writing: Writing, person: Person, observations: list[Resource], outdated: bool, made: Plan
) -> list[Resource]:
    """Return the Observations that are new, or not behind what is stored."""
    found = []
    for one in observations:
        stored = await writing.resource(f"Observation/{one['id']}")
        if stored is None:
            found.append(one)
        elif outdated or falls_back(stored, one):
            _note(made, person, None)
        else:
            found.append(one)
    return found


def _note(made: Plan, person: Person, report: Report | None) -> None:
    segment = report.segment if report is not None and report.segment is not None else person.segment
    made.outdated = True
    problem = Problem(segment.place().path, "older-than-stored")
    if problem not in made.problems:
        made.problems.append(problem)


async def _of_wanted(
    writing: Writing, draft: Draft, sender: str, wanted: Wanted, patient: str, made: Plan
) -> list[Resource]:
    """Return the resources that are to be written for one that is wanted."""
    own = wanted.resource
    type = own["resourceType"]
    stored = await _stored(writing, wanted, patient, made)
    late = False
    for id in dict.fromkeys((own["id"], *(one["id"] for one in stored))) if wanted.in_order else ():
        late = await is_outdated(writing, draft, sender, type, (id, "")) or late
    if late or (wanted.result and await _is_behind(writing, wanted.result)):
        made.outdated = True
        made.problems.append(Problem(wanted.segment.place().path, "older-than-stored"))
        older = stored if wanted.how == "over" and type in COMPLETED else []
        return [more for one in older if (more := completed(one, own)) != one]
    if wanted.how == "known" and not stored:
        return []
    if wanted.gone and wanted.how == "over":
        stored = [_emptied(one, wanted.gone) for one in stored]
    found = [own] if wanted.how == "put" or not stored else [_laid(wanted, one) for one in stored]
    return [await _related(writing, whole(wanted, one)) for one in found]


def _emptied(stored: Resource, gone: frozenset[str]) -> Resource:
    """Return what is stored without the elements that a message deletes, and who asked without what holds them."""
    also = gone | {"contained"} if "requester" in gone else gone
    return {name: value for name, value in stored.items() if name not in also}


def _laid(wanted: Wanted, stored: Resource) -> Resource:
    """Return a resource laid over what is stored of it."""
    own = wanted.resource
    if wanted.how == "fill":
        return filled(stored, own)
    if wanted.is_asked and stored.get("status") == "completed":
        own = {name: value for name, value in own.items() if name != "status"}
    return over(stored, own, wanted.dropped)


async def _is_behind(writing: Writing, document: Resource) -> bool:
    """Whether the document of a result is preliminary, and the one that is stored is not."""
    stored = await writing.resource(f"DocumentReference/{document['id']}")
    before, after = ({"status": one.get("docStatus", "")} for one in (stored or {}, document))
    return falls_back(before, after)


def whole(wanted: Wanted, laid: Resource | None = None) -> Resource:
    """Return a resource with what it has where nobody says otherwise, as R4 allows it.

    Args:
        wanted: What the message wants.
        laid: It, laid over what is stored; None where nothing is.
    """
    made = {**wanted.otherwise, **(wanted.resource if laid is None else laid)}
    made = {name: value for name, value in made.items() if value is not None}  # None: it is taken away
    return sch_map.settled(made) if made["resourceType"] == "Appointment" else made


async def _stored(writing: Writing, wanted: Wanted, patient: str, made: Plan) -> list[Resource]:
    """Return what is stored, or planned by this message, of a resource that is wanted."""
    if wanted.how == "put":
        return []
    type, id = wanted.resource["resourceType"], wanted.resource["id"]
    own = made.planned(f"{type}/{id}") or await writing.resource(f"{type}/{id}")
    if own is not None:
        return [own]
    if wanted.found_by is None:
        return []
    found = await writing.find(f"{identified(type, wanted.found_by)}&_count=50")
    if type == "Appointment":
        return [one for one in found if any(p["actor"].get("reference") == patient for p in one["participant"])]
    holder = LINKS.get(type, SUBJECT)[0]
    if not holder and found:  # of no patient, such as a device: it is the one that is stored
        made.aliases[f"{type}/{id}"] = f"{type}/{found[0]['id']}"
        return found[:1]
    return [one for one in found if one.get(holder, {}).get("reference") == patient]  # numbers are the sender's own


async def _related(writing: Writing, own: Resource) -> Resource:
    """Return a document whose relations name others by reference only where these are stored."""
    if own["resourceType"] != "DocumentReference" or "relatesTo" not in own:
        return own
    made = []
    for relation in own["relatesTo"]:
        target = dict(relation["target"])
        reference = target.get("reference", "")
        if reference and await writing.resource(reference) is None:
            del target["reference"]
        made.append({**relation, "target": target})
    return {**own, "relatesTo": made}
