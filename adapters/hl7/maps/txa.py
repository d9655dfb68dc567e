"""TXA to DocumentReference.

Guide: HL7/v2-to-fhir at 8c9b414, segments/TXA[DocumentReference]; "ours" where it leaves a choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, coded, entity, mapped
from adapters.hl7.demography import person
from adapters.hl7.maps.rows import Row, repeated, single, state
from adapters.hl7.tokens import NULL, Segment

ALTERNATE: Final = "http://hl7.org/fhir/StructureDefinition/alternate-codes"
TABLE_0273: Final = "http://terminology.hl7.org/CodeSystem/v2-0273"

PRESENTATION: Final = {
    "AP": "application/octet-stream", "AU": "audio/basic", "FT": "text/plain", "IM": "image/*", "TX": "text/plain",
    "multipart": "multipart/mixed",
}  # fmt: skip
"""TXA-3 (table 0191) -> media type of a document whose content is not sent. Ours."""

RELATIONS: Final = {"T05": "appends", "T06": "appends", "T09": "replaces", "T10": "replaces"}
"""Trigger -> how a document stands to its parent (TXA-13). Source: the guide's events MDM T05, T06, T09, T10."""


def _date(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    if moment is not None and not moment.is_full:
        context.note(segment, number, "instant-without-time")
        return None
    return moment.text if moment else None


def _activity(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return {"start": moment.text} if moment else None


def _file(context: Context, segment: Segment, number: int) -> Any:
    name = segment.text(number).strip()
    return [{"system": f"{context.facility_system}:files", "value": name}] if name else None


def _orders(kind: str) -> Callable[[Context, Segment, int], Any]:
    def convert(context: Context, segment: Segment, number: int) -> Any:
        found = [entity(context, segment, number, parts, kind) for parts in segment.repetitions(number)]
        return [{"type": "ServiceRequest", "identifier": one} for one in found if one] or None

    return convert


def _security(context: Context, segment: Segment, number: int) -> Any:
    return repeated(mapped("DocumentConfidentialityStatus"))(context, segment, number)


def _doc_status(context: Context, segment: Segment, number: int) -> Any:
    return code_of(context, segment, number, "DocumentCompletionStatus", segment.text(number))


TXA_TO_DOCUMENT: Final = (
    Row(2, "type", single(coded), "TXA-2"),
    Row(4, "context.period", _activity, "ours: the time of what is documented"),
    Row(6, "date", _date, "TXA-6"),
    Row(9, "author", repeated(person), "TXA-9; ours: named, no Practitioner is made"),
    Row(10, "authenticator", single(person), "TXA-10; ours: named, no Practitioner is made"),
    Row(14, "context.related", _orders("PLAC"), "ours: the order that the document is about"),
    Row(15, "context.related", _orders("FILL"), "ours: the order that the document is about"),
    Row(16, "identifier", _file, "TXA-16"),
    Row(17, "docStatus", _doc_status, "TXA-17; ours: table 0271"),
    Row(18, "securityLabel", _security, "TXA-18, DocumentConfidentialityStatus"),
    Row(22, "authenticator", single(person), "ours: who did authenticate it, before whom TXA-10 assigns"),
    Row(25, "description", lambda c, s, n: "\n".join(s.texts(n)) or None, "TXA-25"),
)

USED: Final = frozenset({1, 3, 5, 12, 13, 19} | {row.field for row in TXA_TO_DOCUMENT})


def document(context: Context, txa: Segment, trigger: str) -> Json:
    """Return a document without its patient, identity, content and relations."""
    context.take(txa, USED)
    made: Json = {"resourceType": "DocumentReference", **_status(context, txa, trigger)}
    inner: Json = {}
    if txa.is_valued(10) and txa.is_valued(22) and txa.raw(10) != txa.raw(22):
        context.note(txa, 10, "authenticator-differs")
    for row, value in state(TXA_TO_DOCUMENT, context, txa):
        holder, name = (inner, row.element[8:]) if row.element.startswith("context.") else (made, row.element)
        if value is not None:
            holder[name] = [*holder.get(name, []), *value] if isinstance(value, list) else value
    if "author" not in made and txa.is_valued(5):
        found = [person(context, txa, 5, parts) for parts in txa.repetitions(5)]
        made |= {"author": [one for one in found if one]} if any(found) else {}
    return {**made, "context": inner} if inner else made


def _status(context: Context, txa: Segment, trigger: str) -> Json:
    """Return the status: T11 takes a document back, else TXA-19, else current."""
    sent = txa.text(19)
    if trigger == "T11":
        return {"status": "entered-in-error"}
    status = code_of(context, txa, 19, "DocumentAvailabilityStatus", sent) or "current"
    if sent in ("", NULL, "AV") or not sent.isalnum():
        return {"status": status}
    concept = {"coding": [{"system": TABLE_0273, "code": sent}]}
    return {"status": status, "_status": {"extension": [{"url": ALTERNATE, "valueCodeableConcept": concept}]}}


def announced(txa: Segment) -> list[Json]:
    """Return the content of a document that is announced without its content: its media type and its title."""
    media = PRESENTATION.get(txa.text(3), "")
    made: Json = {"contentType": media} if media and "*" not in media else {}
    title = txa.text(16) or "\n".join(txa.texts(25)) or txa.text(2, 2) or txa.text(2)
    return [{"attachment": {**made, "title": title or "?"}}]
