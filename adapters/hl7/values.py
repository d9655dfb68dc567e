"""OBX-5 by OBX-2 to the value of an Observation; nothing that was sent is dropped.

Each converter takes the OBX's repetitions of OBX-5 and gives elements of an Observation. What cannot be read
as its type says becomes a text, and that is noted. Source: HL7/v2-to-fhir at 8c9b414, segments/OBX[Observation],
rows of OBX-5; "ours" in the docstrings where it leaves a choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from adapters.hl7 import numbers
from adapters.hl7.codes import sources_of
from adapters.hl7.context import Context
from adapters.hl7.datatypes import Json, coded, missing_code
from adapters.hl7.demography import human_name
from adapters.hl7.maps import mdc
from adapters.hl7.maps.extensions import OWN
from adapters.hl7.times import read_clock
from adapters.hl7.tokens import NULL, Parts, Segment, part
from adapters.hl7.units import UCUM, ucum
from fhir_server import gate

ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
ABSENT_EXTENSION = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ABSENT_BY_STATUS = {"N": "not-asked", "X": "not-performed", "I": "temp-unknown", "O": "temp-unknown"}
"""OBX-11 -> why there is no value. Ours; the guide gives not-asked for N."""

NO_NUMBERS = {
    "nan": "not-a-number",
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity"), "positive-infinity"),
    **dict.fromkeys(("-inf", "-infinity"), "negative-infinity"),
}
"""What a device writes in an NM where it has no number -> why there is none. Ours."""

Converter: TypeAlias = Callable[[Context, Segment, Parts, Json], Json | None]
UNIT_OF_TEXT: Final = OWN + "unit"
"""The unit of a value that is a text, as it was sent: `<0.10` (ST) in mg/L, `1,5` (NM) in mmol/L."""

GIGA_PER_LITRE: Final = "10*9/L"
"""What `G/L` is: G is giga in the SI (gram is g), and French laboratories count cells so. A sender that writes gram
with a capital says so by a ConceptMap of its units; the log tells of each (`unit-ambiguous`)."""
_UNITS: Final = frozenset({UCUM})
_POWER = re.compile(r"[0-9]+/\w+")


def unit(context: Context, obx: Segment, number: int = 6) -> Json:
    """Return unit, system and code of OBX-6. Source: CWE[Quantity]; ours: known spellings become UCUM codes."""
    parts = obx.first(number)
    code, text, system = part(parts, 1).strip(), part(parts, 2).strip(), part(parts, 3)
    if code == "10" and _POWER.fullmatch(text):  # 10^9/L written without escaping its ^
        code, text = f"10*{text}", f"10^{text}"
    if not code and not text:
        return {}
    made: Json = {"unit": text or code}
    found: str | None
    if system == "MDC":
        found = mdc.UNITS.get(code) or (part(parts, 4).strip() if part(parts, 6) == "UCUM" else "")
        made = {"unit": found or text or code}
    else:
        found = code if system == "UCUM" and code else _own_unit(context, obx, code, system) or ucum(code) or ucum(text)
    if not found and "G/L" in (code, text):
        context.note(obx, number, "unit-ambiguous", "G/L")
        found = GIGA_PER_LITRE
    if found:
        return {**made, "system": UCUM, "code": found}
    context.note(obx, number, "unit-unknown", code or text)
    context.miss(obx, number, system, code or text)
    return made


def _units(context: Context, obx: Segment) -> Json:
    return context.remembered(obx, ("OBX-6", obx.raw(6)), partial(unit, context, obx))


def _own_unit(context: Context, obx: Segment, code: str, system: str) -> str:
    """Return the UCUM code that the sender's map gives its unit, "" where none does."""
    if not context.codes or not code:
        return ""
    sources = (f"{context.facility_system}:units", *sources_of("", system, context.facility))
    answer = context.codes.answer(context.facility, sources, code, to=_UNITS)
    if answer.rule:
        context.note(obx, 6, answer.rule, code)
    return answer.targets[0].target.code if answer.targets else ""


