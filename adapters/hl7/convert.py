"""A message to what it wants stored: patients, stays, reports and results, before anything is looked up.

Which types of message are taken, and what each says, is the table `ROUTES`. Nothing here waits or writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from adapters.hl7 import grammar
from adapters.hl7.context import UNKNOWN, Context
from adapters.hl7.datatypes import INS_TYPES, Json
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group, Tree, group
from adapters.hl7.maps import pid as pid_map
from adapters.hl7.maps import pv1 as pv1_map
from adapters.hl7.maps.rows import Stated, state
from adapters.hl7.maps.tables import structures
from adapters.hl7.results import Report, read_order
from adapters.hl7.tokens import Message, Segment

MSH_USED: Final = frozenset({*range(1, 13), 15, 16, 17, 18})
EVN_USED: Final = frozenset({1, 2, 6})
VISIT_LINK: Final = frozenset({1, 19})
TRUSTED: Final = "VALI"  # PID-32: the identity is validated; only then does an INS number tell who it is
DOUBTED: Final = frozenset({"DOUT", "FICT"})  # PID-32: then an INS number is not taken over at all


class Kind(NamedTuple):
    """What sort of message it is."""

    type: str  # MSH-9.1
    trigger: str  # MSH-9.2
    structure: str
    version: str  # MSH-12.1

    @property
    def name(self) -> str:
        """E.g. `ADT^A01`."""
        return f"{self.type}^{self.trigger}"


@dataclass(frozen=True, slots=True)
class Visit:
    """A stay as a message tells it."""

    key: tuple[str, str]  # system and value of its number
    segment: Segment
    stated: tuple[Stated, ...] = ()
    trigger: str = ""
    ended: str = ""  # when the stay ended where PV1-45 is empty, as FHIR writes it

    @property
    def patient_class(self) -> str:
        """PV1-2."""
        return self.segment.text(2)


@dataclass(frozen=True, slots=True)
class Person:
    """A patient as a message tells it, with all that is said about them."""

    key: tuple[str, str]
    segment: Segment
    stated: tuple[Stated, ...]
    leads: bool  # whether the feed leads on identity (ADT) or only names the patient (results)
    visit: Visit | None = None
    reports: tuple[Report, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """All that one message wants stored."""

    people: tuple[Person, ...]
    at: datetime | None  # when the event was recorded: EVN-2, else MSH-7
    context: Context = field(repr=False)


def kind(message: Message) -> Kind:
    """Read MSH-9 and MSH-12.

    Raises:
        Refused: 200 for a type that is not taken, 201 for an event, 203 for a version.
    """
    header = message.header
    type, trigger, given = (header.text(9, n) for n in (1, 2, 3))
    if not type:
        raise Refused(Fault("101", header.place(9), "The message type is missing."))
    if not trigger and (events := [s for s in message.segments if s.name == "EVN"]):
        trigger = events[0].text(1)
    if type not in {known for known, _ in ROUTES}:
        raise Refused(Fault("200", header.place(9)))
    if (type, trigger) not in ROUTES:
        raise Refused(Fault("201", header.place(9)))
    version = header.text(12)
    if grammar.known_version(version) is None:
        raise Refused(Fault("203", header.place(12)))
    return Kind(type, trigger, structures().get(f"{type}^{trigger}", given), version)


def read_tree(message: Message, what: Kind) -> Tree:
    """Sort a message's segments into its structure; where its version has none, that of 2.5 serves."""
    version = grammar.known_version(what.version) or "2.5"
    found = (
        grammar.structure(what.structure, version)
        or grammar.structure(f"{what.type}_{what.trigger}", version)
        or grammar.structure(what.structure, "2.5")
    )
    if found is None:
        raise Refused(Fault("200", message.header.place(9)))
    return group(message.segments, found)


def convert(message: Message, context: Context) -> Draft:
    """Read what a message wants stored.

    Args:
        message: One message; its header passed `kind`.
        context: Its zone and sender; problems and used fields are noted in it.

    Raises:
        Refused: Something that it must have is missing.
    """
    what = kind(message)
    if sum(segment.name == "MSH" for segment in message.segments) > 1:
        raise Refused(Fault("100", Place("MSH", 2), "There are two messages in one frame."))
    tree = read_tree(message, what)
    for segment in tree.strays:
        context.note(segment, 0, "segment-out-of-place" if not segment.name.startswith("Z") else "segment-local")
    context.take(message.header, MSH_USED)
    event = next((s for s in message.segments if s.name == "EVN"), None)
    if event:
        context.take(event, EVN_USED)
    recorded = (event.text(2) if event else "") or message.header.text(7)
    moment = context.moment(event or message.header, 2 if event else 7, recorded)
    people = ROUTES[what.type, what.trigger](context, tree.root, what, message.header.text(10))
    return Draft(people, moment.at if moment else None, context)


