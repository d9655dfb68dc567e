"""ORU: for each patient the orders with their results."""

from __future__ import annotations

from adapters.hl7 import parents
from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.messages.about import ALONG, told_parts
from adapters.hl7.messages.alarms import ALARM, read_alarm
from adapters.hl7.messages.pcd import is_from_device, read_device_order
from adapters.hl7.messages.person import linked_visit, read_person
from adapters.hl7.results import read_order


def read_results(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ORU message: for each patient the orders with their results."""
    people = []
    heads = root.segments("MSH")
    read = read_device_order if is_from_device(root) else read_order
    read = read_alarm if what.trigger == ALARM else read
    for part in root.groups("PATIENT_RESULT"):
        inside = part.groups("_PATIENT")
        pid = inside[0].segment("PID") if inside else None
        if pid is None:
            raise Refused(Fault("100", Place("PID"), "Results have no patient."))
        person = read_person(context, pid, leads=False)
        reports = tuple(read(context, g, person.key, message) for g in part.groups("ORDER_OBSERVATION"))
        parents.tie(context, reports)
        visit = linked_visit(context, pid, inside[0])
        further = tuple(wanted for report in reports for wanted in report.further)
        around = list(inside[0].walk())
        if any(one.name in ALONG for one in around):
            person = told_parts(context, [*heads, *around], person)
        people.append(Person(person.key, pid, person.stated, False, visit, reports, (*further, *person.wanted)))
    if not people:
        raise Refused(Fault("100", Place("PID"), "Results have no patient."))
    return tuple(people)
