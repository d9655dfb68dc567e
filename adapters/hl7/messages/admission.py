"""ADT: the patient and the stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.draft import Key, Kind, Person, Visit, Wanted
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.maps import evn, french, zbe
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.maps.pv2 import PV2_TO_ENCOUNTER
from adapters.hl7.maps.pv2 import USED as PV2_USED
from adapters.hl7.maps.rows import Stated, state
from adapters.hl7.messages import patient_parts
from adapters.hl7.messages.person import read_person, visit_key
from adapters.hl7.tokens import NULL, Segment

IDENTITY: Final = frozenset({"A28", "A31"})
"""Events about the person alone: a PV1 in them is there for form's sake (class N)."""


RECLASSED: Final = frozenset({"A06", "A07"})
"""Events that change the class of a stay, and with it perhaps its number."""


def segments_of(root: Group, name: str) -> list[Segment]:
    """Return all segments of a name, wherever they stand."""
    return [one for one in root.walk() if one.name == name]


def only_patient(root: Group) -> Segment:
    """Return the one PID of a message.

    Raises:
        Refused: There is none, or more than one.
    """
    found = segments_of(root, "PID")
    if len(found) != 1:
        raise Refused(Fault("100", Place("PID"), "The message is about one patient: it has one PID."))
    return found[0]


def read_admission(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ADT message about one patient and, but for identity messages, one stay."""
    segments = list(root.walk())
    return (with_event(context, segments, read_stay(context, segments, only_patient(root), what), what, message),)


def read_identity(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ADT message about a person (A28, A31): no stay is touched, also where it has a PV1."""
    person = read_person(context, only_patient(root), leads=True)
    for pv1 in segments_of(root, "PV1"):
        context.take(pv1, frozenset({1, 2}))
    segments = list(root.walk())
    person = patient_parts.with_parts(context, segments, person, None)
    return (with_event(context, segments, person, what, message),)


def with_event(context: Context, segments: list[Segment], person: Person, what: Kind, message: str) -> Person:
    """Return a person with the Provenance of the event, where EVN says who did it, why, when or where."""
    found = [one for one in segments if one.name == "EVN"][:1]
    made = [(evn.provenance(context, one, segments, what, message), one) for one in found]
    wanted = [Wanted(resource, one) for resource, one in made if resource]
    return replace(person, wanted=(*person.wanted, *wanted))


def read_stay(context: Context, segments: list[Segment], pid: Segment, what: Kind) -> Person:
    """Read a patient with all that the segments say of them and of their stay."""
    person = read_person(context, pid, leads=True)
    visit = read_visit(context, segments, pid, what)
    return patient_parts.with_parts(context, segments, person, visit)


def read_visit(context: Context, segments: list[Segment], pid: Segment, what: Kind) -> Visit | None:
    """Read the stay: PV1, PV2, ZBE and the other segments about it; None where it has no number."""
    pv1 = next((one for one in segments if one.name == "PV1"), None)
    if pv1 is None:
        return None
    key = visit_key(context, pid, pv1)
    if key is None:
        context.note(pv1, 19, "visit-number-missing")
        return None
    context.take(pv1, pv1_map.USED)
    stated = state(pv1_map.PV1_TO_ENCOUNTER, context, pv1)
    if not pv1.is_valued(19):
        stated.append(Stated(pv1_map.NUMBER_ROW, [{"system": key[0], "value": key[1]}]))
    stated += pv1_map.account(context, pid)
    stated += _ending(context, segments, pv1, what.trigger)
    if what.trigger == "A12":  # PV1-3 is where the patient is after all; PV1-6 names the place that was none
        stated.append(Stated(pv1_map.PRIOR_ROW, None))
        if pv1.is_valued(6):
            context.note(pv1, 6, "place-cancelled")
    if said := pv1_map.status(what.trigger, pv1.text(2), ended=pv1.is_valued(45)):
        stated.append(Stated(pv1_map.STATUS_ROW, said))
    for pv2 in (one for one in segments if one.name == "PV2"):
        context.take(pv2, PV2_USED)
        stated += [_beside(stated, one) for one in state(PV2_TO_ENCOUNTER, context, pv2)]
    stated += french.state_extensions(context, segments, french.ENCOUNTER)
    if what.trigger == "A13":
        stated += [Stated(row, None) for row in french.LEAVING_ROWS]
    movement = zbe.read_movement(context, segments, pv1, what.trigger)
    return Visit(key, pv1, tuple(stated), what.trigger, movement, _earlier(context, segments, what.trigger, key))


def _earlier(context: Context, segments: list[Segment], trigger: str, key: Key) -> Key | None:
    """Return the number that a stay had before its class changed (A06, A07: MRG-5); it is the same stay. Ours."""
    mrg = next((one for one in segments if one.name == "MRG"), None)
    if mrg is None or trigger not in RECLASSED or not mrg.is_valued(5):
        return None
    context.take(mrg, frozenset({5}))
    before = pv1_map.visit_number(context, mrg, 5, mrg.first(5))
    found = (before["system"], before["value"]) if before else key
    return found if found != key else None


def _beside(stated: list[Stated], one: Stated) -> Stated:
    """Return what PV2 says with what PV1 says of the same: who referred the patient (PV2-13 and PV1-8)."""
    if not one.row.with_field:
        return one
    own: list[Json] = next((each.value for each in stated if each.row.clock == one.row.clock and each.value), [])
    return one._replace(value=[*own, *(each for each in one.value or () if each not in own)] or None)


def _ending(context: Context, segments: list[Segment], pv1: Segment, trigger: str) -> list[Stated]:
    """Return what an event says about the end of the stay beside PV1-45.

    A discharge without PV1-45 ends it when it happened (EVN-6), else when it was recorded (EVN-2). A cancelled
    discharge (A13) takes the end away, and where to and how the patient left (ours), whatever PV1-36, 37 and 45
    repeat of it. A deleted end (PV1-45 `""`) opens the stay again.
    """
    if trigger == "A13":
        return [Stated(row, None) for row in (pv1_map.END_ROW, *pv1_map.LEAVING_ROWS)]
    if pv1.raw(45) == NULL:
        return [Stated(pv1_map.STATUS_ROW, "in-progress")]
    events = [one for one in segments if one.name == "EVN"]
    if trigger != "A03" or pv1.is_valued(45) or not events:
        return []
    number = 6 if events[0].is_valued(6) else 2
    moment = context.moment(events[0], number, events[0].text(number))
    context.note(pv1, 45, f"end-from-EVN-{number}")
    return [Stated(pv1_map.END_ROW, moment.text)] if moment else []