def _person(context: Context, pid: Segment, *, leads: bool) -> Person:
    context.take(pid, pid_map.USED)
    if not pid.is_valued(3):
        raise Refused(Fault("101", pid.place(3), "The patient has no identifier."))
    stated = state(pid_map.PID_TO_PATIENT, context, pid)
    codes = {parts[0][0] for parts in pid.repetitions(32)}
    if codes & DOUBTED:
        stated = [_without_ins(context, pid, one) for one in stated]
    known = next((one.value for one in stated if one.row.field == 3), None) or []
    fit = [i for i in known if i["system"] not in INS_TYPES or (TRUSTED in codes and not codes & DOUBTED)]
    own = [i for i in fit if i["system"] != context.facility_system] or (fit if context.facility != UNKNOWN else [])
    if not own:
        raise Refused(Fault("101", pid.place(3), "The patient's identifier has no assigning authority."))
    return Person((own[0]["system"], own[0]["value"]), pid, tuple(stated), leads)


def _without_ins(context: Context, pid: Segment, one: Stated) -> Stated:
    """Leave out a national identifier (INS): PID-32 says that the identity is doubtful or fictitious."""
    if one.row.element != "identifier" or not one.value:
        return one
    kept = [item for item in one.value if item["system"] not in INS_TYPES]
    if len(kept) < len(one.value):
        context.note(pid, one.row.field, "ins-of-doubted-identity")
    return one._replace(value=kept)


def _visit_key(context: Context, pid: Segment, pv1: Segment) -> tuple[str, str] | None:
    """Return the stay's number: PV1-19, else the account (PID-18) with the time of admission (PV1-44)."""
    made: Json | None = None
    if pv1.is_valued(19):
        made = pv1_map.visit_number(context, pv1, 19, pv1.first(19))
    if made is None and pid.is_valued(18) and pv1.is_valued(44):
        number = f"{pid.text(18)}/{pv1.text(44)}"
        made = {"system": f"{context.facility_system}:accounts", "value": number}
    return (made["system"], made["value"]) if made else None


def _admission(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ADT message about one patient and one stay."""
    found = {name: [s for s in root.walk() if s.name == name] for name in ("PID", "PV1", "EVN")}
    if len(found["PID"]) != 1:
        raise Refused(Fault("100", Place("PID"), "The message is about one patient: it has one PID."))
    pid = found["PID"][0]
    person = _person(context, pid, leads=True)
    if not found["PV1"]:
        return (person,)
    pv1 = found["PV1"][0]
    key = _visit_key(context, pid, pv1)
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


def _results(context: Context, root: Group, what: Kind, message: str) -> tuple[Person, ...]:
    """Read an ORU message: for each patient the orders with their results."""
    people = []
    for part in root.groups("PATIENT_RESULT"):
        inside = part.groups("_PATIENT")
        pid = inside[0].segment("PID") if inside else None
        if pid is None:
            raise Refused(Fault("100", Place("PID"), "Results have no patient."))
        person = _person(context, pid, leads=False)
        reports = tuple(read_order(context, g, person.key, message) for g in part.groups("ORDER_OBSERVATION"))
        people.append(Person(person.key, pid, person.stated, False, _linked(context, pid, inside[0]), reports))
    if not people:
        raise Refused(Fault("100", Place("PID"), "Results have no patient."))
    return tuple(people)


def _linked(context: Context, pid: Segment, patient: Group) -> Visit | None:
    """Return the stay that results belong to; they name it and say no more about it."""
    visits = patient.groups("VISIT")
    pv1 = visits[0].segment("PV1") if visits else None
    key = _visit_key(context, pid, pv1) if pv1 else None
    if pv1 is None or key is None:
        return None
    context.take(pv1, VISIT_LINK)
    return Visit(key, pv1)


Route = Callable[[Context, Group, Kind, str], tuple[Person, ...]]
ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("ADT", "A01"): _admission,
    ("ADT", "A03"): _admission,
    ("ADT", "A04"): _admission,
    ("ADT", "A08"): _admission,
    ("ORU", "R01"): _results,
}
"""The messages that are taken: type and trigger -> how they are read."""
