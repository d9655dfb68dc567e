"""The Encounter that a message is about: what is said of the stay, laid over what is stored of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from adapters.hl7 import movements
from adapters.hl7.clocks import hear, name_of
from adapters.hl7.draft import Draft, Key, Visit
from adapters.hl7.faults import Fault, Place, Problem, Refused
from adapters.hl7.ids import made_id
from adapters.hl7.maps import order
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.maps.rows import Stated
from adapters.hl7.merge import replace, united
from adapters.hl7.planned import Plan, identified
from adapters.hl7.times import is_reversed
from fhir_server import gate
from fhir_server.errors import MultipleMatches
from fhir_server.interface import Writing
from fhir_server.model import Entry, Resource

UNKNOWN_CLASS: Final[Resource] = {"system": "http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "code": "UNK"}
MOVEMENTS: Final = "hl7-movements"
"""Kind of the records that hold the movements of a stay, one record a stay and sender."""

MOST_MOVEMENTS: Final = 2_000  # of one stay
MOST_HELD: Final = 10  # stays that may have or have had one number

BY_CLASS: Final = "status by class"
"""The clock of a stay whose status no event told yet: it goes by the patient class."""

OF_MOVEMENTS: Final = frozenset({"status", "class", "location", "period.end"})
"""Elements of which movements decide alone, once a stay has some."""

MADE_ANEW: Final = frozenset({"location", "statusHistory", "classHistory"})
"""Elements that the movements make each time, as they are all known."""


async def find(writing: Writing, key: Key) -> Resource | None:
    """Return the Encounter that has a number now, else the one that had it before; None where there is none.

    Raises:
        MultipleMatches: There are several.
    """
    found = await writing.find(f"{identified('Encounter', key)}&_count={MOST_HELD}")
    now = [one for one in found if not any(_is_old(each, key) for each in one["identifier"])] or found
    if len(now) > 1:
        raise MultipleMatches("More than one Encounter has the identifier that the message gives.")
    return now[0] if now else None


def _is_old(identifier: Resource, key: Key) -> bool:
    return (identifier.get("system"), identifier.get("value")) == key and identifier.get("use") == "old"


async def settle(writing: Writing, draft: Draft, sender: str, visit: Visit, patient: str, made: Plan) -> str:
    """Plan the Encounter as the message says it is; return the reference to it.

    Raises:
        Refused: The stay belongs to another patient.
        MultipleMatches: More than one Encounter has the number.
    """
    current = await find(writing, visit.key)
    if current is None and visit.prior is not None:
        current = await find(writing, visit.prior)
    if current is not None and not visit.moves and current.get("subject", {}).get("reference") != patient:
        raise Refused(Fault("204", visit.segment.place(19), "The stay belongs to another patient."))
    base = current or replace({"resourceType": "Encounter"}, visit.stated)
    course, is_late = await _course(writing, name_of(base, sender), visit)
    stated = [one for one in visit.stated if not course or one.row.element not in OF_MOVEMENTS]
    speaks = any(one.row.clock == pv1_map.STATUS for one in visit.stated)
    mark = BY_CLASS if current is None and not speaks else ""
    heard = await hear(writing, name_of(base, sender), draft, stated, current, mark)
    if heard.is_outdated or is_late:
        made.outdated = True
        made.problems.append(Problem(visit.segment.place().path, "older-than-stored"))
    resource = stay(visit, current or {"resourceType": "Encounter"}, patient, made, heard.stated, heard.said, course)
    return _planned(made, _renumbered(resource, visit), visit.key, current)


def _renumbered(resource: Resource, visit: Visit) -> Resource:
    """Return the stay with the number that it had before marked as old."""
    if visit.prior is None or visit.prior == visit.key:
        return resource
    old = [{"use": "old", "system": visit.prior[0], "value": visit.prior[1]}]
    return {**resource, "identifier": united(resource.get("identifier", []), old)}


def _planned(made: Plan, resource: Resource, key: Key, current: Resource | None) -> str:
    if current is None:
        url = f"urn:uuid:{made_id('Encounter', *key)}"
        made.write(Entry("PUT", identified("Encounter", key), resource, full_url=url))
        return url
    if resource != current:
        made.write(Entry("PUT", f"Encounter/{current['id']}", resource))
    return f"Encounter/{current['id']}"


async def _course(writing: Writing, name: str, visit: Visit) -> tuple[dict[str, Any], bool]:
    """Return what the movements of a stay say of it, {} where it has none; and whether this one is an old story."""
    before = await writing.record(MOVEMENTS, name)
    known = movements.load(gate.load(before.body)["movements"]) if before is not None else []
    is_late = False
    if visit.movement is not None:
        known, is_late = movements.with_movement(known, visit.movement)
        if len(known) > MOST_MOVEMENTS:
            raise Refused(Fault("207", Place("ZBE"), f"A stay has {MOST_MOVEMENTS} movements at most."))
        await writing.put_record(MOVEMENTS, name, "", gate.write({"movements": movements.dump(known)}))
    return (movements.course(known) if known else {}), is_late


def stay(
    visit: Visit,
    current: Resource,
    patient: str,
    made: Plan,
    stated: Sequence[Stated] | None = None,
    said: Collection[str] | None = None,
    course: dict[str, Any] | None = None,
) -> Resource:
    """Return the Encounter as the message wants it; what had to be decided is noted in the plan.

    Args:
        visit: The stay as the message tells it.
        current: What is stored.
        patient: Reference to the Patient.
        made: Where problems are noted.
        stated: What of the message counts; None: all of it.
        said: The clocks that the sender ever set on the stay; None: unknown.
        course: What its movements say.
    """
    resource = replace(current, visit.stated if stated is None else stated)
    if course:
        resource = _with_course(resource, course, begun="period.start" in (said or ()))
    period = _period(resource.pop("period", {}), visit, made)
    if "class" not in resource:
        made.problems.append(Problem(visit.segment.place(2).path, "class-missing"))
        resource["class"] = UNKNOWN_CLASS
    is_by_class = said is not None and BY_CLASS in said and pv1_map.STATUS not in said
    if "status" not in resource or (is_by_class and not course):
        resource["status"] = pv1_map.status_of_class(resource["class"].get("code", ""))
    resource["subject"] = {"reference": patient}
    if period:
        resource["period"] = period
    rows = [row for row in order.ENCOUNTER if not course or row.element not in OF_MOVEMENTS]
    return order.arranged(resource, rows)


def _with_course(resource: Resource, course: dict[str, Any], *, begun: bool) -> Resource:
    """Return a stay with what its movements say; they begin it where nothing else told when (`begun`)."""
    made = {name: value for name, value in resource.items() if name not in MADE_ANEW}
    made |= {name: value for name, value in course.items() if name not in ("start", "end")}
    period = {name: value for name, value in resource.get("period", {}).items() if name != "end"}
    if "start" in course and not begun:
        period["start"] = course["start"]
    return {**made, "period": period | ({"end": course["end"]} if "end" in course else {})}


def _period(period: dict[str, str], visit: Visit, made: Plan) -> dict[str, str]:
    """Return the period without an end that lies before its start."""
    if "start" in period and "end" in period and is_reversed(period["start"], period["end"]):
        made.problems.append(Problem(visit.segment.place(45).path, "period-reversed"))
        return {"start": period["start"]}
    return period


async def link(writing: Writing, visit: Visit, patient: str, made: Plan) -> Resource | None:
    """Return the reference to the stay that results name, None where it is not the patient's.

    One that is not known is referred to by its number: no stay is made of it.
    """
    current = await find(writing, visit.key)
    if current is None:
        made.problems.append(Problem(visit.segment.place(19).path, "visit-unknown"))
        system, value = visit.key
        return {"type": "Encounter", "identifier": {"system": system, "value": value}}
    if current.get("subject", {}).get("reference") != patient:
        made.problems.append(Problem(visit.segment.place(19).path, "visit-of-another-patient"))
        return None
    return {"reference": f"Encounter/{current['id']}"}
