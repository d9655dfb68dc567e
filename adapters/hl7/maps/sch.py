"""SCH, AIS, AIG, AIL and AIP to Appointment.

Guide: HL7/v2-to-fhir at 8c9b414, segments/SCH[Appointment], AIS, AIG, AIL, AIP[Appointment], PID[Appointment]; "ours"
where it leaves a choice. Ours: comments (NTE) are the appointment's `comment`; the guide uses R5's note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from adapters.hl7 import numbers
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, entity, mapped
from adapters.hl7.demography import person, place
from adapters.hl7.maps.rows import Row, single, state
from adapters.hl7.maps.tables import table
from adapters.hl7.times import Moment, shifted
from adapters.hl7.tokens import Parts, Segment, part

BY_TRIGGER: Final = {
    "S12": "booked", "S13": "booked", "S14": "booked", "S15": "cancelled", "S16": "cancelled",
    "S17": "entered-in-error", "S26": "noshow",
}  # fmt: skip
"""Trigger -> status where SCH-25 is empty. Ours."""

LEADING: Final = frozenset({"S15", "S16", "S17", "S26"})
"""Triggers that end an appointment: a status (SCH-25) that says it goes on is one of before. Ours."""

OPEN: Final = frozenset({"booked", "pending", "proposed", "arrived", "checked-in", "waitlist"})

PARTICIPATION: Final = {
    "booked": "accepted", "checked-in": "accepted", "fulfilled": "accepted", "pending": "needs-action",
    "waitlist": "tentative", "cancelled": "declined", "entered-in-error": "declined", "noshow": "declined",
}  # fmt: skip
"""AIx filler status, as an appointment's -> status of a participant. Ours."""

MINUTES: Final = {"min": 1, "mn": 1, "m": 1, "minute": 1, "minutes": 1, "h": 60, "hr": 60, "hour": 60, "hours": 60}
TYPES: Final = "http://terminology.hl7.org/CodeSystem/participant-type"
DELETED: Final = frozenset({"D"})
CHANGING: Final = frozenset({"S18", "S19"})
"""Triggers that tell what is added to an appointment or changed of it, not the whole of what is booked. Ours."""
REMOVING: Final = frozenset({"S20", "S21", "S22"})
"""Triggers that tell what is taken out of an appointment. Ours: by its action code, else what has none."""
CONTACTS: Final = ("placer contact", "filler contact", "enterer")
"""What a participant is who is asked for an appointment (SCH-12, 16, 20): the guide has no code for it."""


class Resource_(NamedTuple):
    """Where the fields of a resource segment stand: AIS, AIG, AIL, AIP."""

    what: int  # who, what or where
    start: int
    offset: int
    duration: int
    status: int
    kind: int = 0  # its type


RESOURCES: Final = {
    "AIS": Resource_(3, 4, 5, 7, 10),
    "AIG": Resource_(3, 8, 9, 11, 14, 4),
    "AIL": Resource_(3, 6, 7, 9, 12, 4),
    "AIP": Resource_(3, 6, 7, 9, 12, 4),
}
"""Source: HL7 v2.5.1 chapter 10, as the guide's rows name them."""


def used(name: str) -> frozenset[int]:
    """Return the fields of a resource segment that are read."""
    row = RESOURCES[name]
    more = {row.offset, row.offset + 1, row.duration, row.duration + 1}
    return frozenset({1, 2, row.what, row.start, row.status, *more, *({row.kind} if row.kind else ())})


def _reason(context: Context, segment: Segment, number: int) -> Any:
    found = coded(context, segment, number, segment.first(number))
    return [found] if found else None


def _based_on(kind: str) -> Callable[[Context, Segment, int], Any]:
    def convert(context: Context, segment: Segment, number: int) -> Any:
        found = [entity(context, segment, number, parts, kind) for parts in segment.repetitions(number)]
        return [{"type": "ServiceRequest", "identifier": one} for one in found if one] or None

    return convert


def _contact(text: str) -> Callable[[Context, Segment, int], Any]:
    """Return a converter of XCN to participants; the guide names their type but gives it no code."""

    def convert(context: Context, segment: Segment, number: int) -> Any:
        found = [person(context, segment, number, parts) for parts in segment.repetitions(number)]
        return [{"type": [{"text": text}], "actor": one, "status": "accepted"} for one in found if one] or None

    return convert


