"""The order groups of an ORU to reports and results: identity, joined lines, blood pressure.

Two OBX with systolic and diastolic pressure become one Observation with components, as R4's vital signs ask.
Ids are made from the patient, the order number, the code, the sub-id and the time, so that the same result
sent again is the same resource.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.hl7 import values
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json
from adapters.hl7.group import Group
from adapters.hl7.maps import obr as obr_map
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.tokens import Segment

SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:predmp:hl7v2")
LINES = frozenset({"TX", "FT"})  # types of which consecutive OBX are lines of one text
SYSTOLIC, DIASTOLIC, PRESSURE = "8480-6", "8462-4", "85354-9"
PRESSURE_CODE: Json = {
    "coding": [
        {"system": obx_map.LOINC, "code": PRESSURE, "display": "Blood pressure panel with all children optional"}
    ]
}


class Result(NamedTuple):
    """An OBX and what became of it."""

    obx: Segment
    observation: Json


@dataclass(slots=True)
class Report:
    """One order group: a report (None where it has no OBR) and its results, with their ids."""

    report: Json | None
    observations: list[Json] = field(default_factory=list)
    segment: Segment | None = None  # the OBR
    further: list[tuple[Json, Segment]] = field(default_factory=list)  # documents, specimens: with where they are from


def made_id(*parts: str) -> str:
    """Return the id that these parts always give (UUID version 5)."""
    return str(uuid.uuid5(SPACE, "\x1f".join(parts)))


def _with_notes(group: Group) -> Iterator[tuple[Segment, list[Segment]]]:
    """Yield each OBX of an order group with the NTE after it, also those of its specimens."""
    for inner in [*group.groups("OBSERVATION"), *group.groups("SPECIMEN"), group]:
        last: tuple[Segment, list[Segment]] | None = None
        for child in inner.children:
            if child.name == "OBX" and isinstance(child, Segment):
                if last:
                    yield last
                last = (child, [])
            elif last and child.name == "NTE" and isinstance(child, Segment):
                last[1].append(child)
        if last:
            yield last


def _joined(found: Sequence[tuple[Segment, list[Segment]]]) -> Iterator[tuple[list[Segment], list[Segment]]]:
    """Put the consecutive OBX together that are lines of one text."""
    lines: list[Segment] = []
    notes: list[Segment] = []
    for obx, own in found:
        if lines and not _continues(lines[-1], obx):
            yield lines, notes
            lines, notes = [], []
        lines, notes = [*lines, obx], [*notes, *own]
    if lines:
        yield lines, notes


def _continues(before: Segment, obx: Segment) -> bool:
    return obx.text(2) in LINES and all(before.raw(n) == obx.raw(n) for n in (2, 3, 4, 11, 14))


def _result(context: Context, lines: list[Segment], notes: list[Segment], observed: str) -> Result:
    made = obx_map.observation(context, lines[0], notes, observed)
    if len(lines) > 1:
        texts = ["\n".join(line.texts(5)) for line in lines]
        made.pop("dataAbsentReason", None)
        made["valueString"] = "\n".join(texts)
    return Result(lines[0], made)


def _paired(results: list[Result]) -> list[Result]:
    """Return the results with each systolic pressure and its diastolic one as one Observation.

    They belong together when they have one time and one sub-id (OBX-4), or are the only two of that time.
    """
    partners = {id(s.obx): d for s, d in _pressures(results)}
    joined = {id(d.obx) for d in partners.values()}
    made = []
    for one in results:
        if partner := partners.get(id(one.obx)):
            made.append(Result(one.obx, _pressure(one.observation, partner.observation)))
        elif id(one.obx) not in joined:
            made.append(one)
    return made


def _pressures(results: list[Result]) -> Iterator[tuple[Result, Result]]:
    """Yield the pairs of systolic and diastolic pressure."""
    groups: dict[tuple[str, str], tuple[list[Result], list[Result]]] = {}
    for one in results:
        code = obx_map.loinc(one.observation["code"])
        if code in (SYSTOLIC, DIASTOLIC) and "component" not in one.observation:
            time = one.observation.get("effectiveDateTime", "")
            groups.setdefault((time, one.obx.raw(4)), ([], []))[code == DIASTOLIC].append(one)
            groups.setdefault((time, "*"), ([], []))[code == DIASTOLIC].append(one)
    taken: set[int] = set()
    for (_, sub), (systolic, diastolic) in sorted(groups.items(), key=lambda item: item[0][1] == "*"):
        left = [[one for one in side if id(one.obx) not in taken] for side in (systolic, diastolic)]
        if sub == "*" and [len(side) for side in left] != [1, 1]:
            continue
        for pair in zip(*left, strict=False):
            taken |= {id(one.obx) for one in pair}
            yield pair[0], pair[1]


def _pressure(systolic: Json, diastolic: Json) -> Json:
    inner = ("code", "interpretation", "referenceRange", "dataAbsentReason")
    components = [
        {key: value for key, value in one.items() if key in inner or key.startswith("value")}
        for one in (systolic, diastolic)
    ]
    shared = {key: value for key, value in systolic.items() if key not in inner and not key.startswith("value")}
    notes = systolic.get("note", []) + diastolic.get("note", [])
    same = systolic["status"] == diastolic["status"]
    made = {**shared, "code": PRESSURE_CODE, "component": components}
    if notes:
        made["note"] = notes
    return made if same else {**made, "status": "preliminary"}


def read_order(context: Context, group: Group, patient: tuple[str, str], message: str) -> Report:
    """Convert one order group.

    Args:
        context: Where problems are noted and segments taken.
        group: ORDER_OBSERVATION of an ORU_R01.
        patient: System and value of the patient's identifier.
        message: What identifies the message, for a group that has neither order number nor time.
    """
    orc, obr = group.segment("ORC"), group.segment("OBR")
    numbers = obr_map.order(context, orc, obr)
    when = obr_map.observed(context, obr) if obr else {}
    observed = when.get("effectiveDateTime") or when.get("effectivePeriod", {}).get("start", "")
    results, attachments = [], []
    for lines, notes in _joined(list(_with_notes(group))):
        for line in lines:
            context.take(line, obx_map.USED)
        for note in notes:
            context.take(note, obx_map.NTE_USED)
        if lines[0].text(2) in values.ATTACHED:
            attachments.append(_attached(context, lines[0]))
        else:
            results.append(_result(context, lines, notes, observed))
    found = _paired(results)
    key = _order_key(context, obr, numbers, observed, message)
    observations = _identified(context, found, (context.tenant, *patient, *key))
    if orc:
        context.take(orc, obr_map.ORC_USED)
    if obr:
        context.take(obr, obr_map.USED)
    report = _report(
        context, obr, numbers, observations, [a for a in attachments if a], (context.tenant, *patient, *key)
    )
    return Report(report, observations, obr)


def _attached(context: Context, obx: Segment) -> Json | None:
    made = values.attachment(context, obx)
    if made is None:
        context.note(obx, 5, "attachment-not-used")
    title = obx.text(3, 2) or obx.text(3)
    return {**made, "title": title} if made and title else made


def _order_key(
    context: Context, obr: Segment | None, numbers: dict[str, Json], observed: str, message: str
) -> tuple[str, ...]:
    """Return what tells this order from others: the filler's number, else the placer's, else code and time."""
    number = numbers.get("FILL") or numbers.get("PLAC")
    code = obr.raw(4).partition(obr.syntax.delimiters.component)[0] if obr else ""
    if number:
        return number["system"], number["value"], code
    if obr:
        context.note(obr, 3, "order-number-missing")
    return (context.facility_system, f"time {observed}", code) if observed else (context.facility_system, message, code)


def _unique(context: Context, place: Segment, key: tuple[str, ...]) -> str:
    """Return the id of a resource; one whose key came up before in this message gets a running number."""
    count = context.occurrence(key)
    if count == 1:
        return made_id(*key)
    context.note(place, 3, "result-repeated")
    return made_id(*key, str(count))


def _identified(context: Context, results: Sequence[Result], key: tuple[str, ...]) -> list[Json]:
    made = []
    for obx, observation in results:
        code = (
            PRESSURE
            if observation["code"] is PRESSURE_CODE
            else obx.raw(3).partition(obx.syntax.delimiters.component)[0]
        )
        own = ("Observation", *key, code, obx.raw(4), observation.get("effectiveDateTime", ""))
        made.append({**observation, "id": _unique(context, obx, own)})
    return made


def _report(
    context: Context, obr: Segment | None, numbers: dict[str, Json], observations: Sequence[Json],
    attachments: list[Json], key: tuple[str, ...],
) -> Json | None:  # fmt: skip
    if obr is None:
        return None
    made = obr_map.report(context, obr, numbers, [one["status"] for one in observations])
    made["id"] = _unique(context, obr, ("DiagnosticReport", *key))
    if observations:
        made["result"] = [{"reference": f"Observation/{one['id']}"} for one in observations]
    if attachments:
        made["presentedForm"] = attachments
    return made
