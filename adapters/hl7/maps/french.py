"""French segments ZFA, ZFD, ZFM, ZFP and ZFV to Patient, Encounter and Consent.

Ours: French PAM 2.11 has no map to FHIR, and its fields are here as two public implementations read them, not checked
against its text. FR Core's extensions are used by their names (2.2.0-ballot, fr-core-identity-reliability); the types
of their values were not checked. All else is an extension of our own.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from adapters.hl7.context import Context
from adapters.hl7.datatypes import INS_TYPES, Json, coded
from adapters.hl7.demography import address
from adapters.hl7.ids import made_id
from adapters.hl7.maps.extensions import OWN, has_url, parts
from adapters.hl7.maps.rows import Row, Stated, whole
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import NULL, Segment, part

RELIABILITY: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
RELIABILITY_ROW: Final = whole(32, "extension", "ours: PID-32 and ZFD-5 to ZFD-7 together", has_url(RELIABILITY))
SCOPE: Final = "urn:predmp:CodeSystem:consent-scope"
STATUSES: Final = ("VALI", "PROV", "RECUP")
"""Statuses of an identity that PID-32 may say; QUAL is VALI with an INS. Other codes are comments."""

DOUBTED: Final = frozenset({"DOUT", "FICT"})


class Field(NamedTuple):
    """A field that becomes a part of an extension of ours."""

    number: int
    name: str
    kind: str  # code, text, time, date, yes-no, whole number, address


PATIENT: Final = {
    "ZFA": ("dmp", (Field(1, "status", "code"), Field(2, "statusDate", "time"), Field(3, "closed", "time"))),
    "ZFD": (
        "identity-details",
        (
            Field(2, "gestationWeeks", "whole"), Field(3, "smsConsent", "yes-no"),
            Field(4, "birthDateCorrected", "yes-no"), Field(8, "proofExpiry", "date"),
        ),
    ),
    "ZFP": ("occupation", (Field(1, "activity", "code"), Field(2, "category", "code"))),
}  # fmt: skip
"""Segment -> name of the extension of Patient, and its parts."""

ENCOUNTER: Final = {
    "ZFM": (
        "pmsi",
        (
            Field(1, "entryMode", "code"), Field(2, "exitMode", "code"), Field(3, "origin", "code"),
            Field(4, "destination", "code"),
        ),
    ),
    "ZFV": (
        "visit-details",
        (
            Field(1, "origin", "text"), Field(2, "exitTransport", "code"), Field(4, "placementStart", "time"),
            Field(5, "placementEnd", "time"), Field(6, "address", "address"), Field(7, "originVisit", "text"),
            Field(8, "archiveNumber", "text"), Field(9, "exitModeLocal", "code"), Field(10, "legalCareMode", "code"),
            Field(11, "careDuringTransport", "code"),
        ),
    ),
}  # fmt: skip
"""Segment -> name of the extension of Encounter, and its parts."""

FURTHER: Final = {"ZFA": frozenset({4, 5, 6, 7, 8, 9, 11}), "ZFD": frozenset({1, 5, 6, 7}), "ZFV": frozenset({3})}
"""Fields that are read elsewhere, or that the standard calls obsolete or forbidden."""


def _row(segment: str, name: str) -> Row:
    return whole(0, "extension", f"ours: {segment}", has_url(OWN + name))


ROWS: Final = {name: _row(name, given[0]) for name, given in {**PATIENT, **ENCOUNTER}.items()}
PATIENT_ROWS: Final = (RELIABILITY_ROW, *(ROWS[name] for name in PATIENT))
ENCOUNTER_ROWS: Final = tuple(ROWS[name] for name in ENCOUNTER)


def _value(context: Context, segment: Segment, field: Field) -> tuple[str, Any] | None:
    number, text = field.number, segment.text(field.number)
    if field.kind == "time" or field.kind == "date":
        moment = context.moment(segment, number, text)
        return ("DateTime", moment.text if field.kind == "time" else moment.date) if moment else None
    if field.kind == "code":
        made = coded(context, segment, number, segment.first(number))
        return ("CodeableConcept", made) if made else None
    if field.kind == "address":
        made = address(context, segment, number, segment.first(number))
        return ("Address", made) if made else None
    if field.kind == "yes-no":
        return _yes_no(context, segment, number)
    if field.kind == "whole" and not (text.isascii() and text.isdigit() and len(text) < 4):
        context.note(segment, number, "number-malformed")
        return None
    return ("UnsignedInt", int(text)) if field.kind == "whole" else ("String", " ".join(segment.texts(number)))


def _yes_no(context: Context, segment: Segment, number: int) -> tuple[str, bool] | None:
    found = table("YesNoIndicator").get(segment.text(number))
    if found is None:
        context.note(segment, number, "code-not-mapped", segment.text(number))
        return None
    return "Boolean", found.code == "true"


def state_extensions(context: Context, segments: list[Segment], which: dict[str, Any]) -> list[Stated]:
    """Return what French segments say in extensions of ours; a segment states all of its own.

    Args:
        context: Where problems are noted.
        segments: Of the message.
        which: `PATIENT` or `ENCOUNTER`.
    """
    made = []
    for segment in segments:
        if segment.name not in which:
            continue
        name, fields = which[segment.name]
        context.take(segment, frozenset(field.number for field in fields) | FURTHER.get(segment.name, frozenset()))
        values = {f.name: _value(context, segment, f) for f in fields if segment.is_valued(f.number)}
        found = parts(name, values)
        if found or any(segment.raw(f.number) == NULL for f in fields):
            made.append(Stated(ROWS[segment.name], [found] if found else None))
    return made


def reliability(context: Context, pid: Segment, zfd: Segment | None, identifiers: list[Json]) -> list[Stated]:
    """Return what PID-32 and ZFD say about how far the identity can be relied on.

    PID-32 VALI with an INS is QUAL, DOUT and FICT are provisional; other codes are comments.
    """
    codes = [code for p in pid.repetitions(32) if (code := _code(part(p, 1)))]
    has_ins = any(one.get("system") in INS_TYPES for one in identifiers)
    made = []
    status = next((code for code in STATUSES if code in codes), "")
    if status == "VALI" and has_ins:
        status = "QUAL"
    if DOUBTED & set(codes):
        status = "PROV"
    if status:
        made.append({"url": "identityStatus", "valueCoding": {"code": status}})
    made += [{"url": "comment", "valueCoding": {"code": code}} for code in codes if code not in STATUSES]
    if zfd is not None:
        made += _collected(context, zfd)
    if made:
        return [Stated(RELIABILITY_ROW, [{"url": RELIABILITY, "extension": made}])]
    return [Stated(RELIABILITY_ROW, None)] if pid.raw(32) == NULL else []


def _code(text: str) -> str:
    """Write a code as R4 has codes: no blanks at its ends, single ones inside."""
    return " ".join(text.split())


def _collected(context: Context, zfd: Segment) -> list[Json]:
    """Return how the identity was found out: source, date of the INS query, kind of proof."""
    made = []
    if method := _code(zfd.text(5)):
        made.append({"url": "methodCollection", "valueCoding": {"code": method}})
    if moment := context.moment(zfd, 6, zfd.text(6)):
        made.append({"url": "dateInterrogationINSi", "valueDate": moment.date})
    if proof := _code(zfd.text(7)):
        made.append({"url": "validationMode", "valueCoding": {"code": proof}})
    return made


DECISIONS: Final = (
    (9, "dmp-feeding", "Opposition to feeding the DMP", {"Y": "deny", "N": "permit"}),
    (11, "dmp-consultation", "Consent to consulting the DMP", {"Y": "permit", "N": "deny"}),
)
"""Fields of ZFA that a patient decides: field, code of the scope, text, and what yes and no mean."""


def decisions(context: Context, zfa: Segment, patient: tuple[str, str], at: str) -> list[Json]:
    """Return the Consents of ZFA-9 and ZFA-11.

    They are about the national record, not about who may see this hub's: their scope is one of ours, which the rules
    of access do not count. So a feed can neither open a record nor hide it.

    Args:
        context: Where problems are noted.
        zfa: The segment.
        patient: System and value of the patient's number.
        at: When it was decided, where ZFA-2 does not say it.
    """
    made = []
    since = context.moment(zfa, 2, zfa.text(2))
    for field, code, text, meaning in DECISIONS:
        answer = zfa.text(field)
        if answer and answer not in meaning:
            context.note(zfa, field, "code-not-mapped", answer)
        elif answer:
            one: Json = {
                "resourceType": "Consent",
                "id": made_id("Consent", context.tenant, *patient, context.facility, code),
                "status": "active",
                "scope": {"coding": [{"system": SCOPE, "code": code}], "text": text},
                "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
                "organization": [{"display": context.facility}],
                "policyRule": {"text": "ZFA"},
                "provision": {"type": meaning[answer]},
            }
            when = since.text if since else at
            made.append(one | ({"dateTime": when} if when else {}))
    return made


def insee(place: Json, parts: list[list[str]]) -> Json:
    """Return a place of birth with its INSEE code. Ours: XAD.9 where it has the form of one; not checked."""
    code = part(parts, 9).strip()
    if len(code) != 5 or not code.isalnum():
        return place
    url = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-address-insee-code"
    made = {key: value for key, value in place.items() if key != "district"}
    return {"extension": [{"url": url, "valueCoding": {"code": code}}], **made}