SCH_TO_APPOINTMENT: Final = (
    Row(6, "reasonCode", _reason, "ours: the reason of the event, as the other one (SCH-7)"),
    Row(7, "reasonCode", _reason, "SCH-7, AppointmentReasonCodes"),
    Row(8, "appointmentType", single(mapped("AppointmentTypeCodes")), "SCH-8, AppointmentTypeCodes"),
    Row(12, "participant", _contact(CONTACTS[0]), "SCH-12"),
    Row(16, "participant", _contact(CONTACTS[1]), "SCH-16"),
    Row(20, "participant", _contact(CONTACTS[2]), "SCH-20"),
    Row(26, "basedOn", _based_on("PLAC"), "SCH-26; ours: named, no ServiceRequest is made"),
    Row(27, "basedOn", _based_on("FILL"), "SCH-27; ours: named, no ServiceRequest is made"),
)

USED: Final = frozenset({1, 2, 9, 10, 11, 25} | {row.field for row in SCH_TO_APPOINTMENT})


def identifiers(context: Context, sch: Segment) -> dict[str, Json]:
    """Return the placer's and the filler's number of an appointment (SCH-1, SCH-2)."""
    made = {}
    for number, kind in ((1, "PLAC"), (2, "FILL")):
        if found := entity(context, sch, number, sch.first(number), kind, own="appointments"):
            made[kind] = found
    return made


def status(context: Context, sch: Segment, trigger: str) -> str:
    """Return the status that a message states; "" where it leaves it as it is."""
    by_trigger = BY_TRIGGER.get(trigger, "")
    sent = sch.text(25)
    if not sent:
        return by_trigger
    target = table("FillerStatusCodes[Appointment]").get(sent.capitalize())
    if target is None:
        context.note(sch, 25, "code-not-mapped", sent)
        return by_trigger
    if sent.capitalize() in ("Blocked", "Overbook"):
        context.note(sch, 25, "status-without-counterpart", sent)
    if trigger in LEADING and target.code in OPEN:
        context.note(sch, 25, "status-differs", sent)
        return by_trigger
    return target.code


def removed(resources: Sequence[Segment], trigger: str) -> list[Segment]:
    """Return the segments that take a service or a resource out of an appointment."""
    found = [one for one in resources if one.text(2) in DELETED]
    return found or [one for one in resources if trigger in REMOVING and not one.text(2)]


def dropped(context: Context, resources: Sequence[Segment], trigger: str) -> tuple[Json, ...] | None:
    """Return the actors and services that a message takes out; None where it tells the whole of what is booked."""
    found = removed(resources, trigger)
    if not found and trigger not in CHANGING | REMOVING:
        return None
    made: list[Json | None] = []
    for one in found:
        number = RESOURCES[one.name].what
        convert = coded if one.name == "AIS" else _actor
        made += [convert(context, one, number, parts) for parts in one.repetitions(number)]
        context.take(one, used(one.name))
    return tuple(one for one in made if one)


def appointment(context: Context, sch: Segment, resources: Sequence[Segment], timings: Sequence[Segment]) -> Json:
    """Return an Appointment without its patient, identity and status.

    Args:
        context: Where problems are noted and segments taken.
        sch: The segment.
        resources: Its AIS, AIG, AIL and AIP, without those that are taken out of it.
        timings: Its TQ1.
    """
    context.take(sch, USED)
    made: Json = {"resourceType": "Appointment"}
    for row, value in state(SCH_TO_APPOINTMENT, context, sch):
        if value is not None:
            made[row.element] = [*made.get(row.element, []), *value] if isinstance(value, list) else value
    for segment in resources:
        _lay_resource(context, segment, made)
    made |= _times(context, sch, resources, timings)
    return made


