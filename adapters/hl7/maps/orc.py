"""ORC and OBR to ServiceRequest.

Guide: HL7/v2-to-fhir at 8c9b414, segments/ORC[ServiceRequest], OBR[ServiceRequest]; "ours" where it leaves a choice.
Times and priorities of TQ1 and TQ are in `tq1.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of, code_text, coded, entity, identifier, mapped
from adapters.hl7.demography import address, organization, person, telecoms
from adapters.hl7.maps import contained
from adapters.hl7.maps.rows import Row, repeated, single, state
from adapters.hl7.maps.spm import FILLER, group_number, pair
from adapters.hl7.maps.tables import table
from adapters.hl7.tokens import Parts, Segment, part

EXTENSIONS: Final = "http://hl7.org/fhir/StructureDefinition/"
CONTROL: Final = "http://terminology.hl7.org/CodeSystem/v2-0119"
TABLE_0203: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"

REFUSED: Final = frozenset({"UA", "UC", "UD", "UF", "UH", "UM", "UN", "UR", "UX"})
"""ORC-1: unable to do what was asked. The order stays as it was. Ours; the guide leaves them blank."""

UNCHANGED: Final = frozenset({"SC", "RE", "SN", "SR", "SS", "XO", "XX", "XR", "NA", "CN", "CP", "CH", "PA", "LI", "DE"})
"""ORC-1: results follow, a status is sent or asked for, an order is changed: it says no status itself. Ours."""


def _status_reason(context: Context, segment: Segment, number: int) -> Any:
    found = coded(context, segment, number, segment.first(number))
    return [{"url": EXTENSIONS + "request-statusReason", "valueCodeableConcept": found}] if found else None


def _callback(context: Context, segment: Segment, number: int) -> Any:
    url = EXTENSIONS + "servicerequest-order-callback-phone-number"
    return [{"url": url, "valueContactPoint": one} for one in telecoms(context, segment, number)] or None


def _event(context: Context, segment: Segment, number: int) -> Any:
    """Carry when and why the order was sent: the extension that R4 has for events of a request."""
    moment = context.moment(segment, number, segment.text(number))
    return moment.text if moment else None


def _security(context: Context, segment: Segment, number: int) -> Any:
    found = [mapped("ConfidentialityCode")(context, segment, number, parts) for parts in segment.repetitions(number)]
    codings = [coding for one in found if one for coding in one.get("coding", ()) if "system" in coding]
    return codings or None


def _text_reference(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    """Carry clinical information as a reference that only says it: R4 has no text for it."""
    text = part(parts, 9) or part(parts, 2) or part(parts, 1)
    return {"display": text} if text.strip() else None


def _priority(context: Context, segment: Segment, number: int) -> Any:
    return code_of(context, segment, number, "Priority", segment.text(number))


def _alternate(context: Context, segment: Segment, number: int, parts: Parts) -> Json | None:
    made = identifier(context, segment, number, parts)
    return {**made, "type": {"coding": [{"system": TABLE_0203, "code": "PLAC"}]}} if made else None


def _pair(number_name: str) -> Callable[[Context, Segment, int], Any]:
    """Return a converter of EIP to logical references to a ServiceRequest."""

    def convert(context: Context, segment: Segment, number: int) -> Any:
        found = pair(context, segment, number, segment.first(number), own=number_name)
        return [{"type": "ServiceRequest", "identifier": one} for one in found] or None

    return convert


ORC_TO_REQUEST: Final = (
    Row(8, "basedOn", _pair("orders"), "OBR-29 by analogy: the parent order"),
    Row(12, "requester", single(person), "ORC-12; ours: named, no Practitioner is made"),
    Row(14, "extension", _callback, "ORC-14"),
    Row(16, "extension", _status_reason, "ORC-16"),
    Row(28, "security", _security, "ORC-28, ConfidentialityCode"),
    Row(29, "locationCode", repeated(mapped("OrderType")), "ORC-29, OrderType"),
    Row(33, "identifier", repeated(_alternate), "ORC-33"),
    Row(38, "identifier", single(lambda c, s, n, p: entity(c, s, n, p, FILLER)), "ORC-38"),
)

OBR_TO_REQUEST: Final = (
    Row(4, "code", single(coded), "OBR-4"),
    Row(5, "priority", _priority, "OBR-5, ExtendedPriorityCodes; ours: table 0027"),
    Row(13, "supportingInfo", repeated(_text_reference), "OBR-13; ours: R4 has no text for it, a reference's display"),
    Row(16, "requester", single(person), "OBR-16, if ORC-12 is not valued"),
    Row(17, "extension", _callback, "OBR-17"),
    Row(29, "basedOn", _pair("orders"), "OBR-29"),
    Row(31, "reasonCode", repeated(coded), "OBR-31"),
    Row(46, "orderDetail", repeated(coded), "OBR-46"),
    Row(47, "orderDetail", repeated(coded), "OBR-47"),
    Row(53, "identifier", repeated(_alternate), "OBR-53"),
)

ORC_USED: Final = frozenset({1, 2, 3, 4, 5, 7, 9, 21, 22, 23, 24} | {row.field for row in ORC_TO_REQUEST})
OBR_USED: Final = frozenset({1, 2, 3, 6, 11, 27} | {row.field for row in OBR_TO_REQUEST})
_LISTS: Final = frozenset({"basedOn", "extension", "identifier", "orderDetail"})


def request(context: Context, orc: Segment | None, obr: Segment | None, numbers: dict[str, Json]) -> Json:
    """Return an order as a ServiceRequest without subject, identity, timing; its status may be missing.

    Args:
        context: Where problems are noted.
        orc: The common order, None where there is none.
        obr: What is ordered, None where there is none.
        numbers: What `obr.order` gave.
    """
    made: Json = {"resourceType": "ServiceRequest", "intent": _intent(context, obr)}
    if numbers:
        made["identifier"] = list(numbers.values())
    for segment, rows in ((orc, ORC_TO_REQUEST), (obr, OBR_TO_REQUEST)):
        if segment is None:
            continue
        for row, value in state(rows, context, segment):
            if value is not None and not (row.element in made and row.element in ("requester", "priority")):
                made[row.element] = [*made.get(row.element, []), *_listed(value)] if row.element in _LISTS else value
    if "basedOn" in made:
        made["basedOn"] = _distinct(made["basedOn"])
    if "code" not in made:
        made.pop("orderDetail", None)  # R4: a detail is of a code
    if security := made.pop("security", None):
        made["meta"] = {"security": security}
    if obr is not None and (moment := context.moment(obr, 6, obr.text(6))):
        made["occurrenceDateTime"] = moment.text
    if orc is not None:
        _lay_order(context, orc, made)
    return made


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _distinct(items: list[Json]) -> list[Json]:
    return [item for number, item in enumerate(items) if item not in items[:number]]


def _intent(context: Context, obr: Segment | None) -> str:
    """Return reflex-order for OBR-11 G; an add-on (A) is an order, which is noted: R4 has no code for it."""
    action = obr.text(11) if obr is not None else ""
    if action == "A" and obr is not None:
        context.note(obr, 11, "code-not-mapped", action)
    return "reflex-order" if action == "G" else "order"


def _lay_order(context: Context, orc: Segment, made: Json) -> None:
    """Add what takes more than one field of ORC: group, event, status, ordering facility."""
    if orc.is_valued(4):
        found = group_number(context, orc, 4)
        if found:
            made["requisition"] = found[0]
        if len(found) > 1 and not orc.is_valued(38):
            made["identifier"] = [*made.get("identifier", []), found[1]]
    if status := stated_status(context, orc):
        made["status"] = status
    moment = context.moment(orc, 9, orc.text(9))
    if moment and orc.text(1) == "NW":
        made["authoredOn"] = moment.text
    if code := code_text(orc.text(1)):
        event: list[Json] = [{"url": "value", "valueCodeableConcept": {"coding": [{"system": CONTROL, "code": code}]}}]
        if moment:
            event.append({"url": "date", "valueDateTime": moment.text})
        made["extension"] = [*made.get("extension", []), {"url": EXTENSIONS + "businessEvent", "extension": event}]
    if any(orc.is_valued(number) for number in (21, 22, 23, 24)):
        _lay_facility(context, orc, made)


def stated_status(context: Context, orc: Segment) -> str:
    """Return the status that an order has by ORC-5, else by ORC-1; "" where neither says one."""
    if orc.is_valued(5) and (found := code_of(context, orc, 5, "OrderStatus", orc.text(5))):
        return found
    control = orc.text(1)
    if control in REFUSED:
        context.note(orc, 1, "order-refused", control)
        return ""
    if not control or control in UNCHANGED:
        return ""
    target = table("OrderControlCode[ServiceRequest.status]").get(control)
    if target is None:
        context.note(orc, 1, "code-not-mapped", control)
    return target.code if target else ""


def _lay_facility(context: Context, orc: Segment, made: Json) -> None:
    """Put the requester in a contained PractitionerRole with the ordering facility (ORC-21 to 24)."""
    named = organization(context, orc, 21, orc.first(21)) if orc.is_valued(21) else None
    places = [found for parts in orc.repetitions(22) if (found := address(context, orc, 22, parts))]
    phones = telecoms(context, orc, 23)
    homes = [found for parts in orc.repetitions(24) if (found := address(context, orc, 24, parts))]
    requester = made.pop("requester", {})
    facility = contained.organization("facility", named, places, phones)
    inside = [facility] if facility else []
    who = requester
    if homes:
        inside.append(contained.practitioner("practitioner", requester, homes))
        who = {**requester, "reference": "#practitioner"}
    role, reference = contained.role("requester", who, facility)
    made |= {"contained": [*inside, role], "requester": reference}
