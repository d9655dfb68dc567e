"""OBX (and the NTE after it) to Observation.

Guide: HL7/v2-to-fhir at 8c9b414, segments/OBX[Observation]; "ours" where it leaves a choice. Values of OBX-5
are in `values.py`. People, organizations and devices become references that name them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from adapters.hl7 import numbers, values, vitals
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, code_text, coded, entity, mapped, missing_code
from adapters.hl7.demography import address, coded_organization, organization, person
from adapters.hl7.maps import contained
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps.rows import Row, repeated, single, state
from adapters.hl7.maps.spm import pair
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import Parts, Segment, part

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
EXTENSIONS = "http://hl7.org/fhir/StructureDefinition/"

_VITAL_SIGNS = "85353-1 9279-1 8867-4 2708-6 8310-5 8302-2 9843-4 29463-7 39156-5 85354-9 8480-6 8462-4 8478-0"

VITAL_SIGNS = frozenset(_VITAL_SIGNS.split())
"""LOINC codes of R4's vital signs. Source: https://hl7.org/fhir/R4/observation-vitalsigns.html"""

MORE_VITAL_SIGNS = frozenset({"59408-5", "8889-8", "8328-7", "8331-1", "8332-9", "8333-7"})
"""Ours: pulse oximetry, heart rate by oximeter, temperature by place."""


def _interpretations(context: Context, segment: Segment, number: int) -> Any:
    """Convert OBX-8; laboratories also part the codes with a space or a comma (ours)."""
    rows = table("InterpretationCodes")
    made = []
    for parts in segment.repetitions(number):
        codes = re.split(r"[ ,]+", part(parts, 1).strip())
        if len(codes) > 1 and all(code in rows for code in codes):
            made += [{"coding": [_coding(rows[code])]} for code in codes]
        elif found := mapped("InterpretationCodes")(context, segment, number, parts):
            made.append(found)
    return made or None


def _coding(target: Any) -> Json:
    return {k: v for k, v in {"system": target.system, "code": target.code, "display": target.display}.items() if v}


