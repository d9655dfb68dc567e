"""ORC and OBR to DiagnosticReport.

Guide: HL7/v2-to-fhir at 8c9b414, segments/OBR[DiagnosticReport], ORC[DiagnosticReport]; "ours" where it leaves a
choice. The order itself is in `orc.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, coded, entity, mapped, missing_code
from adapters.hl7.demography import text_name
from adapters.hl7.maps.rows import Row, repeated, single, state
from adapters.hl7.maps.spm import group_number
from adapters.hl7.tokens import Parts, Segment, part

EXTENSIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
NOTE: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"
"""R5's note of a report, as R4 carries it: comments on the order of results (NTE after OBR)."""


def _issued(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    if moment and not moment.is_full:
        context.note(segment, number, "instant-without-time")
        return None
    return moment.text if moment else None


def _interpreter(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert NDL: its first component is the person, with subcomponents as in CNN (id, family, given)."""
    leaves = parts[0]
    name = text_name([[leaf] for leaf in leaves[1:]]) if len(leaves) > 1 else part(parts, 1)
    return {"display": name} if name else None


def _performers(function: str) -> Any:
    """Return a converter of NDL to performers with their function. Source: rows OBR-34, OBR-35."""
    concept = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": function}]}
    extension = [{"url": EXTENSIONS + "event-performerFunction", "valueCodeableConcept": concept}]

    def convert(context: Context, segment: Segment, number: int) -> Any:
        found = [_interpreter(context, segment, number, parts) for parts in segment.repetitions(number)]
        return [{"extension": extension, **one} for one in found if one] or None

    return convert


def _status_reason(context: Context, segment: Segment, number: int) -> Any:
    found = coded(context, segment, number, segment.first(number))
    return [{"url": EXTENSIONS + "event-statusReason", "valueCodeableConcept": found}] if found else None


def _groups(context: Context, segment: Segment, number: int) -> Any:
    return group_number(context, segment, number) or None


def _security(context: Context, segment: Segment, number: int) -> Any:
    found = [mapped("ConfidentialityCode")(context, segment, number, parts) for parts in segment.repetitions(number)]
    codings = [coding for one in found if one for coding in one.get("coding", ()) if "system" in coding]
    return {"security": codings} if codings else None


ORC_TO_REPORT: Final = (
    Row(4, "identifier", _groups, "ORC-4; EI as in the ServiceRequest"),
    Row(16, "extension", _status_reason, "ORC-16"),
    Row(28, "meta", _security, "ORC-28, ConfidentialityCode"),
)

OBR_TO_REPORT: Final = (
    Row(4, "code", single(coded), "OBR-4"),
    Row(22, "issued", _issued, "OBR-22"),
    Row(24, "category", repeated(mapped("DiagnosticServiceSectionID")), "OBR-24, DiagnosticServiceSectionID"),
    Row(32, "resultsInterpreter", repeated(_interpreter), "OBR-32; ours: named, no PractitionerRole is made"),
    Row(34, "performer", _performers("SPRF"), "OBR-34; ours: named, no PractitionerRole is made"),
    Row(35, "performer", _performers("TRANS"), "OBR-35; ours: named, no PractitionerRole is made"),
)

USED: Final = frozenset({1, 2, 3, 7, 8, 25} | {row.field for row in OBR_TO_REPORT})
"""Fields that count as used: 1 is a running number; 2, 3, 7, 8 and 25 are read by `report` and `order`."""

ORC_USED: Final = frozenset({1, 2, 3} | {row.field for row in ORC_TO_REPORT})


def order(context: Context, orc: Segment | None, obr: Segment | None) -> dict[str, Json]:
    """Return the placer's and the filler's order number (types PLAC and FILL), from ORC else OBR."""
    made: dict[str, Json] = {}
    for number, kind in ((2, "PLAC"), (3, "FILL")):
        for segment in (orc, obr):
            if (
                segment is not None
                and kind not in made
                and (found := entity(context, segment, number, segment.first(number), kind))
            ):
                made[kind] = found
    return made


def observed(context: Context, obr: Segment) -> Json:
    """Return OBR-7 and OBR-8 as effective[x]: a dateTime, or a Period where both are valued."""
    made = context.period(obr, 7, obr.text(7), obr.text(8))
    if "end" in made:
        return {"effectivePeriod": made}
    return {"effectiveDateTime": made["start"]} if made else {}


def report(
    context: Context, orc: Segment | None, obr: Segment, numbers: dict[str, Json], results: Sequence[str]
) -> Json:
    """Return one OBR as a DiagnosticReport without subject, results and identity.

    Args:
        context: Where problems are noted.
        orc: The common order, None where there is none.
        obr: The segment.
        numbers: What `order` gave.
        results: The statuses of its Observations.
    """
    made: Json = {"resourceType": "DiagnosticReport", "status": _status(context, obr, results)}
    if numbers:
        made["identifier"] = list(numbers.values())
    for segment, rows in ((orc, ORC_TO_REPORT), (obr, OBR_TO_REPORT)):
        if segment is None:
            continue
        for row, value in state(rows, context, segment):
            if value is not None:
                lists = isinstance(value, list) and row.element in made
                made[row.element] = [*made[row.element], *value] if lists else value
    if "code" not in made:
        context.note(obr, 4, "code-missing")
        made["code"] = missing_code()
    if "PLAC" in numbers:
        made["basedOn"] = [{"type": "ServiceRequest", "identifier": numbers["PLAC"]}]
    return made | observed(context, obr)


def _status(context: Context, obr: Segment, results: Sequence[str]) -> str:
    """Return the status of OBR-25; ours where it is empty: what the results have in common."""
    if obr.is_valued(25):
        return code_of(context, obr, 25, "ResultStatus[Non-Queries]", obr.text(25)) or "unknown"
    context.note(obr, 25, "status-from-results")
    found = set(results)
    if found and found <= {"final", "corrected", "amended"}:
        return "final"
    return "preliminary" if "preliminary" in found or "registered" in found else "unknown"
