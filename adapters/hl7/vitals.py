"""Vital signs in the units that R4 and the rules of triage read them in; what was sent stays beside.

A pressure in kPa or a temperature in degrees Fahrenheit is a vital sign whose number no rule would judge: rules never
convert. Nothing is converted but by the definitions of UCUM (https://ucum.org/ucum): `[lb_av]` 453.59237 g, `[in_i]`
2.54 cm, `m[Hg]` 133.3220 kPa, `[degF]` 5/9 K from 459.67. Source of the units:
https://hl7.org/fhir/R4/observation-vitalsigns.html
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from adapters.hl7.datatypes import Json
from adapters.hl7.units import UCUM

TRANSLATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-PQ-translation"


class Scale(NamedTuple):
    """A unit that a vital sign is written in: value x factor + offset is the value in the vital sign's own unit."""

    factor: Fraction
    offset: Fraction = Fraction(0)


class Own(NamedTuple):
    """The unit of a vital sign, the digits after the point that a converted value keeps, and what converts to it."""

    code: str
    decimals: int
    others: dict[str, Scale]


_PRESSURE: Final = Own("mm[Hg]", 1, {"kPa": Scale(1 / Fraction("0.1333220"))})
_TEMPERATURE: Final = Own(
    "Cel", 2, {"[degF]": Scale(Fraction(5, 9), Fraction(-160, 9)), "K": Scale(Fraction(1), Fraction("-273.15"))}
)
_WEIGHT: Final = Own("kg", 3, {"g": Scale(Fraction(1, 1000)), "[lb_av]": Scale(Fraction("0.45359237"))})
_HEIGHT: Final = Own(
    "cm", 1, {"m": Scale(Fraction(100)), "mm": Scale(Fraction(1, 10)), "[in_i]": Scale(Fraction("2.54"))}
)

OWN: Final = {
    **dict.fromkeys(("8480-6", "8462-4", "8478-0"), _PRESSURE),
    **dict.fromkeys(("8310-5", "8328-7", "8331-1", "8332-9", "8333-7"), _TEMPERATURE),
    "29463-7": _WEIGHT,
    "8302-2": _HEIGHT,
}
"""LOINC code -> its unit; percentages have no second one."""
RATES: Final = frozenset({"8867-4", "9279-1"})
RATE: Final = "/min"
_NOTE: Final = re.compile(r"\{[^{}]*\}")
"""An annotation of UCUM, which changes no unit: `{beat}/min` is `/min`, the code that R4 asks for."""


def in_own_unit(loinc: str, found: Json) -> Json:
    """Return a value[x] in the unit of the vital sign, with what was sent as its translation; else as it is."""
    sent, own = found.get("valueQuantity"), OWN.get(loinc)
    if sent and loinc in RATES and _NOTE.sub("", sent.get("code", "")) in (RATE, "1/min"):
        return found if sent["code"] == RATE else {**found, "valueQuantity": {**sent, "code": RATE}}
    if not sent or own is None or (scale := own.others.get(sent.get("code", ""))) is None:
        return found
    kept = {name: value for name, value in sent.items() if name != "comparator"}
    made: dict[str, Any] = {**sent, "value": _rounded(sent["value"], scale, own.decimals)}
    made |= {"unit": own.code, "system": UCUM, "code": own.code}
    made["extension"] = [{"url": TRANSLATION, "valueQuantity": kept}]
    return {**found, "valueQuantity": made}


def _rounded(value: Decimal, scale: Scale, decimals: int) -> Decimal:
    """Return the exact value, rounded once, half to even."""
    scaled = round((Fraction(value) * scale.factor + scale.offset) * 10**decimals)
    sign, digits, _ = Decimal(scaled).as_tuple()
    return Decimal((sign, digits, -decimals))