def _device(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    made = entity(context, segment, number, parts, "", own="devices")
    return {"type": "Device", "identifier": made} if made else None


def _identifier(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    return entity(context, segment, number, parts, "FILL")


def _sub_id(context: Context, segment: Segment, number: int) -> Any:
    inner = {"url": "original-sub-identifier", "valueString": segment.text(number)}
    return [{"url": EXTENSIONS + "observation-v2-subid", "extension": [inner]}] if segment.text(number) else None


def _analysis_time(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return [{"url": EXTENSIONS + "observation-analysis-date-time", "valueDateTime": moment.text}] if moment else None


def _nature(context: Context, segment: Segment, number: int) -> Any:
    found = [mapped("NatureOfAbnormalTesting")(context, segment, number, p) for p in segment.repetitions(number)]
    url = EXTENSIONS + "observation-nature-of-abnormal-test"
    return [{"url": url, "valueCodeableConcept": one} for one in found if one] or None


def _structure(context: Context, segment: Segment, number: int) -> Any:
    url = EXTENSIONS + "observation-structure-type"
    code = code_text(segment.text(number))
    return [{"url": url, "valueCodeableConcept": {"coding": [{"system": url, "code": code}]}}] if code else None


def _specimen(context: Context, segment: Segment, number: int) -> Any:
    """Convert OBX-33 to a reference that names the specimen; of several only the first has a place in R4."""
    found = segment.repetitions(number)
    if len(found) > 1:
        context.note(segment, number, "repetition-not-used")
    numbers_ = pair(context, segment, number, found[0], own="specimens")
    return {"type": "Specimen", "identifier": numbers_[-1]} if numbers_ else None


OBX_TO_OBSERVATION: Final = (
    Row(3, "code", single(coded), "OBX-3"),
    Row(4, "extension", _sub_id, "OBX-4, OG[Extension-Subidentifier]", lambda item: False),
    Row(8, "interpretation", _interpretations, "OBX-8, InterpretationCodes"),
    Row(10, "extension", _nature, "OBX-10, NatureOfAbnormalTesting", lambda item: False),
    Row(
        15,
        "performer",
        repeated(coded_organization),
        "OBX-15; ours: named, no Organization is made",
        lambda item: False,
    ),
    Row(16, "performer", repeated(person), "OBX-16; ours: named, no Practitioner is made", lambda item: False),
    Row(17, "method", single(coded), "OBX-17"),
    Row(18, "device", single(_device), "OBX-18; ours: named by its identifier"),
    Row(19, "extension", _analysis_time, "OBX-19", lambda item: False),
    Row(20, "bodySite", single(coded), "OBX-20"),
    Row(21, "identifier", repeated(_identifier), "OBX-21"),
    Row(30, "extension", _structure, "OBX-30", lambda item: False),
    Row(33, "specimen", _specimen, "OBX-33; ours: named by its number where the message has no SPM of it"),
)

USED: Final = frozenset({1, 2, 5, 6, 7, 11, 14, 23, 24, 25, 29, 32} | {row.field for row in OBX_TO_OBSERVATION})
"""Fields that count as used: 1 is a running number; those without a row are read by `observation` and `values`."""

UNIQUE: Final = (19, 21, 33)
"""Fields that differ from result to result where they are sent: analysis time, instance, specimen."""

TOLD: Final = frozenset("BIORSUVWX")
"""OBX-11 whose FHIR status says less than it: the code itself is kept beside the status. The guide does so for X."""

ALTERNATE: Final = EXTENSIONS + "alternate-codes"
TABLE_0085: Final = "http://terminology.hl7.org/CodeSystem/v2-0085"
TABLE_0936: Final = "http://terminology.hl7.org/CodeSystem/v2-0936"

SECTIONS: Final = {
    **dict.fromkeys(("RAD", "CT", "NMR", "NMS", "RUS", "VUS", "OUS", "XRC", "RX", "CTH"), "imaging"),
    **dict.fromkeys(("CUS", "EC", "EN", "PF", "VR"), "procedure"),
    **dict.fromkeys(("OT", "PHR", "PT", "RT"), "therapy"),
}
"""OBR-24 (table 0074) -> category of its results, where they are not of the laboratory. Ours."""

ANSWERS: Final = "-"
"""In place of OBR-24: what is observed is said with an order or an injection, and is no result of a laboratory."""


def observation(context: Context, obx: Segment, notes: Sequence[Segment], observed: str, section: str = "") -> Json:
    """Return one OBX as an Observation without subject and identity.

    Args:
        context: Where problems are noted.
        obx: The segment.
        notes: The NTE segments that follow it.
        observed: When OBX-14 is empty: the time of the OBR, as FHIR writes it; "" where it has none.
        section: OBR-24: the diagnostic service.
    """
    made = {**_framed(context, obx, section)}
    moment = context.moment(obx, 14, obx.text(14))
    if time := moment.text if moment else observed:
        made["effectiveDateTime"] = time
    found = values.value(context, obx)
    made |= found
    if ranges := _reference_range(obx, found):
        made["referenceRange"] = ranges
    if (own := vitals.in_own_unit(loinc(made["code"]), found)) is not found:
        made |= own
    if notes and (found_notes := nte_map.comments(context, notes)):
        made["note"] = found_notes
    return made


def _framed(context: Context, obx: Segment, section: str) -> Json:
    """Return `_frame`, remembered; that of a segment with a field of its own kind is made anew each time."""
    fields = obx.fields
    if len(fields) > UNIQUE[0] and any(map(obx.raw, UNIQUE)):
        return _frame(context, obx, section)
    key = ("OBX", section, *fields[3:5], *fields[8:14], *fields[15:])
    return context.remembered(obx, key, partial(_frame, context, obx, section))


def _frame(context: Context, obx: Segment, section: str) -> Json:
    """Return what an OBX says beside its value and its time: OBX-3, 4, 8 to 13 and those after 14."""
    made: Json = {"resourceType": "Observation", **_status(context, obx)}
    for row, stated in state(OBX_TO_OBSERVATION, context, obx):
        if isinstance(stated, list) and row.element in made:
            made[row.element] = made[row.element] + stated
        elif stated is not None:
            made[row.element] = stated
    if len(obx.fields) > 23:
        _lay_laboratory(context, obx, made)
    if "code" not in made:
        context.note(obx, 3, "code-missing")
        made["code"] = missing_code()
    if kind := category(made["code"], section):
        made["category"] = [{"coding": [{"system": CATEGORY, "code": kind}]}]
    if kind := code_text(obx.text(29)):
        own = {"coding": [{"system": TABLE_0936, "code": kind}]}
        made["category"] = [*made.get("category", []), own]
    return made


def _status(context: Context, obx: Segment) -> Json:
    sent = obx.text(11)
    status = code_of(context, obx, 11, "ObservationResultStatusCodesInterpretation", sent) or "unknown"
    if sent not in TOLD or status == "unknown":
        return {"status": status}
    concept = {"coding": [{"system": TABLE_0085, "code": sent}]}
    return {"status": status, "_status": {"extension": [{"url": ALTERNATE, "valueCodeableConcept": concept}]}}


def _lay_laboratory(context: Context, obx: Segment, made: Json) -> None:
    """Add the performing organization (OBX-23, 24) and its medical director (OBX-25). Source: rows OBX-23 to 25."""
    named = organization(context, obx, 23, obx.first(23)) if obx.is_valued(23) else None
    places = [found for parts in obx.repetitions(24) if (found := address(context, obx, 24, parts))]
    director = person(context, obx, 25, obx.first(25)) if obx.is_valued(25) else None
    if named and not places and not director:
        made["performer"] = [*made.get("performer", []), named]
        return
    laboratory = contained.organization("laboratory", named, places, [])
    inside = [laboratory] if laboratory else []
    display = {"display": named["display"]} if named and "display" in named else {}
    reference: Json = {"reference": "#laboratory", **display}
    if director:
        role, reference = contained.role("director", director, laboratory, "MDIR")
        inside.append(role)
    if inside:
        made["contained"] = inside
        made["performer"] = [*made.get("performer", []), reference]


def loinc(code: Json) -> str:
    """Return the LOINC code of a CodeableConcept, "" where it has none."""
    for coding in code.get("coding", ()):
        if coding.get("system") == LOINC and "code" in coding:
            return str(coding["code"])
    return ""


def category(code: Json, section: str = "") -> str:
    """Return vital-signs for the codes that R4 names so, else what the diagnostic service says, else laboratory.

    "" where there is no diagnostic service (`ANSWERS`).
    """
    found = loinc(code)
    if found in VITAL_SIGNS or found in MORE_VITAL_SIGNS:
        return "vital-signs"
    return "" if section == ANSWERS else SECTIONS.get(section, "laboratory")


def _reference_range(obx: Segment, found: Json) -> list[Json]:
    text = "\n".join(obx.texts(7)) if obx.is_valued(7) else ""
    if not text.strip():
        return []
    quantity = found.get("valueQuantity", {})
    units = {key: quantity[key] for key in ("unit", "system", "code") if key in quantity}
    return [{**(numbers.bounds(text, units) if quantity else {}), "text": text}]
