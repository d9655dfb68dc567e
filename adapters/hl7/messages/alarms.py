"""IHE PCD-04: the alarms of devices (ORU^R40), each a Flag that lasts as long as the alarm does.

An order group is one notice of one alarm: a row names the event, others its phase, state, priority and text, and one
may hold what was measured, which is an Observation like any other of the device. Notices of one alarm are known by the
first one's number: OBR-3, later OBR-29. Which rows there are was read in public senders and receivers of PCD-04, not
in IHE PCD TF-2, and is not verified; `flag-priority` is R4's own element for this message
(https://hl7.org/fhir/R4/extension-flag-priority.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded
from adapters.hl7.faults import Fault, Place, Refused
from adapters.hl7.group import Group
from adapters.hl7.ids import made_id, unique
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.messages.pcd import Leaf, Parts, is_header, leaf_of, nearest, number_of, parts_of, path_of
from adapters.hl7.position import Told, arrange
from adapters.hl7.results import Report
from adapters.hl7.tokens import Segment, part
from adapters.hl7.wanted import Wanted

ALARM: Final = "R40"
NAMED: Final = {
    "MDC_ATTR_EVENT_PHASE": "phase",
    "MDC_ATTR_ALARM_STATE": "state",
    "MDC_ATTR_ALARM_PRIORITY": "priority",
    "MDC_ATTR_ALERT_TYPE": "type",
    "MDC_ATTR_ALERT_TEXT": "text",
}
"""Reference id of a row -> what its OBX-5 says. By name: senders differ in the numbers."""
SOURCE: Final = "MDC_ATTR_ALERT_SOURCE"
ATTRIBUTES: Final = "MDC_ATTR_"
EVENTS: Final = "MDC_EVT_"
GENERAL: Final = "196616"
"""MDC_EVT_ALARM: an event that is named in OBX-5."""
OVER: Final = frozenset({"inactive", "off"})
"""States in which an alarm is over, as its phase `end` says too."""
PRIORITIES: Final = frozenset({"PN", "PL", "PM", "PH"})
PHYSIOLOGICAL: Final = "SP"
TYPES: Final = frozenset({PHYSIOLOGICAL, "ST", "SA"})
"""Physiological, technical, advisory."""
PRIORITY: Final = "http://hl7.org/fhir/StructureDefinition/flag-priority"
PRIORITY_CODES: Final = "http://hl7.org/fhir/flag-priority-code"
DETAIL: Final = "http://hl7.org/fhir/StructureDefinition/flag-detail"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/flag-category"
ROW: Final = frozenset({1, 2, 3, 4, 5, 8, 11, 14, 18})
OBR: Final = frozenset({1, 2, 3, 4, 7, 8, 29})
DEPTH: Final = 5
"""Steps of OBX-4 that name a row of an alarm: what it is about, and which row it is."""


@dataclass(slots=True)
class Alarm:
    """What the rows of one notice say."""

    event: Json | None = None
    source: Json | None = None
    row: Segment | None = None  # that names the event
    said: dict[str, str] = field(default_factory=dict)
    measured: list[Told] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether the notice ends it."""
        return self.said.get("phase") == "end" or self.said.get("state") in OVER


def read_alarm(context: Context, group: Group, patient: tuple[str, str], message: str) -> Report:
    """Convert one notice of an alarm.

    Args:
        context: Where problems are noted and segments taken.
        group: ORDER_OBSERVATION of an ORU_R40.
        patient: System and value of the patient's identifier.
        message: What identifies the message, for what has neither number nor time.

    Raises:
        Refused: The group has no OBR.
    """
    ordered = arrange(group.walk())
    if ordered.obr is None:
        raise Refused(Fault("100", Place("OBR"), "An alarm has no OBR."))
    obr = ordered.obr.segment
    when = obr_map.observed(context, obr)
    at = when.get("effectiveDateTime") or when.get("effectivePeriod", {}).get("start", "")
    parts = parts_of(context, ordered.results)
    alarm = _alarm(context, [told for told in ordered.results if not is_header(told.segment)])
    made = Report(None, segment=obr)
    made.further = [
        Wanted(one, parts.headers[path], "fill", False, number_of(one)) for path, one in parts.devices.items()
    ]
    for told in alarm.measured:
        leaf = _measured(leaf_of(context, told, parts, at))
        device = nearest(leaf.path, parts.devices)
        whole = leaf.observation | ({"device": {"reference": f"Device/{device['id']}"}} if device else {})
        own = (context.tenant, *patient, device["id"] if device else context.facility_system, leaf.code)
        key = ("Observation", "device", *own, ".".join(leaf.path), leaf.time or message)
        made.observations.append({**whole, "id": unique(context, told.segment, key)})
        made.rows.append(told.segment)
    context.take(obr, OBR)
    made.further.append(_flag(context, obr, alarm, parts, patient, at, made.observations))
    return made


