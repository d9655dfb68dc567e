"""SIU: appointments."""

from __future__ import annotations

from dataclasses import replace

from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.ids import made_id
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps import sch as sch_map
from adapters.hl7.maps.rows import emptied
from adapters.hl7.messages.about import named, told_parts
from adapters.hl7.messages.person import read_person
from adapters.hl7.requesting import read_reasons
from adapters.hl7.wanted import Wanted


def read_appointment(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an SIU message: one appointment of each of its patients.

    Raises:
        Refused: It has no number, or no patient.
    """
    segments = list(root.walk())
    found = named(segments, "SCH")
    if not found:
        raise Refused(Fault("100", Place("SCH"), "The appointment is missing."))
    sch = found[0]
    for more in found[1:]:
        context.note(more, 0, "repetition-not-used")
    known = sch_map.identifiers(context, sch)
    number = known.get("FILL") or known.get("PLAC")
    if number is None:
        raise Refused(Fault("101", sch.place(2), "The appointment has no number."))
    for group in named(segments, "RGS"):
        context.take(group, frozenset({1}))
    resources = [segment for segment in segments if segment.name in sch_map.RESOURCES]
    dropped, removed = sch_map.dropped(context, resources, what.trigger), sch_map.removed(resources, what.trigger)
    resources = [segment for segment in resources if segment not in removed]
    made = sch_map.appointment(context, sch, resources, named(segments, "TQ1"))
    made["identifier"] = list(known.values())
    if status := sch_map.status(context, sch, what.trigger):
        made["status"] = status
    if status == "cancelled" and "reasonCode" in made:
        made["cancelationReason"] = made["reasonCode"][0]
    if comments := nte_map.comments(context, named(segments, "NTE")):
        made["comment"] = "\n".join(one["text"] for one in comments)
    if reasons := read_reasons(context, named(segments, "DG1")):
        told = made.get("reasonCode", [])
        made["reasonCode"] = [*told, *(one for one in reasons if one not in told)]
    patients = [read_person(context, pid, leads=False) for pid in named(segments, "PID")]
    if not patients:
        raise Refused(Fault("101", Place("PID"), "The appointment has no patient."))
    gone = emptied(sch_map.SCH_TO_APPOINTMENT, sch)
    people = []
    for person in {one.key: one for one in patients}.values():
        id = made_id("Appointment", context.tenant, *person.key, number["system"], number["value"])
        by = known.get("PLAC", number)
        told = (by["system"], by["value"])
        own = {**made, "id": id}
        wanted = Wanted(own, sch, "over", True, told, {"status": "booked"}, gone, dropped=dropped)
        people.append(replace(person, wanted=(wanted,)))
    if len(people) == 1:
        head = next((n for n, one in enumerate(segments) if one.name in ("RGS", *sch_map.RESOURCES)), len(segments))
        told = told_parts(context, segments[:head], replace(people[0], wanted=()))
        people = [replace(told, wanted=(*people[0].wanted, *told.wanted))]
    return tuple(people)
