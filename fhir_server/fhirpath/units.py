"""Units as far as FHIRPath needs them: which can be compared, and by what factor.

A subset of UCUM, https://ucum.org/ucum (version 2.1): the base units, the units that clinical R4 data use,
metric prefixes, products, quotients, powers and annotations. Units with an offset or a logarithm (Cel, [degF],
pH, dB) are kept as dimensions of their own, so they compare with themselves only.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

MAX_UNIT = 100  # characters
MAX_POWER = 99


class Measure(NamedTuple):
    """What a unit comes to in base units."""

    factor: Fraction
    dimension: tuple[tuple[str, int], ...]  # (base unit, power), sorted; empty for plain numbers


_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_BASE = ("m", "g", "s", "K", "C", "cd", "rad", "Cel", "[degF]", "[pH]", "B", "[IU]", "[iU]", "[arb'U]")
# unit: (factor, in terms of, whether it takes metric prefixes); UCUM tables 4 to 9
_DERIVED = {
    "10*": ("10", "", False),
    "10^": ("10", "", False),
    "%": ("1/100", "", False),
    "[ppth]": ("1/1000", "", False),
    "[ppm]": ("1/1000000", "", False),
    "[ppb]": ("1/1000000000", "", False),
    "mol": ("602213670000000000000000", "", True),
    "eq": ("1", "mol", True),
    "osm": ("1", "mol", True),
    "kat": ("1", "mol/s", True),
    "U": ("1/60000000", "mol/s", True),
    "L": ("1/1000", "m3", True),
    "l": ("1/1000", "m3", True),
    "ar": ("100", "m2", True),
    "min": ("60", "s", False),
    "h": ("3600", "s", False),
    "d": ("86400", "s", False),
    "wk": ("604800", "s", False),
    "a_j": ("31557600", "s", False),
    "a": ("31557600", "s", False),
    "mo": ("2629800", "s", False),
    "Hz": ("1", "s-1", True),
    "N": ("1000", "g.m/s2", True),
    "Pa": ("1", "N/m2", True),
    "bar": ("100000", "Pa", True),
    "atm": ("101325", "Pa", False),
    "m[Hg]": ("133322", "Pa", True),
    "m[H2O]": ("9806650/1000", "Pa", True),
    "J": ("1", "N.m", True),
    "W": ("1", "J/s", True),
    "cal": ("4184/1000", "J", True),
    "[Cal]": ("4184", "J", False),
    "A": ("1", "C/s", True),
    "V": ("1", "J/C", True),
    "Ohm": ("1", "V/A", True),
    "t": ("1000000", "g", True),
    "[lb_av]": ("45359237/100000", "g", False),
    "[oz_av]": ("45359237/1600000", "g", False),
    "[stone_av]": ("14/1", "[lb_av]", False),
    "[in_i]": ("254/10000", "m", False),
    "[ft_i]": ("3048/10000", "m", False),
    "[yd_i]": ("9144/10000", "m", False),
    "[mi_i]": ("1609344/1000", "m", False),
    "[in_us]": ("100/3937", "m", False),
    "[gal_us]": ("231", "[in_i]3", False),
    "[foz_us]": ("231/128", "[in_i]3", False),
    "deg": ("31415926535897932384626433832795/1800000000000000000000000000000000", "rad", False),
    "Gy": ("1", "J/kg", True),
    "Sv": ("1", "J/kg", True),
    "Bq": ("1", "s-1", True),
}
_METRIC_BASE = frozenset({"m", "g", "s", "K", "C", "cd", "rad", "[IU]", "[iU]", "B", "Cel"})
_PART = re.compile(r"(?P<unit>10[*^]|[A-Za-z%'\"_]*(?:\[[^\]]*\][A-Za-z_]*)*)(?P<power>[+-]?[0-9]+)?(?:\{[^}]*\})?")
_NUMBER = re.compile(r"[0-9]+")
ONE = Measure(Fraction(1), ())


def _combine(left: Measure, right: Measure, sign: int) -> Measure:
    powers = dict(left.dimension)
    for base, power in right.dimension:
        powers[base] = powers.get(base, 0) + sign * power
    dimension = tuple(sorted((base, power) for base, power in powers.items() if power))
    return Measure(left.factor * right.factor**sign, dimension)


def _power(measure: Measure, power: int) -> Measure | None:
    if abs(power) > MAX_POWER:
        return None
    return Measure(measure.factor**power, tuple((base, p * power) for base, p in measure.dimension if p * power))


@lru_cache(maxsize=512)
def _symbol(text: str) -> Measure | None:
    """A unit without power: as it is, or with a prefix."""
    if text in _BASE:
        return Measure(Fraction(1), ((text, 1),))
    if text in _DERIVED:
        factor, terms, _ = _DERIVED[text]
        inner = measure(terms) if terms else ONE
        return inner and Measure(Fraction(factor) * inner.factor, inner.dimension)
    for length in (2, 1):
        prefix, rest = text[:length], text[length:]
        metric = rest in _METRIC_BASE or (rest in _DERIVED and _DERIVED[rest][2])
        if prefix in _PREFIXES and metric and (inner := _symbol(rest)):
            return Measure(inner.factor * Fraction(10) ** _PREFIXES[prefix], inner.dimension)
    return None


def _component(text: str) -> Measure | None:
    if text.startswith("{") and text.endswith("}"):
        return ONE
    if _NUMBER.fullmatch(text):
        return Measure(Fraction(int(text)), ()) if int(text) else None
    match = _PART.fullmatch(text)
    if match is None or not match["unit"]:
        return None
    found = _symbol(match["unit"])
    return _power(found, int(match["power"])) if found and match["power"] else found


@lru_cache(maxsize=2048)
def measure(unit: str) -> Measure | None:
    """Return what a UCUM unit comes to; None for one that is not known here."""
    if unit == "":
        return ONE
    if len(unit) > MAX_UNIT or "(" in unit:
        return None
    total: Measure = ONE
    sign = 1
    parts = re.split(r"([./])(?![^{]*\})(?![^\[]*\])", unit)
    if len(parts) > 1 and parts[0] == "" and parts[1] == "/":
        parts[0] = "1"
    for part in parts:
        if part in (".", "/"):
            sign = -1 if part == "/" else 1
            continue
        found = _component(part)
        if found is None:
            return None
        total = _combine(total, found, sign)
    return total
