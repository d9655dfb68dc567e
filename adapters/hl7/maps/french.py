"""French segments ZFA, ZFD, ZFM, ZFP and ZFV to Patient, Encounter and Consent.

Ours: French PAM 2.11 has no map to FHIR, and its fields are here as two public implementations read them, not checked
against its text. FR Core's extensions are used by their names (2.2.0-ballot, fr-core-identity-reliability); the types
of their values were not checked. All else is an extension of our own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import INS_TYPES, Json, code_of, coded
from adapters.hl7.demography import address
from adapters.hl7.ids import made_id
from adapters.hl7.maps.extensions import OWN, has_url
from adapters.hl7.maps.rows import Row, Stated, state, whole
from adapters.hl7.tokens import NULL, Segment, part

RELIABILITY: Final = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability"
SOURCES: Final = frozenset({"methodCollection", "dateInterrogationINSi", "validationMode"})


def _is_source(item: Json) -> bool:
    return item.get("url") == RELIABILITY and any(one.get("url") in SOURCES for one in item.get("extension", ()))


def _is_status(item: Json) -> bool:
    return item.get("url") == RELIABILITY and not _is_source(item)


STATUS_ROW: Final = whole(32, "extension", "ours: PID-32", _is_status)
SOURCE_ROW: Final = whole(5, "extension", "ours: ZFD-5, ZFD-6 and ZFD-7 together", _is_source)
SCOPE: Final = "urn:predmp:CodeSystem:consent-scope"
STATUSES: Final = ("VALI", "PROV", "RECUP")
"""Statuses of an identity that PID-32 may say; QUAL is VALI with an INS. Other codes are comments."""

METHODS: Final = {"INSI": "INSi"}
"""ZFD-5 -> FR Core's code, where they differ (2.2.0-ballot; not checked in a release)."""

DOUBTED: Final = frozenset({"DOUT", "FICT"})


def _value(kind: str, context: Context, segment: Segment, number: int) -> tuple[str, Any] | None:
    """Read a field of a kind: code, text, time, date, yes-no, whole (number) or address."""
    text = segment.text(number)
    if kind in ("time", "date"):
        moment = context.moment(segment, number, text)
        return ("DateTime", moment.text if kind == "time" else moment.date) if moment else None
    if kind == "code":
        return "CodeableConcept", coded(context, segment, number, segment.first(number))
    if kind == "address":
        return "Address", address(context, segment, number, segment.first(number))
    if kind == "yes-no":
        code = code_of(context, segment, number, "YesNoIndicator", text)
        return ("Boolean", code == "true") if code else None
    if kind == "whole" and not (text.isascii() and text.isdigit() and len(text) < 4):
        context.note(segment, number, "number-malformed")
        return None
    return ("UnsignedInt", int(text)) if kind == "whole" else ("String", " ".join(segment.texts(number)).strip())


def _field(segment: str, number: int, name: str, kind: str) -> Row:
    """Return the row of a field that becomes an extension of ours."""
    url = OWN + name

    def convert(context: Context, found: Segment, field: int) -> list[Json] | None:
        value = _value(kind, context, found, field)
        return [{"url": url, f"value{value[0]}": value[1]}] if value and value[1] not in (None, "") else None

    return Row(number, "extension", convert, f"ours: {segment}-{number}", has_url(url))


def _fields(segment: str, *fields: tuple[int, str, str]) -> tuple[Row, ...]:
    return tuple(_field(segment, *field) for field in fields)


PATIENT: Final = {
    "ZFA": _fields("ZFA", (1, "dmp-status", "code"), (2, "dmp-status-date", "time"), (3, "dmp-closed", "time")),
    "ZFD": _fields(
        "ZFD", (2, "gestation-weeks", "whole"), (3, "sms-consent", "yes-no"), (4, "birth-date-corrected", "yes-no"),
        (8, "identity-proof-expiry", "date"),
    ),
    "ZFP": _fields("ZFP", (1, "occupation-activity", "code"), (2, "occupation-category", "code")),
}  # fmt: skip
"""Segment -> rows to Patient."""

ENCOUNTER: Final = {
    "ZFM": _fields(
        "ZFM", (1, "pmsi-entry-mode", "code"), (2, "pmsi-exit-mode", "code"), (3, "pmsi-origin", "code"),
        (4, "pmsi-destination", "code"),
    ),
    "ZFV": _fields(
        "ZFV", (1, "visit-origin", "text"), (2, "exit-transport", "code"), (4, "placement-start", "time"),
        (5, "placement-end", "time"), (6, "visit-address", "address"), (7, "origin-visit", "text"),
        (8, "archive-number", "text"), (9, "exit-mode-local", "code"), (10, "legal-care-mode", "code"),
        (11, "care-during-transport", "code"),
    ),
}  # fmt: skip
"""Segment -> rows to Encounter."""

FURTHER: Final = {"ZFA": frozenset({4, 5, 6, 7, 8, 9, 11}), "ZFD": frozenset({1, 5, 6, 7}), "ZFV": frozenset({3})}
"""Fields that are read elsewhere, or that the standard calls obsolete or forbidden."""

PATIENT_ROWS: Final = (STATUS_ROW, SOURCE_ROW, *(row for rows in PATIENT.values() for row in rows))
LEAVING: Final = {"ZFM": (2, 4), "ZFV": (2, 9)}
LEAVING_ROWS: Final = tuple(row for name, fields in LEAVING.items() for row in ENCOUNTER[name] if row.field in fields)
"""What is told of how a patient leaves, and where to: a discharge that is cancelled (A13) takes it back."""
ENCOUNTER_ROWS: Final = tuple(row for rows in ENCOUNTER.values() for row in rows)


def state_extensions(
    context: Context, segments: Sequence[Segment], which: Mapping[str, tuple[Row, ...]]
) -> list[Stated]:
    """Return what French segments say in extensions of ours.

    Args:
        context: Where problems are noted.
        segments: Of the message.
        which: `PATIENT` or `ENCOUNTER`.
    """
    made = []
    for segment in segments:
        if segment.name in which:
            rows = which[segment.name]
            context.take(segment, frozenset(row.field for row in rows) | FURTHER.get(segment.name, frozenset()))
            made += state(rows, context, segment)
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
    source = _collected(context, zfd) if zfd is not None else []
    found = [(STATUS_ROW, made), (SOURCE_ROW, source)]
    stated = [Stated(row, [{"url": RELIABILITY, "extension": told}]) for row, told in found if told]
    return [*stated, Stated(STATUS_ROW, None)] if pid.raw(32) == NULL else stated


def _code(text: str) -> str:
    """Write a code as R4 has codes: no blanks at its ends, single ones inside."""
    return " ".join(text.split())


def _collected(context: Context, zfd: Segment) -> list[Json]:
    """Return how the identity was found out: source, date of the INS query, kind of proof."""
    made = []
    if method := _code(zfd.text(5)):
        made.append({"url": "methodCollection", "valueCoding": {"code": METHODS.get(method, method)}})
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
