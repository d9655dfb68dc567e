"""SPM, and the specimen fields of OBR, to Specimen.

Guide: HL7/v2-to-fhir at 8c9b414, segments/SPM[Specimen], OBR[Specimen], datatypes/SPS[Specimen-Source]; "ours" where it
leaves a choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.hl7 import numbers
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, coded, entity, identifier, mapped
from adapters.hl7.demography import person
from adapters.hl7.maps import nte as nte_map
from adapters.hl7.maps.rows import Row, repeated, single, state
from adapters.hl7.tokens import Parts, Segment, part
from adapters.hl7.units import UCUM, ucum

PLACER, FILLER = "PGN", "FGN"
"""Types (table 0203) of numbers that the placer and the filler gave. Source: EIP[Identifier-...]."""


def pair(context: Context, segment: Segment, number: int, parts: Parts, *, own: str) -> list[Json]:
    """Convert EIP: the placer's and the filler's number. Source: EIP[Identifier-PlacerAssignedIdentifier] and -Filler-.

    Ours: where both components are one and the same number it is given once, as the filler's.
    """
    made: list[Json] = []
    for at, kind in ((1, PLACER), (2, FILLER)):
        if at > len(parts):
            break
        found = entity(context, segment, number, [[leaf] for leaf in parts[at - 1]], kind, own=own)
        if found:
            made.append(found)
    return made[1:] if len(made) == 2 and made[0]["value"] == made[1]["value"] and _same(made) else made


def group_number(context: Context, orc: Segment, number: int) -> list[Json]:
    """Convert ORC-4: EIP from 2.8 on, EI before. Ours: it is EIP where a component has subcomponents, at any version.

    Else the authority of a number would be taken for the filler's number, and be that of every order.
    """
    parts = orc.first(number)
    if any(len(component) > 1 for component in parts[:2]):
        return pair(context, orc, number, parts, own="groups")
    found = entity(context, orc, number, parts, PLACER, own="groups")
    return [found] if found else []


def _same(pair_: Sequence[Json]) -> bool:
    return bool(pair_[0]["system"] == pair_[1]["system"])


def quantity(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Convert CQ. Source: CQ[Quantity]; ours: known units become UCUM codes."""
    value = numbers.decimal(part(parts, 1))
    if value is None:
        if part(parts, 1):
            context.note(segment, number, "number-malformed")
        return None
    text = part(parts, 2, 9) or part(parts, 2, 2) or part(parts, 2)
    code = ucum(part(parts, 2)) or ucum(text)
    if text and not code:
        context.note(segment, number, "unit-unknown", text)
    made: Json = {"unit": text} if text else {}
    return numbers.quantity(value, {**made, "system": UCUM, "code": code} if code else made)


def _identifiers(context: Context, segment: Segment, number: int) -> Any:
    return pair(context, segment, number, segment.first(number), own="specimens") or None


def _parents(context: Context, segment: Segment, number: int) -> Any:
    found = [pair(context, segment, number, parts, own="specimens") for parts in segment.repetitions(number)]
    return [{"type": "Specimen", "identifier": numbers_[-1]} for numbers_ in found if numbers_] or None


def _collected(context: Context, segment: Segment, number: int) -> Any:
    parts = segment.first(number)
    made = context.period(segment, number, part(parts, 1), part(parts, 2))
    if "end" in made:
        return {"collectedPeriod": made}
    return {"collectedDateTime": made["start"]} if made else None


