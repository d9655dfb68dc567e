"""PV1 to Encounter. Guide: HL7/v2-to-fhir at 8c9b414, segments/PV1[Encounter]; "ours" where it leaves a choice.

People and places become references that name them (identifier, display), no resources of their own yet.
"""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import TABLE_0203, Convert, Json, coded, identifier, mapped, target_of
from adapters.hl7.demography import person, place
from adapters.hl7.maps.extensions import OWN, has_url
from adapters.hl7.maps.rows import Owns, Row, Stated, repeated, single, whole
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import NULL, Parts, Segment, part

PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
PARTICIPATIONS = {
    "ATND": "attender", "REF": "referrer", "CON": "consultant", "ADM": "admitter", "PART": "Participation",
}  # fmt: skip
PREADMIT = "P"  # table 0004
KIND = OWN + "patient-type"
TEMPORARY = "urn:predmp:StructureDefinition:temporary-location"


def _class(context: Context, segment: Segment, number: int) -> Any:
    target = target_of(context, segment, number, "PatientClass[EncounterClass]", segment.text(number))
    if target is None:
        return None
    made = {"system": target.system, "code": target.code, "display": target.display}
    return {key: value for key, value in made.items() if value}


def participants(code: str) -> Any:
    """Return the converter of XCN to participants of a type (v3-ParticipationType)."""

    def convert(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
        who = person(context, segment, number, parts)
        if who is None:
            return None
        kind = {"system": PARTICIPATION, "code": code, "display": PARTICIPATIONS[code]}
        return {"type": [{"coding": [kind]}], "individual": who}

    return repeated(convert)


def plays(code: str) -> Owns:
    """Return whether a participant is of a type."""
    return lambda item: any(c.get("code") == code for t in item.get("type", []) for c in t.get("coding", []))


def _places(status: str) -> Any:
    def convert(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
        where = place(context, segment, number, parts)
        planned = number == 3 and segment.text(2) == PREADMIT
        return {"location": where, "status": "planned" if planned else status} if where else None

    return repeated(convert)


def _stands(*statuses: str) -> Owns:
    return lambda item: item.get("status") in statuses and not _is_temporary(item)


def _is_temporary(item: dict[str, Any]) -> bool:
    return any(one.get("url") == TEMPORARY for one in item.get("extension", ()))


def _temporary(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    where = place(context, segment, number, parts)
    if where is None:
        return None
    return {"extension": [{"url": TEMPORARY, "valueBoolean": True}], "location": where, "status": "active"}


def _visit(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    return visit_number(context, segment, number, parts)


def visit_number(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert the CX of a visit; without authority its numbers are those of the sending facility's stays."""
    if not part(parts, 1).strip():
        return None
    kind = {"coding": [{"system": TABLE_0203, "code": "VN"}]}
    if len(parts) < 4 or not any(parts[3]):
        return {"type": kind, "system": f"{context.facility_system}:visits", "value": part(parts, 1).strip()}
    made = identifier(context, segment, number, parts)
    return {**made, "type": kind} if made else None


def _patient_type(context: Context, segment: Segment, number: int, parts: Parts) -> Any:
    made = coded(context, segment, number, parts)
    return [{"url": KIND, "valueCodeableConcept": made}] if made else None


def _listed(convert: Convert) -> Any:
    return repeated(convert)


def _destination(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert DLD: a code of the place a patient was discharged to, or a text."""
    text = part(parts, 2) or part(parts, 1)
    return {"display": text} if text else None


def _episode(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    made = identifier(context, segment, number, parts)
    return {"type": "EpisodeOfCare", "identifier": made} if made else None


def _time(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return moment.text if moment else None


ACCOUNT: Final = frozenset({18})
"""The field of PID that belongs to the stay."""


def account(context: Context, pid: Segment) -> list[Stated]:
    """Return Encounter.account by PID-18; the null value takes it away."""
    context.take(pid, ACCOUNT)
    if pid.raw(18) == NULL:
        return [Stated(ACCOUNT_ROW, None)]
    number = identifier(context, pid, 18, pid.first(18)) if pid.is_valued(18) else None
    return [Stated(ACCOUNT_ROW, [{"type": "Account", "identifier": number}])] if number else []


def patient_class(context: Context, segment: Segment) -> Json | None:
    """Return PV1-2 as Encounter.class; None where it is empty or has no map."""
    made: Json | None = _class(context, segment, 2) if segment.is_valued(2) else None
    return made


PV1_TO_ENCOUNTER: Final = (
    Row(2, "class", _class, "PV1-2, PatientClass[EncounterClass]"),
    Row(3, "location", _places("active"), "PV1-3", _stands("active", "planned")),
    Row(4, "type", _listed(mapped("AdmissionType")), "PV1-4, AdmissionType"),
    Row(5, "hospitalization.preAdmissionIdentifier", single(identifier), "PV1-5"),
    Row(6, "location", _places("completed"), "PV1-6", _stands("completed")),
    Row(7, "participant", participants("ATND"), "PV1-7", plays("ATND")),
    Row(8, "participant", participants("REF"), "PV1-8", plays("REF")),
    Row(9, "participant", participants("CON"), "PV1-9", plays("CON")),
    Row(10, "serviceType", single(mapped("HospitalService")), "PV1-10, HospitalService"),
    Row(
        11,
        "location",
        repeated(_temporary),
        "PV1-11; ours: the extension that the guide names is no extension of R4",
        _is_temporary,
    ),
    Row(13, "hospitalization.reAdmission", single(mapped("ReadmissionIndicator")), "PV1-13, ReadmissionIndicator"),
    Row(14, "hospitalization.admitSource", single(coded), "PV1-14"),
    Row(15, "hospitalization.specialArrangement", _listed(mapped("AmbulatoryStatus")), "PV1-15, AmbulatoryStatus"),
    Row(16, "hospitalization.specialCourtesy", _listed(coded), "PV1-16"),
    Row(17, "participant", participants("ADM"), "PV1-17", plays("ADM")),
    Row(
        18,
        "extension",
        single(_patient_type),
        "ours: PV1-18, for which the guide has no element",
        has_url(KIND),
    ),
    Row(19, "identifier", repeated(_visit), "PV1-19"),
    Row(36, "hospitalization.dischargeDisposition", single(coded), "PV1-36"),
    Row(37, "hospitalization.destination", single(_destination), "PV1-37; ours: named, no Location is made"),
    Row(38, "hospitalization.dietPreference", _listed(coded), "PV1-38"),
    Row(42, "location", _places("reserved"), "PV1-42", _stands("reserved")),
    Row(44, "period.start", _time, "PV1-44"),
    Row(45, "period.end", _time, "PV1-45"),
    Row(50, "identifier", repeated(identifier), "PV1-50"),
    Row(52, "participant", participants("PART"), "PV1-52", plays("PART")),
    Row(54, "episodeOfCare", repeated(_episode), "PV1-54; ours: named, no EpisodeOfCare is made"),
)

USED: Final = frozenset({1} | {row.field for row in PV1_TO_ENCOUNTER})
"""Fields that count as used: 1 is a running number."""


STATUS: Final = "status"
STATUS_ROW: Final = Row(2, STATUS, _class, "ours: the event tells it, see `status`")
END_ROW: Final = next(row for row in PV1_TO_ENCOUNTER if row.field == 45)
LEAVING_ROWS: Final = tuple(row for row in PV1_TO_ENCOUNTER if row.field in (36, 37))
PRIOR_ROW: Final = next(row for row in PV1_TO_ENCOUNTER if row.field == 6)
ACCOUNT_ROW: Final = whole(18, "account", "ours: PID-18, the account that the guide makes, is named here")
NUMBER_ROW: Final = next(row for row in PV1_TO_ENCOUNTER if row.field == 19)

CANCELLED: Final = {
    "A11": "cancelled", "A27": "cancelled", "A38": "cancelled", "A23": "entered-in-error", "A13": "in-progress",
    "A52": "in-progress", "A53": "onleave",
}  # fmt: skip
"""Events that take another back: they tell the status whatever PV1-45 says. Source: the guide's Event[EncounterStatus]
for A11 A13 A23 A27 A38; ours: A52 (no leave after all) and A53 (no return after all)."""


def status(trigger: str, patient_class: str, *, ended: bool) -> str:
    """Return what an event says about Encounter.status, "" where it says nothing of it.

    Args:
        trigger: MSH-9.2, e.g. "A08".
        patient_class: PV1-2.
        ended: Whether PV1-45 is valued.
    Source: the guide's tables Event[EncounterStatus] and PatientClass[EncounterStatus]; ours: A08 does not
        change it (the guide says unknown), A04 of class P is planned.
    """
    if trigger in CANCELLED:
        return CANCELLED[trigger]
    if ended:
        return "finished"
    if trigger == "A04" and patient_class == PREADMIT:
        return "planned"
    if trigger != "A08" and trigger in table("Event[EncounterStatus]"):
        return table("Event[EncounterStatus]")[trigger].code
    return ""


def status_of_class(code: str) -> str:
    """Return the status of a stay of which no event told one, by Encounter.class.

    Source: the guide's table PatientClass[EncounterStatus].
    """
    return {"PRENC": "planned", "UNK": "unknown", "U": "unknown"}.get(code, "in-progress")
