"""AL1 and IAM to AllergyIntolerance. Guide: HL7/v2-to-fhir at 8c9b414, segments/AL1, IAM [AllergyIntolerance].

The guide leaves open what severity (AL1-4, IAM-4) is: ours reads it as criticality, and as severity of the reaction
where one is named. IAR and the NTE after an IAM have no map in the guide: ours reads them as reactions and notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, entity
from adapters.hl7.demography import text_name
from adapters.hl7.ids import made_id
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import Segment, part

USED: Final = frozenset({1, 2, 3, 4, 5, 6})
IAM_USED: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 17, 27})
IAR_USED: Final = frozenset({1, 2, 4})
FURTHER: Final = frozenset({"IAR", "NTE"})
"""Segments that belong to the IAM before them."""

SELF: Final = "SEL"  # table 0063
CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFICATION: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
DELETE: Final = "D"  # table 0206 or 0323
INACTIVE: Final = frozenset({"inactive", "resolved", "active"})


def _base(context: Context, segment: Segment, patient: tuple[str, str], number: Json | None) -> Json | None:
    code = coded(context, segment, 3, segment.first(3))
    if not code:
        context.note(segment, 3, "code-missing")
        return None
    first = code.get("coding", [{}])[0]
    text = f"{first.get('system', '')}|{first['code']}" if "code" in first else str(code.get("text", ""))
    known = (number["system"], number["value"]) if number else (text,)
    made: Json = {
        "resourceType": "AllergyIntolerance",
        "id": made_id("AllergyIntolerance", context.tenant, *patient, *known),
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "active"}]},
        "code": code,
    }
    return made | _kind(context, segment) | _severity(context, segment)


def _kind(context: Context, segment: Segment) -> Json:
    """Return category and type: AL1-2, tables AllergenType and AllergyType."""
    code = segment.text(2)
    category = table("AllergenType[AllergyIntoleranceCategory]").get(code)
    type = table("AllergyType").get(code)
    if code and not category and not type:
        context.note(segment, 2, "code-not-mapped", code)
    return ({"category": [category.code]} if category else {}) | ({"type": type.code} if type else {})


def _severity(context: Context, segment: Segment) -> Json:
    code = segment.text(4)
    criticality = table("AllergySeverity[AllergyIntolerance.criticality]").get(code)
    severity = table("AllergySeverity[AllergyIntolerance.reaction.severity]").get(code)
    found = [part(parts, 2) or part(parts, 1) for parts in segment.repetitions(5)]
    texts = [text for text in found if text]
    made: Json = {"criticality": criticality.code} if criticality else {}
    if texts:
        reaction: Json = {"manifestation": [{"text": text} for text in texts]}
        made["reaction"] = [{**reaction, "severity": severity.code} if severity else reaction]
    if code and not criticality and not (texts and severity):
        context.note(segment, 4, "code-not-mapped", code)
    return made


def _onset(context: Context, segment: Segment, field: int) -> Json:
    moment = context.moment(segment, field, segment.text(field))
    return {"onsetDateTime": moment.text} if moment else {}


def of_al1(context: Context, al1: Segment, patient: tuple[str, str]) -> Json | None:
    """Return the AllergyIntolerance of AL1; None where it names no allergen."""
    made = _base(context, al1, patient, None)
    return made | _onset(context, al1, 6) if made else None


def of_iam(context: Context, iam: Segment, patient: tuple[str, str], further: Sequence[Segment] = ()) -> Json | None:
    """Return the AllergyIntolerance of IAM; one that is deleted (IAM-6 D) was entered in error.

    Args:
        context: Where problems are noted and segments taken.
        iam: The segment.
        patient: System and value of the patient's number.
        further: The IAR and NTE that follow it: its reactions and notes.
    """
    number = entity(context, iam, 7, iam.first(7), "", own="allergies") if iam.is_valued(7) else None
    made = _base(context, iam, patient, number)
    if made is None:
        return None
    if number:
        made["identifier"] = [number]
    if more := coded(context, iam, 27, iam.first(27)) if iam.is_valued(27) else None:
        known = made["code"].get("coding", [])
        codings = [*known, *(c for c in more.get("coding", []) if c not in known)]
        made["code"] = {**more, **made["code"], **({"coding": codings} if codings else {})}
    made |= _onset(context, iam, 11)
    if "onsetDateTime" not in made and iam.text(12):
        made["onsetString"] = iam.text(12)
    if recorded := context.moment(iam, 13, iam.text(13)):
        made["recordedDate"] = recorded.text
    made |= _recorder(iam) | _further(context, made, further)
    if iam.text(17) in INACTIVE:
        made["clinicalStatus"] = {"coding": [{"system": CLINICAL, "code": iam.text(17)}]}
    elif iam.is_valued(17):
        context.note(iam, 17, "code-not-mapped", iam.text(17))
    if iam.text(6) == DELETE:
        del made["clinicalStatus"]  # R4, ait-2
        made["verificationStatus"] = {"coding": [{"system": VERIFICATION, "code": "entered-in-error"}]}
    return made


def _recorder(iam: Segment) -> Json:
    """Return who reported it (IAM-14), of the kind that IAM-15 says; named, no resource is made."""
    name = text_name(iam.first(14)) if iam.is_valued(14) else ""
    relation = iam.text(15)
    type = "Patient" if relation == SELF else "RelatedPerson" if relation else "Practitioner"
    return {"recorder": {"type": type, "display": name}} if name else {}


def _further(context: Context, made: Json, further: Sequence[Segment]) -> Json:
    """Return the reactions with those of IAR (one each: what, how grave, what was done), and the notes of NTE."""
    told: Json = {}
    notes = nte_map.comments(context, [one for one in further if one.name == "NTE"])
    reactions = [found for one in further if one.name == "IAR" and (found := _reaction(context, one))]
    if reactions:
        told["reaction"] = [*made.get("reaction", []), *reactions]
    return told | ({"note": notes} if notes else {})


def _reaction(context: Context, iar: Segment) -> Json | None:
    context.take(iar, IAR_USED)
    what = coded(context, iar, 1, iar.first(1)) if iar.is_valued(1) else None
    if not what:
        context.note(iar, 1, "code-missing")
        return None
    made: Json = {"manifestation": [what]}
    code = iar.text(2)
    if severity := table("AllergySeverity[AllergyIntolerance.reaction.severity]").get(code):
        made["severity"] = severity.code
    elif code:
        context.note(iar, 2, "code-not-mapped", code)
    if text := iar.text(4):
        made["note"] = [{"text": text}]
    return made
