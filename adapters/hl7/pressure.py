"""Systolic and diastolic pressure of one measurement as one Observation with components.

Source: https://hl7.org/fhir/R4/bp.html, which asks for it; which OBX belong together is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final, NamedTuple

from adapters.hl7 import values
from adapters.hl7.datatypes import Json
from adapters.hl7.maps import obx as obx_map
from adapters.hl7.tokens import Segment

SYSTOLIC, DIASTOLIC, PRESSURE = "8480-6", "8462-4", "85354-9"
PRESSURE_CODE: Json = {
    "coding": [
        {"system": obx_map.LOINC, "code": PRESSURE, "display": "Blood pressure panel with all children optional"}
    ]
}


INNER: Final = ("code", "interpretation", "referenceRange", "dataAbsentReason")
SETTLED: Final = frozenset({"final", "amended", "corrected"})
GONE: Final = frozenset({"cancelled", "entered-in-error"})


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


def combined(statuses: Set[str]) -> str:
    """Return how far a pressure is, by the statuses of its values.

    Settled values are settled together: a correction of one of them is one of the pressure. One that was taken back,
    or was not obtained, leaves it to the others.
    """
    standing = statuses - GONE
    if len(standing) == 1 or len(statuses) == 1:
        return next(iter(standing or statuses))
    if not standing:
        return "entered-in-error"
    if standing <= SETTLED:
        return "corrected" if "corrected" in standing else "amended"
    return "preliminary"


def _component(one: Json, *, is_alone: bool) -> Json:
    """Return a value as a component; without the value where it was taken back alone."""
    made = {key: value for key, value in one.items() if key in INNER or key.startswith(("value", "_value"))}
    if is_alone or one["status"] not in GONE:
        return made
    made = {key: value for key, value in made.items() if not key.startswith(("value", "_value"))}
    return {"dataAbsentReason": {"coding": [{"system": values.ABSENT, "code": "error"}]}, **made}


def _pressure(systolic: Json, diastolic: Json) -> Json:
    same = systolic["status"] == diastolic["status"]
    components = [_component(one, is_alone=same) for one in (systolic, diastolic)]
    shared = {
        key: value for key, value in systolic.items() if key not in INNER and not key.startswith(("value", "_value"))
    }
    notes = systolic.get("note", []) + diastolic.get("note", [])
    made = {**shared, "code": PRESSURE_CODE, "component": components}
    if notes:
        made["note"] = notes
    if same:
        return made
    made.pop("_status", None)  # it is of one of them
    return {**made, "status": combined({systolic["status"], diastolic["status"]})}