def _alarm(context: Context, rows: Sequence[Told]) -> Alarm:
    alarm = Alarm()
    for told in rows:
        obx = told.segment
        name = obx.text(3, 2).upper()
        if name in NAMED:
            alarm.said[NAMED[name]] = obx.text(5).strip()
        elif name == SOURCE:
            alarm.source = coded(context, obx, 5, obx.first(5)) if obx.raw(5) else alarm.source
        elif alarm.row is None and (obx.text(3) == GENERAL or name.startswith(EVENTS)):
            _name_event(context, obx, alarm)
        elif name.startswith(ATTRIBUTES):
            continue  # no measurement: it is reported as not used
        else:
            alarm.measured.append(told)
            continue
        context.take(obx, ROW)
    return alarm


def _name_event(context: Context, obx: Segment, alarm: Alarm) -> None:
    """Take the event of a row: its own name says it, and OBX-5 whence it comes; a general one is named in OBX-5."""
    alarm.row = obx
    told = coded(context, obx, 5, obx.first(5)) if obx.raw(5) else None
    own = coded(context, obx, 3, obx.first(3))
    is_general = obx.text(3) == GENERAL and told is not None
    alarm.event, alarm.source = (told, alarm.source) if is_general else (own, told or alarm.source)
    for flag in (piece for text in obx.texts(8) for piece in text.replace("^", " ").split()):
        if flag in PRIORITIES:
            alarm.said["priority"] = flag
        elif flag in TYPES:
            alarm.said["type"] = flag


def _measured(leaf: Leaf) -> Leaf:
    """Return a measured value at the place of what is measured, where it stands among the results too."""
    return leaf._replace(path=leaf.path[:-1]) if len(leaf.path) >= DEPTH else leaf


def _flag(
    context: Context,
    obr: Segment,
    alarm: Alarm,
    parts: Parts,
    patient: tuple[str, str],
    at: str,
    measured: Sequence[Json],
) -> Wanted:
    event = alarm.event or coded(context, obr, 4, obr.first(4)) or {"text": "Alarme d'un appareil"}
    device = nearest(path_of(alarm.row), parts.devices) if alarm.row is not None else None
    kind = "clinical" if alarm.said.get("type") == PHYSIOLOGICAL else "safety"
    made: Json = {"resourceType": "Flag", "status": "inactive" if alarm.is_over else "active"}
    made["category"] = [{"coding": [{"system": CATEGORY, "code": kind}]}]
    made["code"] = {**event, "text": alarm.said.get("text") or _words(event, alarm.source)}
    if device is not None:
        made["author"] = {"reference": f"Device/{device['id']}"}
    if extensions := _extensions(alarm, measured):
        made["extension"] = extensions
    numbers = obr_map.order(context, None, obr)
    if "FILL" in numbers and not obr.raw(29):
        made["identifier"] = [numbers["FILL"]]
    number = part(obr.first(29), 2) or part(obr.first(29), 1) or obr.text(3)
    own = (number,) if number else (device["id"] if device else context.facility_system, made["code"]["text"])
    made["id"] = made_id("Flag", "alarm", context.tenant, *patient, *own)
    began = alarm.said.get("phase", "start") == "start" and not alarm.is_over
    if at and (began or alarm.is_over):
        made["period"] = {"start" if began else "end": at}
    first = {"period": {"start": at}} if at and not alarm.is_over else {}
    return Wanted(made, obr, "over", in_order=True, otherwise=first)


def _extensions(alarm: Alarm, measured: Sequence[Json]) -> list[Json]:
    made: list[Json] = []
    if (priority := alarm.said.get("priority", "")) in PRIORITIES:
        coding = {"system": PRIORITY_CODES, "code": priority}
        made.append({"url": PRIORITY, "valueCodeableConcept": {"coding": [coding]}})
    details = [{"url": DETAIL, "valueReference": {"reference": f"Observation/{one['id']}"}} for one in measured]
    return [*made, *details]


def _words(event: Json, source: Json | None) -> str:
    """Return what is alarming in words: the names that the sender gave."""
    named = [
        one.get("text") or one["coding"][0].get("display") or one["coding"][0]["code"] for one in (event, source) if one
    ]
    return " : ".join(named)