def _moment(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return moment.text if moment else None


def _notes(context: Context, segment: Segment, number: int) -> Any:
    return [{"text": text} for text in segment.texts(number) if text.strip()] or None


def _status(context: Context, segment: Segment, number: int) -> Any:
    return code_of(context, segment, number, "YesNoIndicator[AvailabilityStatus]", segment.text(number))


def _rejected(context: Context, segment: Segment, number: int) -> Any:
    found = [mapped("SpecimenRejectReason")(context, segment, number, parts) for parts in segment.repetitions(number)]
    return [one for one in found if one] or None


SPM_TO_SPECIMEN: Final = (
    Row(2, "identifier", _identifiers, "SPM-2"),
    Row(3, "parent", _parents, "SPM-3; ours: named by its number"),
    Row(4, "type", single(mapped("SpecimenType")), "SPM-4, SpecimenType"),
    Row(6, "additives", repeated(mapped("AdditivePreservative")), "SPM-6, Additive/Preservative"),
    Row(7, "collection.method", single(mapped("SpecimenCollectionMethod")), "SPM-7, SpecimenCollectionMethod"),
    Row(8, "collection.bodySite", single(coded), "SPM-8"),
    Row(12, "collection.quantity", single(quantity), "SPM-12"),
    Row(14, "note", _notes, "SPM-14"),
    Row(17, "collection.collected[x]", _collected, "SPM-17"),
    Row(18, "receivedTime", _moment, "SPM-18"),
    Row(20, "status", _status, "SPM-20, Yes/NoIndicator[AvailabilityStatus]"),
    Row(21, "condition", _rejected, "ours: a reason for rejection is a condition; no row"),
    Row(24, "condition", repeated(mapped("SpecimenCondition")), "SPM-24, SpecimenCondition"),
    Row(27, "container", single(coded), "SPM-27"),
    Row(30, "accessionIdentifier", single(identifier), "SPM-30"),
    Row(31, "identifier", repeated(identifier), "SPM-31"),
    Row(32, "identifier", single(lambda c, s, n, p: entity(c, s, n, p, "SHIP", own="shipments")), "SPM-32"),
)

USED: Final = frozenset({1} | {row.field for row in SPM_TO_SPECIMEN})

OBR_FIELDS: Final = frozenset({7, 8, 9, 10, 13, 14, 15, 39})
"""Fields of OBR that tell of a specimen; 7, 8 and 13 tell of the report and the order too."""


def specimen(context: Context, spm: Segment, notes: Sequence[Segment]) -> Json:
    """Return SPM, with the NTE after it, as a Specimen without subject and identity."""
    context.take(spm, USED)
    made: Json = {"resourceType": "Specimen"}
    for row, value in state(SPM_TO_SPECIMEN, context, spm):
        if value is not None:
            _lay(made, row.element, value)
    if spm.is_valued(21) and "status" not in made:
        made["status"] = "unsatisfactory"
    if more := nte_map.comments(context, notes):
        made["note"] = [*made.get("note", []), *more]
    return _contained(made)


def _lay(made: Json, element: str, value: Any) -> None:
    holder, _, inner = element.rpartition(".")
    target = made.setdefault(holder, {}) if holder else made
    if inner.endswith("[x]"):
        target.update(value)
    elif inner in ("identifier", "condition"):
        target[inner] = [*target.get(inner, []), *(value if isinstance(value, list) else [value])]
    else:
        target[inner] = value


def _contained(made: Json) -> Json:
    """Return the specimen with its container: type of SPM-27, additives of SPM-6 (R4: one for each container)."""
    kind, additives = made.pop("container", None), made.pop("additives", [])
    containers = [{"additiveCodeableConcept": one} for one in additives] or ([{}] if kind else [])
    if containers:
        made["container"] = [{**({"type": kind} if kind else {}), **one} for one in containers]
    return made


def is_told(obr: Segment) -> bool:
    """Whether an OBR tells of a specimen: its source, its volume, its collector or its reception."""
    return len(obr.fields) > 9 and any(obr.is_valued(number) for number in (9, 10, 14, 15))


def of_order(context: Context, obr: Segment) -> Json:
    """Return what OBR tells of a specimen, where no SPM does."""
    context.take(obr, OBR_FIELDS)
    made: Json = {"resourceType": "Specimen"}
    collection: Json = {}
    if obr.is_valued(15):
        made |= _source(context, obr)
        collection |= made.pop("collection", {})
    taken = context.period(obr, 7, obr.text(7), obr.text(8))
    if taken:
        collection |= {"collectedPeriod": taken} if "end" in taken else {"collectedDateTime": taken["start"]}
    if obr.is_valued(9) and (volume := quantity(context, obr, 9, obr.first(9))):
        collection["quantity"] = volume
    if obr.is_valued(10) and (collector := person(context, obr, 10, obr.first(10))):
        collection["collector"] = collector
    if moment := context.moment(obr, 14, obr.text(14)):
        made["receivedTime"] = moment.text
    comments = [text for parts in obr.repetitions(39) if (text := part(parts, 9) or part(parts, 2) or part(parts, 1))]
    if comments:
        made["note"] = [*made.get("note", []), *({"text": text} for text in comments)]
    return {**made, "collection": collection} if collection else made


def complete_by_order(context: Context, specimen: Json, obr: Segment) -> None:
    """Add to an order's only specimen who took it (OBR-10) and when it came (OBR-14), where SPM does not say it."""
    if len(obr.fields) <= 10:
        return
    collection = specimen.get("collection", {})
    if obr.is_valued(10) and "collector" not in collection and (who := person(context, obr, 10, obr.first(10))):
        specimen["collection"] = {**collection, "collector": who}
        context.take(obr, frozenset({10}))
    if "receivedTime" not in specimen and (moment := context.moment(obr, 14, obr.text(14))):
        specimen["receivedTime"] = moment.text
        context.take(obr, frozenset({14}))


def _source(context: Context, obr: Segment) -> Json:
    """Convert OBR-15. Source: SPS[Specimen-Source]; coded parts have their leaves as subcomponents."""
    parts = obr.first(15)

    def leaf(at: int) -> Parts:
        return [[text] for text in parts[at - 1]] if at <= len(parts) else [[""]]

    made: Json = {}
    if kind := mapped("SpecimenType")(context, obr, 15, leaf(1)):
        made["type"] = kind
    if additive := mapped("AdditivePreservative")(context, obr, 15, leaf(2)):
        made["container"] = [{"additiveCodeableConcept": additive}]
    if text := part(parts, 3):
        made["note"] = [{"text": text}]
    if site := coded(context, obr, 15, leaf(4)):
        made["collection"] = {"bodySite": site}
    if condition := mapped("SpecimenCondition")(context, obr, 15, leaf(6)):
        made["condition"] = [condition]
    return made
