"""Units: what senders write, as UCUM, and exact conversion between those of one dimension.

Factors are the definitions of UCUM (https://ucum.org/ucum): `[lb_av]` 453.59237 g, `[oz_av]` a sixteenth and
`[stone_av]` fourteen of it, `[in_i]` 2.54 cm, `[ft_i]` 12, `[yd_i]` 36 and `[mi_i]` 63,360 of it,
`m[Hg]` 133.3220 kPa, `[degF]` 5/9 K from 459.67, `cal` 4.184 J. Nothing is converted between dimensions but glucose,
whose molar mass gives 18.016 mg/dL for 1 mmol/L.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple


class Unit(NamedTuple):
    """A UCUM unit: value x factor + offset is the value in its dimension's base."""

    code: str
    dimension: str
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)


GLUCOSE_MG_DL_PER_MMOL_L: Final = Fraction("18.016")  # molar mass of glucose, C6H12O6

_UNITS: Final = (
    Unit("/min", "rate"),
    Unit("Hz", "rate", Fraction(60)),
    Unit("%", "fraction"),
    Unit("1", "fraction", Fraction(100)),
    Unit("{INR}", "INR"),
    Unit("Cel", "temperature"),
    Unit("K", "temperature", offset=Fraction("-273.15")),
    Unit("[degF]", "temperature", Fraction(5, 9), Fraction(-160, 9)),
    Unit("mm[Hg]", "pressure"),
    Unit("kPa", "pressure", Fraction(1) / Fraction("0.1333220")),
    Unit("cm[Hg]", "pressure", Fraction(10)),
    Unit("hPa", "pressure", Fraction(1) / Fraction("1.333220")),
    Unit("Pa", "pressure", Fraction(1) / Fraction("133.3220")),
    Unit("kg", "mass"),
    Unit("g", "mass", Fraction(1, 1000)),
    Unit("[lb_av]", "mass", Fraction("0.45359237")),
    Unit("[oz_av]", "mass", Fraction("0.45359237") / 16),
    Unit("[stone_av]", "mass", Fraction("0.45359237") * 14),
    Unit("cm", "length"),
    Unit("m", "length", Fraction(100)),
    Unit("mm", "length", Fraction(1, 10)),
    Unit("[in_i]", "length", Fraction("2.54")),
    Unit("[ft_i]", "length", Fraction("30.48")),
    Unit("[yd_i]", "length", Fraction("91.44")),
    Unit("[mi_i]", "length", Fraction("160934.4")),
    Unit("kg/m2", "body-mass-index"),
    Unit("mg/dL", "mass-concentration"),
    Unit("g/L", "mass-concentration", Fraction(100)),
    Unit("mmol/L", "molar-concentration"),
    Unit("L/min", "flow"),
    Unit("L/s", "flow", Fraction(60)),
    Unit("L", "volume"),
    Unit("mL", "volume", Fraction(1, 1000)),
    Unit("mmol/mol", "molar-fraction"),
    Unit("ms", "time", Fraction(1, 1000)),
    Unit("s", "time"),
    Unit("min", "time", Fraction(60)),
    Unit("h", "time", Fraction(3600)),
    Unit("d", "time", Fraction(86_400)),
    Unit("km", "length", Fraction(100_000)),
    Unit("{steps}", "steps"),
    Unit("{dose}", "dose"),
    Unit("J", "energy", Fraction(1, 4184)),
    Unit("kJ", "energy", Fraction(1000, 4184)),
    Unit("cal", "energy", Fraction(1, 1000)),
    Unit("kcal", "energy"),
    Unit("W", "power"),
    Unit("m/s", "speed"),
    Unit("mV", "voltage"),
    Unit("uV", "voltage", Fraction(1, 1000)),
    Unit("V", "voltage", Fraction(1000)),
    Unit("{steps}/min", "cadence"),
    Unit("[iU]", "arbitrary"),
    Unit("mg", "mass", Fraction(1, 1_000_000)),
)
UNITS: Final = MappingProxyType({unit.code: unit for unit in _UNITS})

