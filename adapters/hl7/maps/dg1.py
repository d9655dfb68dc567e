"""DG1 to Condition and Encounter.diagnosis. Guide: HL7/v2-to-fhir at 8c9b414, segments/DG1."""

from __future__ import annotations

from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, entity, mapped
from adapters.hl7.demography import person
from adapters.hl7.ids import made_id
from adapters.hl7.maps.rows import whole
from adapters.hl7.tokens import Segment

DIAGNOSES: Final = whole(0, "diagnosis", "DG1[Encounter]; the list is a snapshot: it replaces the one before")
USED: Final = frozenset({1, 2, 3, 4, 5, 6, 15, 16, 19, 20, 21, 22})
DUE_TO: Final = "http://hl7.org/fhir/StructureDefinition/condition-dueTo"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/condition-category"
VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
DELETE: Final = "D"  # table 0206


def _id(context: Context, patient: tuple[str, str], owner: tuple[str, ...], identifier: Json | None, code: str) -> str:
    """Return the id: by the diagnosis's own number, else by patient or stay and code.

    Senders number diagnoses within a patient too (`1`, `2`): the patient is part of it.
    """
    if identifier:
        return made_id("Condition", context.tenant, *patient, identifier["system"], identifier["value"])
    return made_id("Condition", context.tenant, *owner, code)


def _number(context: Context, dg1: Segment, field: int) -> Json | None:
    return entity(context, dg1, field, dg1.first(field), "", own="diagnoses") if dg1.is_valued(field) else None


def condition(context: Context, dg1: Segment, patient: tuple[str, str], owner: tuple[str, ...]) -> Json | None:
    """Return the Condition; None where it has neither code nor text.

    Args:
        context: Where problems are noted.
        dg1: The segment.
        patient: System and value of the patient's number.
        owner: What a diagnosis without a number of its own belongs to: the number of the stay, else of the patient.
    """
    code = coded(context, dg1, 3, dg1.first(3)) or {}
    if dg1.text(4):
        code = {**code, "text": dg1.text(4)}
    if not code:
        context.note(dg1, 3, "code-missing")
        return None
    number = _number(context, dg1, 20)
    first = code.get("coding", [{}])[0]
    known = f"{first.get('system', '')}|{first['code']}" if "code" in first else str(code.get("text", ""))
    made: Json = {
        "resourceType": "Condition",
        "id": _id(context, patient, owner, number, known),
        "category": [{"coding": [{"system": CATEGORY, "code": "encounter-diagnosis"}]}],
        "code": code,
    }
    if number:
        made["identifier"] = [number]
    if onset := context.moment(dg1, 5, dg1.text(5)):
        made["onsetDateTime"] = onset.text
    if asserter := person(context, dg1, 16, dg1.first(16)):
        made["asserter"] = asserter
    if recorded := context.moment(dg1, 19, dg1.text(19)):
        made["recordedDate"] = recorded.text
    if dg1.text(21) == DELETE:
        made["verificationStatus"] = {"coding": [{"system": VERIFICATION, "code": "entered-in-error"}]}
    if parent := _number(context, dg1, 22):
        reference = f"Condition/{_id(context, patient, owner, parent, '')}"
        made["extension"] = [{"url": DUE_TO, "valueReference": {"reference": reference}}]
    return made


def diagnosis(context: Context, dg1: Segment, made: Json) -> Json | None:
    """Return Encounter.diagnosis of a Condition; None where the diagnosis is deleted."""
    if dg1.text(21) == DELETE:
        return None
    found: Json = {"condition": {"reference": f"Condition/{made['id']}"}}
    if use := mapped("DiagnosisType")(context, dg1, 6, dg1.first(6)) if dg1.is_valued(6) else None:
        found["use"] = use
    rank = dg1.text(15)
    if rank.isascii() and rank.isdigit() and 0 < len(rank) < 4 and int(rank):
        found["rank"] = int(rank)
    elif rank not in ("", "0"):
        context.note(dg1, 15, "number-malformed")
    return found
