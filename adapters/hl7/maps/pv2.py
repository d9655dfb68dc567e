"""PV2 to Encounter. Guide: HL7/v2-to-fhir at 8c9b414, segments/PV2[Encounter]; "ours" where it leaves a choice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import code_of, coded, mapped
from adapters.hl7.maps.extensions import OWN, has_url
from adapters.hl7.maps.pv1 import participants, plays
from adapters.hl7.maps.rows import GONE, Row, repeated, single
from adapters.hl7.tokens import Parts, Segment, part

PLANNED_START: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.plannedStartDate"
PLANNED_END: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter.plannedEndDate"
ARRIVAL: Final = "http://hl7.org/fhir/StructureDefinition/encounter-modeOfArrival"
CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
DESCRIPTION: Final = OWN + "visit-description"


def _planned(url: str) -> Any:
    def convert(context: Context, segment: Segment, number: int) -> Any:
        moment = context.moment(segment, number, segment.text(number))
        return [{"url": url, "valueDateTime": moment.text}] if moment else None

    return convert


def _length(context: Context, segment: Segment, number: int) -> Any:
    text = segment.text(number)
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        context.note(segment, number, "number-malformed")
        return None
    return {"value": Decimal(text), "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"}


def _arrival(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    made = mapped("ModeOfArrivalCode")(context, segment, number, parts)
    return {"url": ARRIVAL, "valueCoding": made["coding"][0]} if made and "coding" in made else None


def _description(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    return {"url": DESCRIPTION, "valueString": part(parts, 1)} if part(parts, 1) else None


def _protected(context: Context, segment: Segment, number: int) -> Any:
    code = code_of(context, segment, number, "YesNoIndicator", segment.text(number))
    if code is None:
        return None
    return [{"system": CONFIDENTIALITY, "code": "R"}] if code == "true" else GONE


def _is_confidentiality(item: dict[str, Any]) -> bool:
    return item.get("system") == CONFIDENTIALITY


PV2_TO_ENCOUNTER: Final = (
    Row(3, "reasonCode", repeated(coded), "PV2-3"),
    Row(8, "extension", _planned(PLANNED_START), "PV2-8", has_url(PLANNED_START)),
    Row(9, "extension", _planned(PLANNED_END), "PV2-9", has_url(PLANNED_END)),
    Row(11, "length", _length, "PV2-11, NM[Quantity-LengthOfStay]: days"),
    Row(12, "extension", repeated(_description), "PV2-12; ours: no narrative is made of it", has_url(DESCRIPTION)),
    Row(13, "participant", participants("REF"), "PV2-13; ours: renews what PV1-8 says", plays("REF"), 8),
    Row(22, "meta.security", _protected, "PV2-22; ours: Y is restricted (R)", _is_confidentiality),
    Row(25, "priority", single(mapped("EncounterPriority")), "PV2-25, EncounterPriority"),
    Row(38, "extension", repeated(_arrival), "PV2-38, ModeOfArrivalCode", has_url(ARRIVAL)),
)

USED: Final = frozenset(row.field for row in PV2_TO_ENCOUNTER)
