"""Systolic and diastolic pressure of one measurement as one Observation with components.

Source: https://hl7.org/fhir/R4/bp.html, which asks for it; which OBX belong together is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adapters.hl7.datatypes import Json
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.tokens import Segment

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


def paired(results: list[Result]) -> list[Result]:
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
