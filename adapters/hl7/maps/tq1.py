"""TQ1, and the older TQ (ORC-7, OBR-27), to the timing and priority of a ServiceRequest.

Guide: HL7/v2-to-fhir at 8c9b414, segments/TQ1[ServiceRequest], datatypes/TQ[ServiceRequest], RPT[Timing]. Ours: where
TQ1 gives nothing but a start (and an end), it is a time or a Period and no Timing; a duration joins a start to a
Period by `boundsDuration`, which R4's Timing has beside it only in place of the Period.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from adapters.hl7 import numbers
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, code_of
from adapters.hl7.maps.spm import quantity
from adapters.hl7.maps.tables import table
from adapters.hl7.times import read_clock
from adapters.hl7.tokens import Parts, Segment, part
from adapters.hl7.units import UCUM

USED: Final = frozenset({1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14})
UNITS: Final = {
    "s": "s", "sec": "s", "min": "min", "mn": "min", "m": "min", "h": "h", "hr": "h", "hour": "h", "d": "d", "day": "d",
    "wk": "wk", "w": "wk", "mo": "mo", "a": "a", "y": "a", "year": "a", "days": "d", "hours": "h",
}  # fmt: skip
"""Spellings of a unit of time -> R4's UnitsOfTime. Ours."""
LETTERS: Final = {"S": "s", "M": "min", "H": "h", "D": "d", "W": "wk", "L": "mo"}
"""HL7 table 0335: Q<integer><letter> is every so many seconds, minutes, hours, days, weeks, months."""
_EVERY: Final = re.compile(r"Q(\d{1,4})([SMHDWL])", re.ASCII)
_DURATION: Final = re.compile(r"([SMHDWL])(\d{1,5})", re.ASCII)


def timing(context: Context, tq1: Segment) -> Json:
    """Return what a TQ1 says, as elements of a ServiceRequest: priority, occurrence[x], quantity, asNeeded, note."""
    context.take(tq1, USED)
    made: Json = {}
    if tq1.is_valued(9) and (code := code_of(context, tq1, 9, "ExtendedPriorityCodes", tq1.text(9))):
        made["priority"] = code
    if tq1.is_valued(2) and (amount := quantity(context, tq1, 2, tq1.first(2))):
        made["quantityQuantity"] = amount
    texts = [text for number in (10, 11) for text in tq1.texts(number) if text.strip()]
    if texts:
        made["note"] = [{"text": text} for text in texts]
    repeat: Json = {}
    code_: Json = {}
    if tq1.is_valued(3):
        code_, repeat = _pattern(context, tq1, 3, tq1.first(3))
    if times := [clock for parts in tq1.repetitions(4) if (clock := read_clock(part(parts, 1)))]:
        repeat["timeOfDay"] = times
    if tq1.is_valued(13) and (duration := _duration(tq1.first(13))):
        repeat["duration"], repeat["durationUnit"] = duration["value"], duration["code"]
    if (count := _count(tq1.text(14))) is not None:
        repeat["count"] = count
    bounds = context.period(tq1, 7, tq1.text(7), tq1.text(8))
    return made | _occurrence(code_, repeat, bounds, _duration(tq1.first(6)) if tq1.is_valued(6) else None)


def old_timing(context: Context, segment: Segment, number: int) -> Json:
    """Return what a field of type TQ says. Source: TQ[ServiceRequest]."""
    parts = segment.first(number)
    made: Json = {}
    if code := code_of(context, segment, number, "ExtendedPriorityCodes", part(parts, 6)):
        made["priority"] = code
    amount = quantity(context, segment, number, [[leaf] for leaf in parts[0]])
    if amount and amount["value"] != 1:
        made["quantityQuantity"] = amount
    if text := part(parts, 8):
        made["note"] = [{"text": text}]
    code_, repeat = _pattern(context, segment, number, [parts[1]]) if len(parts) > 1 and part(parts, 2) else ({}, {})
    if (count := _count(part(parts, 12))) is not None:
        repeat["count"] = count
    found = _DURATION.fullmatch(part(parts, 3))
    length = {"value": Decimal(found[2]), "code": LETTERS[found[1]]} if found else None
    return made | _occurrence(code_, repeat, context.period(segment, number, part(parts, 4), part(parts, 5)), length)


def _occurrence(code: Json, repeat: Json, bounds: Json, duration: Json | None) -> Json:
    """Return occurrence[x]: a Timing where anything repeats, else a time or a Period."""
    if not code and not repeat:
        if "end" in bounds:
            return {"occurrencePeriod": bounds}
        if bounds and duration is None:
            return {"occurrenceDateTime": bounds["start"]}
    if bounds:
        repeat["boundsPeriod"] = bounds
    elif duration:
        repeat["boundsDuration"] = {**duration, "unit": duration["code"], "system": UCUM}
    made: Json = {**({"repeat": repeat} if repeat else {}), **({"code": code} if code else {})}
    return {"occurrenceTiming": made} if made else {}


def _pattern(context: Context, segment: Segment, number: int, parts: Parts) -> tuple[Json, Json]:
    """Return code and repeat of a repeat pattern (RPT.1, RPT.5, RPT.6; RI.1)."""
    text = part(parts, 1)
    repeat: Json = {}
    every = numbers.decimal(part(parts, 5))
    unit = UNITS.get(part(parts, 6).lower())
    if found := _EVERY.fullmatch(text):
        repeat = {"frequency": 1, "period": Decimal(int(found[1]) or 1), "periodUnit": LETTERS[found[2]]}
    elif every is not None and every > 0 and unit:
        repeat = {"frequency": 1, "period": every, "periodUnit": unit}
    if not text:
        return {}, repeat
    target = table("RepeatPattern").get(text)
    if target is None:
        if not found:
            context.note(segment, number, "code-not-mapped", text)
        return {"text": text}, repeat
    coding = {k: v for k, v in (("system", target.system), ("code", target.code), ("display", target.display)) if v}
    return {"coding": [coding]}, repeat


def _duration(parts: Parts) -> Json | None:
    value, unit = numbers.decimal(part(parts, 1)), UNITS.get(part(parts, 2).lower())
    return {"value": value, "code": unit} if value is not None and value > 0 and unit else None


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 10 else None