def _times(context: Context, sch: Segment, resources: Sequence[Segment], timings: Sequence[Segment]) -> Json:
    """Return start, end and length: of SCH-11, else of TQ1, else of the first resource that has a start."""
    made: Json = {}
    minutes = _minutes(context, sch, 9)
    places = [(sch, sch.text(11, 4), sch.text(11, 5), 11)]
    places += [(tq1, tq1.text(7), tq1.text(8), 7) for tq1 in timings]
    places += [(one, one.text(RESOURCES[one.name].start), "", RESOURCES[one.name].start) for one in resources]
    for tq1 in timings:
        context.take(tq1, frozenset({1, 7, 8}))
    for segment, start, end, number in places:
        first = _instant(context, segment, number, start)
        if first is None:
            continue
        last = _instant(context, segment, number, end)
        own = minutes
        if own is None and segment.name in RESOURCES:
            own = _minutes(context, segment, RESOURCES[segment.name].duration)
        made["start"] = first.text
        if last is not None and last.at >= first.at:
            made["end"] = last.text
        elif own:
            made["end"] = shifted(first, timedelta(minutes=own))
        else:
            made["end"] = first.text
            context.note(segment, number, "end-unknown")
        break
    if minutes:
        made["minutesDuration"] = minutes
    return made


def _instant(context: Context, segment: Segment, number: int, text: str) -> Moment | None:
    moment = context.moment(segment, number, text)
    if moment is not None and not moment.is_full:
        context.note(segment, number, "instant-without-time")
        return None
    return moment


def _minutes(context: Context, segment: Segment, number: int) -> int | None:
    """Return a length in minutes; its unit is in the field after it, minutes where that is empty."""
    text, unit = segment.text(number), segment.text(number + 1).lower()
    if not text:
        return None
    value, factor = numbers.decimal(text), MINUTES.get(unit or "min")
    if value is None or factor is None or not 0 < value * factor < 1_000_000 or value * factor != int(value * factor):
        context.note(segment, number, "duration-malformed")
        return None
    return int(value * factor)


def _lay_resource(context: Context, segment: Segment, made: Json) -> None:
    """Add what AIS, AIG, AIL and AIP say: a service, or a participant."""
    row = RESOURCES[segment.name]
    context.take(segment, used(segment.name))
    if segment.name == "AIS":
        if service := coded(context, segment, row.what, segment.first(row.what)):
            made["serviceType"] = [*made.get("serviceType", []), service]
        return
    for parts in segment.repetitions(row.what):
        actor = _actor(context, segment, row.what, parts)
        if actor is None:
            continue
        one: Json = {"actor": actor, "status": _participation(context, segment, row.status)}
        if row.kind and segment.is_valued(row.kind) and (kind := coded(context, segment, 4, segment.first(4))):
            one["type"] = [kind]
        if period := _period(context, segment, row):
            one["period"] = period
        made["participant"] = [*made.get("participant", []), one]


def _actor(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    if segment.name == "AIP":
        return person(context, segment, number, parts)
    if segment.name == "AIL":
        found = place(context, segment, number, parts)
        return {"type": "Location", **found} if found else None
    code, name = part(parts, 1).strip(), part(parts, 9) or part(parts, 2)
    if not code:
        return {"display": name} if name.strip() else None
    return {"identifier": {"system": f"{context.facility_system}:resources", "value": code}, "display": name or code}


def _participation(context: Context, segment: Segment, number: int) -> str:
    sent = segment.text(number)
    target = table("FillerStatusCodes[Appointment]").get(sent.capitalize()) if sent else None
    if sent and target is None:
        context.note(segment, number, "code-not-mapped", sent)
    return PARTICIPATION.get(target.code, "accepted") if target else "accepted"


def _period(context: Context, segment: Segment, row: Resource_) -> Json:
    start = context.moment(segment, row.start, segment.text(row.start))
    if start is None:
        return {}
    minutes = _minutes(context, segment, row.duration) if start.is_full else None
    return {"start": start.text, **({"end": shifted(start, timedelta(minutes=minutes))} if minutes else {})}


def settled(made: Json) -> Json:
    """Return an appointment that R4 allows: without a time it can only be proposed, cancelled or on a waiting list.

    A reason of a cancellation stands with a cancelled one only: app-4 means to allow it with a no-show too, but spells
    that status `no-show`, which is no code of R4's.

    Source: https://hl7.org/fhir/R4/appointment.html, app-3 and app-4; which of them it then is, is ours.
    """
    if "start" not in made and made["status"] not in ("proposed", "cancelled", "waitlist"):
        made = {**made, "status": "cancelled" if made["status"] in ("noshow", "entered-in-error") else "proposed"}
    if made["status"] != "cancelled" and "cancelationReason" in made:
        made = {name: value for name, value in made.items() if name != "cancelationReason"}
    return made
