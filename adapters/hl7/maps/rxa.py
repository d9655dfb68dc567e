"""ORC, RXA and RXR to Immunization.

Guide: HL7/v2-to-fhir at 8c9b414, segments/RXA[Immunization], RXR[Immunization], ORC[Immunization]; "ours" where it
leaves a choice.
"""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7 import numbers, values
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, mapped, missing_code
from adapters.hl7.demography import coded_organization, person, place
from adapters.hl7.maps import spm as spm_map
from adapters.hl7.maps.rows import Row, repeated, single, state
from adapters.hl7.tokens import Segment

FUNCTION: Final = "http://terminology.hl7.org/CodeSystem/v2-0443"

UNKNOWN_DOSE: Final = "999"
"""RXA-6 of a dose that is not known. Usual in vaccination messages; not checked against a guide."""

NEW_RECORD: Final = "00"
"""RXA-9 of who vaccinated themselves; any other code (NIP001) says that the record is of someone else's."""

STATUS: Final = {"CP": "completed", "PA": "completed", "RE": "not-done", "NA": "not-done"}
"""RXA-20 (table 0322) -> status. Ours, as far as the guide's table leaves it blank."""


def _date(context: Context, segment: Segment, number: int) -> Any:
    moment = context.moment(segment, number, segment.text(number))
    return moment.date if moment else None


def _performer(function: str) -> Any:
    concept = {"coding": [{"system": FUNCTION, "code": function}]}

    def convert(context: Context, segment: Segment, number: int) -> Any:
        found = [person(context, segment, number, parts) for parts in segment.repetitions(number)]
        return [{"function": concept, "actor": one} for one in found if one] or None

    return convert


def _place_of_2_5(context: Context, segment: Segment, number: int) -> Any:
    """Convert RXA-11, which is LA2 before 2.7: its facility is the fourth component, as in PL."""
    found = place(context, segment, number, segment.first(number))
    return {"type": "Location", **found} if found else None


RXA_TO_IMMUNIZATION: Final = (
    Row(5, "vaccineCode", single(coded), "RXA-5"),
    Row(10, "performer", _performer("AP"), "RXA-10; ours: named, no Practitioner is made"),
    Row(11, "location", _place_of_2_5, "ours: where it was given, before RXA-27 was added"),
    Row(15, "lotNumber", lambda c, s, n: ", ".join(s.texts(n)) or None, "RXA-15; ours: several are listed"),
    Row(16, "expirationDate", _date, "RXA-16"),
    Row(17, "manufacturer", single(coded_organization), "RXA-17; ours: named, no Organization is made"),
    Row(18, "statusReason", single(coded), "RXA-18"),
    Row(19, "reasonCode", repeated(coded), "RXA-19"),
    Row(27, "location", _place_of_2_5, "RXA-27; ours: named, no Location is made"),
)

ORC_TO_IMMUNIZATION: Final = (
    Row(4, "identifier", lambda c, s, n: spm_map.pair(c, s, n, s.first(n), own="groups") or None, "ORC-4"),
    Row(12, "performer", _performer("OP"), "ORC-12; ours: named, no Practitioner is made"),
)

RXR_TO_IMMUNIZATION: Final = (
    Row(1, "route", single(mapped("RouteOfAdministration")), "RXR-1, RouteOfAdministration"),
    Row(2, "site", single(mapped("BodyParts")), "RXR-2, BodyParts"),
)

USED: Final = frozenset({1, 2, 3, 4, 6, 7, 9, 20, 21, 22} | {row.field for row in RXA_TO_IMMUNIZATION})
ORC_USED: Final = frozenset({1, 2, 3, 9} | {row.field for row in ORC_TO_IMMUNIZATION})
RXR_USED: Final = frozenset({1, 2})


def immunization(
    context: Context, orc: Segment | None, rxa: Segment, rxr: Segment | None, known: dict[str, Json]
) -> Json:
    """Return one vaccination without its patient and identity.

    Args:
        context: Where problems are noted and segments taken.
        orc: The common order, None where there is none.
        rxa: The vaccination.
        rxr: Route and site, None where there is none.
        known: The order's numbers.
    """
    made: Json = {"resourceType": "Immunization", "status": _status(context, rxa)}
    if known:
        made["identifier"] = list(known.values())
    groups = (
        (rxa, RXA_TO_IMMUNIZATION, USED),
        (orc, ORC_TO_IMMUNIZATION, ORC_USED),
        (rxr, RXR_TO_IMMUNIZATION, RXR_USED),
    )
    for segment, rows, used in groups:
        if segment is None:
            continue
        context.take(segment, used)
        for row, value in state(rows, context, segment):
            if value is not None:
                made[row.element] = [*made.get(row.element, []), *value] if isinstance(value, list) else value
    if "vaccineCode" not in made:
        context.note(rxa, 5, "code-missing")
        made["vaccineCode"] = missing_code()
    return made | _moments(context, orc, rxa) | _dose(context, rxa, made["status"]) | _origin(context, rxa)


def _status(context: Context, rxa: Segment) -> str:
    if rxa.text(21) == "D":
        return "entered-in-error"
    sent = rxa.text(20)
    if sent and sent not in STATUS:
        context.note(rxa, 20, "code-not-mapped", sent)
    return STATUS.get(sent, "completed")


def _moments(context: Context, orc: Segment | None, rxa: Segment) -> Json:
    moment = context.moment(rxa, 3, rxa.text(3))
    made: Json = {"occurrenceDateTime": moment.text} if moment else {"occurrenceString": "unknown"}
    entered = context.moment(rxa, 22, rxa.text(22)) if rxa.text(21) in ("A", "") else None
    if entered is None and orc is not None:
        entered = context.moment(orc, 9, orc.text(9))
    return {**made, "recorded": entered.text} if entered else made


def _dose(context: Context, rxa: Segment, status: str) -> Json:
    """Return the dose; one that is not known, and the zero of one that was not given, are none."""
    text = rxa.text(6)
    if not text or text == UNKNOWN_DOSE:
        return {}
    value = numbers.decimal(text)
    if value is None:
        context.note(rxa, 6, "number-malformed")
        return {}
    if value == 0 and status == "not-done":
        return {}
    return {"doseQuantity": numbers.quantity(value, values.unit(context, rxa, 7))}


def _origin(context: Context, rxa: Segment) -> Json:
    """Return whether the sender gave the vaccine itself, and where else the record is from (RXA-9)."""
    if not rxa.is_valued(9):
        return {}
    if rxa.text(9) == NEW_RECORD:
        return {"primarySource": True}
    found = coded(context, rxa, 9, rxa.first(9))
    if found is None or "coding" not in found:
        return {"note": [{"text": found["text"]}]} if found else {}
    return {"primarySource": False, "reportOrigin": found}