_SYNONYMS: Final = {
    "/min": (
        *("1/min", "bpm", "BPM", "/mn", "min-1", "cycles/min", "{breaths}/min", "breaths/min", "resp/min"),
        *("{beats}/min", "{Beats}/min", "{beat}/min", "beats/min", "beat/min", "bat/min", "battements/min"),
        *("{breath}/min", "beats/minute", "breaths/minute", "count/min"),
    ),
    "Hz": ("1/s", "/s"),
    "%": ("percent", "pct", "% SpO2", "%{O2}"),
    "1": ("{ratio}", "ratio"),
    "{INR}": ("INR", "[INR]"),
    "Cel": ("°C", "degC", "ºC", "Celsius", "celsius"),
    "[degF]": ("°F", "degF", "ºF", "Fahrenheit", "fahrenheit"),
    "mm[Hg]": ("mmHg", "mm Hg", "mmhg", "MMHG"),
    "kPa": ("kpa", "KPA"),
    "kg": ("Kg", "KG", "kgs"),
    "[lb_av]": ("lb", "lbs", "[lbs]", "pound", "pounds"),
    "[oz_av]": ("oz", "ounce", "ounces"),
    "[stone_av]": ("stone",),
    "cm": ("CM",),
    "[in_i]": ("in", "inch", "inches"),
    "[ft_i]": ("ft", "foot", "feet"),
    "kg/m2": ("kg/m^2", "kg/m²", "kg.m-2"),
    "mg/dL": ("mg/dl", "MG/DL"),
    "mmol/L": ("mmol/l", "mM", "MMOL/L"),
    "L/min": ("l/min", "L/mn", "LPM"),
    "L/s": ("l/s",),
    "L": ("l", "litre", "liter"),
    "mL": ("ml",),
    "cm[Hg]": ("cmHg", "cm Hg"),
    "g/L": ("g/l", "G/L"),
    "ms": ("msec",),
    "s": ("sec",),
    "min": ("mn", "minutes", "minute"),
    "h": ("hr", "hours", "hour", "heures"),
    "d": ("day", "days"),
    "{steps}": ("steps", "step", "{step}", "pas"),
    "{dose}": ("dose", "doses"),
    "kcal": ("Cal", "kcals"),
    "uV": ("µV", "μV"),
}

MDC_UNITS: Final = MappingProxyType(
    {
        "262656": "1",
        "262688": "%",
        "263424": "m",
        "263441": "cm",
        "263488": "[ft_i]",
        "263520": "[in_i]",
        "263744": "L",
        "263762": "mL",
        "263872": "g",
        "263875": "kg",
        "263904": "[lb_av]",
        "264096": "kg/m2",
        "264274": "mg/dL",
        "264320": "s",
        "264338": "ms",
        "264352": "min",
        "264384": "h",
        "264864": "/min",
        "264928": "/min",
        "264960": "m/s",
        "265184": "L/s",
        "265216": "L/min",
        "265987": "kPa",
        "266016": "mm[Hg]",
        "266112": "J",
        "266176": "W",
        "266418": "mV",
        "266419": "uV",
        "266560": "[degF]",
        "266866": "mmol/L",
        "267616": "[iU]",
        "268192": "Cel",
        "268752": "{INR}",
        "268800": "{steps}",
        "268896": "{steps}/min",
        "268928": "cal",
        "270528": "kcal",
    }
)
"""Unit codes of ISO/IEEE 11073-10101 as UCUM; they are numbers, so they cannot be taken for another unit."""

_BY_TEXT: Final = MappingProxyType(
    {text: UNITS[code] for code, texts in _SYNONYMS.items() for text in texts}
    | {text: UNITS[code] for text, code in MDC_UNITS.items()}
    | dict(UNITS)
)


def unit_of(text: str) -> Unit | None:
    """Return the unit that a sender's text means, None where it is not known: never a guess."""
    return _BY_TEXT.get(text.strip())


def is_convertible(given: Unit, wanted: Unit, *, glucose: bool = False) -> bool:
    """Whether values of `given` can be written in `wanted`; `glucose` opens the way between mass and moles."""
    if given.dimension == wanted.dimension:
        return True
    return glucose and {given.dimension, wanted.dimension} == {"mass-concentration", "molar-concentration"}


def convert(value: Decimal, given: Unit, wanted: Unit, *, decimals: int) -> Decimal:
    """Write a value in another unit.

    Args:
        value: In `given`.
        given: The unit it has.
        wanted: The unit to write it in; `is_convertible` from `given`.
        decimals: Digits after the point that the result keeps, half to even.

    Returns:
        The value itself, digit for digit, where both units are the same size; else the exact result, rounded once.
    """
    if (given.factor, given.offset, given.dimension) == (wanted.factor, wanted.offset, wanted.dimension):
        return value
    base = Fraction(value) * given.factor + given.offset
    if given.dimension != wanted.dimension:
        into_moles = wanted.dimension == "molar-concentration"
        base = base / GLUCOSE_MG_DL_PER_MMOL_L if into_moles else base * GLUCOSE_MG_DL_PER_MMOL_L
    return _rounded((base - wanted.offset) / wanted.factor, decimals)


def _rounded(exact: Fraction, decimals: int) -> Decimal:
    """Round a fraction to a decimal, half to even, without rounding twice."""
    scaled = round(exact * 10**decimals)
    with localcontext() as context:
        context.prec, context.rounding = max(28, len(str(abs(scaled))) + 2), ROUND_HALF_EVEN
        return Decimal(scaled).scaleb(-decimals)
