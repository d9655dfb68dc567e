"""PD1 to Patient. Guide: HL7/v2-to-fhir at 8c9b414, segments/PD1[Patient], PD1[Observation-LivingWill]."""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, mapped
from adapters.hl7.demography import organization, person
from adapters.hl7.ids import made_id
from adapters.hl7.maps.extensions import has_url
from adapters.hl7.maps.rows import Row, repeated
from adapters.hl7.tokens import NULL, Parts, Segment, part

EXTENSIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
DISABILITY: Final = EXTENSIONS + "patient-disability"
CONGREGATION: Final = EXTENSIONS + "patient-congregation"
LIVING_WILL: Final[Json] = {
    "coding": [{"system": "http://loinc.org", "code": "75320-2", "display": "Advance directive"}]
}


def _disability(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    made = coded(context, segment, number, parts)
    return {"url": DISABILITY, "valueCodeableConcept": made} if made else None


def _congregation(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    return {"url": CONGREGATION, "valueString": part(parts, 1)} if part(parts, 1) else None


PD1_TO_PATIENT: Final = (
    Row(6, "extension", repeated(_disability), "PD1-6", has_url(DISABILITY)),
    Row(14, "extension", repeated(_congregation), "PD1-14", has_url(CONGREGATION)),
)

USED: Final = frozenset({3, 4, 6, 7, 14})


def practitioners(context: Context, pd1: Segment) -> list[Json]:
    """Return who cares for the patient in general: PD1-3 (an organization), PD1-4 (people)."""
    where = [organization(context, pd1, 3, parts) for parts in pd1.repetitions(3)]
    who = [person(context, pd1, 4, parts) for parts in pd1.repetitions(4)]
    return [{"type": "Organization", **one} for one in where if one] + [one for one in who if one]


def removes_practitioners(pd1: Segment) -> bool:
    """Whether PD1-3 or PD1-4 is deleted; where the other names somebody, that is the list."""
    return NULL in (pd1.raw(3), pd1.raw(4))


def living_will(context: Context, pd1: Segment, patient: tuple[str, str]) -> Json | None:
    """Return the Observation of PD1-7: whether there is an advance directive."""
    value = mapped("LivingWillCode")(context, pd1, 7, pd1.first(7)) if pd1.is_valued(7) else None
    if not value:
        return None
    made = {"resourceType": "Observation", "id": made_id("Observation", context.tenant, *patient, "living will")}
    return {**made, "status": "final", "code": LIVING_WILL, "valueCodeableConcept": value}
