"""ADT: the patient and the stay."""

from __future__ import annotations

from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person, Visit
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.maps.rows import Stated, state
from adapters.hl7.messages.person import read_person, visit_key
from adapters.hl7.tokens import Segment


def read_admission(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ADT message about one patient and one stay."""
    found = {name: [s for s in root.walk() if s.name == name] for name in ("PID", "PV1", "EVN")}
    if len(found["PID"]) != 1:
        raise Refused(Fault("100", Place("PID"), "The message is about one patient: it has one PID."))
    pid = found["PID"][0]
    person = read_person(context, pid, leads=True)
    if not found["PV1"]:
        return (person,)
    pv1 = found["PV1"][0]
    key = visit_key(context, pid, pv1)
    if key is None:
        context.note(pv1, 19, "visit-number-missing")
        return (person,)
    context.take(pv1, pv1_map.USED)
    stated = tuple(state(pv1_map.PV1_TO_ENCOUNTER, context, pv1))
    if not pv1.is_valued(19):
        row = next(r for r in pv1_map.PV1_TO_ENCOUNTER if r.field == 19)
        stated = (*stated, Stated(row, [{"system": key[0], "value": key[1]}]))
    ended = _end(context, found["EVN"], pv1) if what.trigger == "A03" else ""
    return (Person(person.key, pid, person.stated, True, Visit(key, pv1, stated, what.trigger, ended)),)


def _end(context: Context, events: list[Segment], pv1: Segment) -> str:
    """Return when a discharge happened where PV1-45 does not say it: EVN-6, else EVN-2."""
    if pv1.is_valued(45) or not events:
        return ""
    number = 6 if events[0].is_valued(6) else 2
    moment = context.moment(events[0], number, events[0].text(number))
    context.note(pv1, 45, f"end-from-EVN-{number}")
    return moment.text if moment else ""