def _number(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    text = part(parts, 1)
    value = numbers.decimal(text)
    if value is not None:
        return {"valueQuantity": numbers.quantity(value, units)}
    if reason := NO_NUMBERS.get(text.strip().lower()):
        return {"dataAbsentReason": {"coding": [{"system": ABSENT, "code": reason}]}}
    found = numbers.numeric_text(text, units)
    context.note(obx, 5, "number-with-sign" if found else "number-malformed")
    return found


def _structured(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    leaves = (part(parts, 1), part(parts, 2), part(parts, 3), part(parts, 4))
    found = numbers.structured(leaves, units)
    if found is None:
        context.note(obx, 5, "number-malformed")
    return found


def _concept(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    found = coded(context, obx, 5, parts)
    return {"valueCodeableConcept": found} if found else None


def _moment(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    moment = context.moment(obx, 5, part(parts, 1))
    return {"valueDateTime": moment.text} if moment else None


def _clock(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    text = read_clock(part(parts, 1))
    if text is None:
        context.note(obx, 5, "time-malformed")
    return {"valueTime": text} if text else None


def _period(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    made = context.period(obx, 5, part(parts, 1), part(parts, 2))
    return {"valuePeriod": made} if made else None


def _range(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    low, high = numbers.decimal(part(parts, 1)), numbers.decimal(part(parts, 2))
    if low is not None and high is not None and low > high:
        return None
    made = {name: numbers.quantity(v, units) for name, v in (("low", low), ("high", high)) if v is not None}
    return {"valueRange": made} if made else None


def _value_range(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    return {"valueString": f"{part(parts, 1)}-{part(parts, 2)}"}


def _name(context: Context, obx: Segment, parts: Parts, units: Json) -> Json | None:
    made = human_name(context, obx, 5, parts) or {}
    words = [*made.get("prefix", []), *made.get("given", []), made.get("family", ""), *made.get("suffix", [])]
    return {"valueString": " ".join(w for w in words if w)} if made else None


def _samples(context: Context, obx: Segment) -> Json | None:
    """Return NA or MA as SampledData, None where an item is no number: rows are instants, columns dimensions.

    v2 says nothing of the time between rows, and R4 wants it said: the period is absent with its reason. Ours: the
    guide leaves both to its reader. Source: its map NA[SampledData].
    """
    rows = [[part(parts, n).strip() for n in range(1, len(parts) + 1)] for parts in obx.repetitions(5)]
    width = max(map(len, rows))
    items = [item for row in rows for item in [*row, *[""] * (width - len(row))]]
    read = [numbers.decimal(item) for item in items]
    if not any(items) or any(item and one is None for item, one in zip(items, read, strict=True)):
        return None
    context.note(obx, 5, "period-unknown")
    made: Json = {"origin": {"value": 0, **unit(context, obx)}, "dimensions": width}
    made["_period"] = {"extension": [{"url": ABSENT_EXTENSION, "valueCode": "unknown"}]}
    made["data"] = " ".join("E" if one is None else gate.write(one).decode() for one in read)
    return {"valueSampledData": made}


ARRAYS: Final = frozenset({"NA", "MA"})
CONVERTERS: Final[dict[str, Converter]] = {
    "NM": _number, "SN": _structured,
    "CWE": _concept, "CE": _concept, "CNE": _concept, "CF": _concept, "IS": _concept, "ID": _concept,
    "DT": _moment, "DTM": _moment, "TS": _moment, "TM": _clock,
    "DR": _period, "NR": _range, "VR": _value_range, "XPN": _name,
}  # fmt: skip
"""OBX-2 -> how a repetition of OBX-5 is read."""

LONGEST: Final = 1024 * 1024
"""Characters of a string. Source: https://hl7.org/fhir/R4/datatypes.html#string"""

TEXTS: Final = frozenset({"ST", "TX", "FT"})
ATTACHED: Final = frozenset({"ED", "RP"})


def readable(obx: Segment) -> str:
    """Return OBX-5 as text, delimiters of components written as spaces."""
    marks = obx.syntax.delimiters
    words = [text.replace(marks.component, " ").replace(marks.subcomponent, " ") for text in obx.texts(5)]
    return "\n".join(" ".join(word.split()) for word in words).strip()


def absent(obx: Segment) -> Json:
    """Return why there is no value: by OBX-11, with the words of OBX-32."""
    reason = ABSENT_BY_STATUS.get(obx.text(11), "unknown")
    made: Json = {"coding": [{"system": ABSENT, "code": reason}]}
    if text := obx.text(32, 9) or obx.text(32, 2) or obx.text(32):
        made["text"] = text
    return {"dataAbsentReason": made}


def value(context: Context, obx: Segment) -> Json:
    """Return what OBX-5 says, as elements of an Observation: value[x], component or dataAbsentReason.

    Repetitions of a text are lines of it; repetitions of another type become components with the same code. What is
    no number stays a text, and its unit (OBX-6) an extension of that text: ours, the guide has no place for it.
    """
    raw = obx.raw(5)
    if not raw or raw == NULL:
        return absent(obx)
    found = _value(context, obx)
    if "valueString" in found and obx.is_valued(6) and (named := (obx.text(6, 2) or obx.text(6)).strip()):
        found["_valueString"] = {"extension": [{"url": UNIT_OF_TEXT, "valueString": named}]}
    return found


def _value(context: Context, obx: Segment) -> Json:
    kind = obx.text(2)
    converter = CONVERTERS.get(kind)
    if kind in ARRAYS and (samples := _samples(context, obx)):
        return samples
    if converter is None:
        return _text(context, obx, kind)
    units = _units(context, obx) if kind in ("NM", "SN", "NR") else {}
    found = [(converter(context, obx, parts, units)) for parts in obx.repetitions(5)]
    made = [v for v in found if v]
    if len(made) < len(found) or not made:
        return _text(context, obx, kind)
    if len(made) == 1:
        return made[0]
    code = coded(context, obx, 3, obx.first(3)) or missing_code()
    return {"component": [{"code": code, **v} for v in made]}


def _text(context: Context, obx: Segment, kind: str) -> Json:
    if kind not in TEXTS and kind not in CONVERTERS:
        context.note(obx, 2, "value-type-as-text", kind)
    text = "\n".join(obx.texts(5)) if kind in TEXTS else readable(obx)
    return text_value(context, obx, text) if text.strip() else absent(obx)


def text_value(context: Context, obx: Segment, text: str) -> Json:
    """Return a text as value[x]; one that is longer than a string of FHIR is told, and left in the message."""
    if len(text) <= LONGEST:
        return {"valueString": text}
    context.note(obx, 5, "text-too-long")
    return {"dataAbsentReason": {"coding": [{"system": ABSENT, "code": "unsupported"}]}}
