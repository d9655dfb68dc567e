"""IN1 to Coverage. Guide: HL7/v2-to-fhir at 8c9b414, segments/IN1[Coverage]; "ours" where it leaves a choice."""

from __future__ import annotations

from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, authority, coded, identifier, mapped
from adapters.hl7.demography import organization, text_name
from adapters.hl7.ids import made_id
from adapters.hl7.tokens import Segment, part

USED: Final = frozenset({1, 2, 3, 4, 11, 12, 13, 15, 16, 17, 36, 49})
SELF: Final = "SEL"


def _plan(context: Context, in1: Segment) -> Json | None:
    """Convert IN1-2, CWE[Identifier]: the plan's code as a number of the coding system's."""
    value = in1.text(2)
    if not value:
        return None
    system = (
        authority(context, in1, 2, [in1.text(2, 3), "", ""]) if in1.text(2, 3) else f"{context.facility_system}:plans"
    )
    return {"system": system, "value": value}


def _payor(context: Context, in1: Segment) -> list[Json]:
    """Return who pays: IN1-4, else the number of the company (IN1-3); R4 wants one."""
    made = [{"type": "Organization", **one} for p in in1.repetitions(4) if (one := organization(context, in1, 4, p))]
    number = identifier(context, in1, 3, in1.first(3)) if in1.is_valued(3) else None
    if number and made:
        made[0]["identifier"] = number
    elif number:
        made = [{"type": "Organization", "identifier": number}]
    url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
    return made or [{"extension": [{"url": url, "valueCode": "unknown"}]}]


def coverage(context: Context, in1: Segment, patient: tuple[str, str]) -> Json | None:
    """Return the Coverage of IN1; None where it says nothing, or deletes what it names.

    Ours: the policy number (IN1-36) is an identifier; the insured's number (IN1-49) is R4's subscriberId.
    """
    if not any(in1.is_valued(field) for field in USED - {1}):
        context.note(in1, 0, "insurance-without-content")
        return None
    plan = _plan(context, in1)
    policy = in1.text(36)
    made: Json = {"resourceType": "Coverage", "status": "active", "payor": _payor(context, in1)}
    numbers = [plan] if plan else []
    if policy:
        numbers.append({"system": f"{context.facility_system}:policies", "value": policy})
    insured = in1.text(49)
    known = policy or insured or in1.raw(3) + in1.raw(4)
    made["id"] = made_id("Coverage", context.tenant, *patient, plan["value"] if plan else "", known)
    if numbers:
        made["identifier"] = numbers
    if insured:
        made["subscriberId"] = insured
    if period := context.period(in1, 12, in1.text(12), in1.text(13)):
        made["period"] = period
    if type := mapped_plan(context, in1):
        made["type"] = type
    if holder := organization(context, in1, 11, in1.first(11)):
        made["policyHolder"] = {"type": "Organization", **holder}
    if in1.is_valued(17) and (relationship := mapped("Relationship")(context, in1, 17, in1.first(17))):
        made["relationship"] = relationship
    if in1.text(17) != SELF and in1.is_valued(16) and (name := text_name(in1.first(16))):
        made["subscriber"] = {"type": "RelatedPerson", "display": name}
    return made


def mapped_plan(context: Context, in1: Segment) -> Json | None:
    """Convert IN1-15: the guide's table PlanId has no rows, so the sender's coding stays."""
    return coded(context, in1, 15, in1.first(15)) if in1.is_valued(15) and part(in1.first(15), 1) else None
