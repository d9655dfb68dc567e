"""What units come to in base units, and exact conversion between them.

UCUM has seven base units: m, s, g, rad, K, C, cd. A mole is a number (6.02214076 x 10^23), so mmol/L compares
with /L, and never with mg/dL: that takes a molar mass. Every arbitrary unit ([iU], [arb'U] ...) is a dimension
of its own, "not commensurable with any other unit". Of the special units those with an affine scale are
converted, Cel, [degF] and [degRe], prefixes included; they stand alone, never in a product. The logarithmic and
trigonometric ones (pH, B, Np ...) have no exact conversion: they compare with themselves only.
Source: https://ucum.org/ucum, sections 4 and 21 to 24
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from fhir_server.ucum.atoms import table
from fhir_server.ucum.expression import MAX_LENGTH, Expression, Power, parse

UCUM: Final = "http://unitsofmeasure.org"
"""The `system` of a FHIR Quantity whose code is UCUM."""

Dimension: TypeAlias = tuple[tuple[str, int], ...]
"""(base unit, power), sorted, no power 0; empty for a number."""

_MOST_BITS: Final = 8192  # of a factor: 10^2466; no unit comes near
_CACHE: Final = 4096


class Measure(NamedTuple):
    """What a unit on a ratio scale comes to: value x factor is the value in base units."""

    factor: Fraction  # above zero
    dimension: Dimension


class Line(NamedTuple):
    """A conversion: value x factor + offset. It rises, so it keeps the order of values."""

    factor: Fraction  # above zero
    offset: Fraction


class Scale(NamedTuple):
    """What any unit comes to: value x factor + offset is the value in base units."""

    factor: Fraction  # above zero
    offset: Fraction
    dimension: Dimension


ONE: Final = Measure(Fraction(1), ())
_SAME: Final = Line(Fraction(1), Fraction(0))
# Where the zero of a special unit lies, in K: 0 Cel is 273.15 K, 0 [degF] is 459.67 x 5/9 K (UCUM, table 4 and 21).
_ZERO_K: Final[Mapping[str, Fraction]] = {
    "Cel": Fraction("273.15"),
    "degF": Fraction("459.67") * 5 / 9,
    "degRe": Fraction("273.15"),
}


def canonical(code: str) -> Measure | None:
    """Return what a unit on a ratio scale comes to in base units; None for an unknown or a special one."""
    found = scale(code)
    return Measure(found.factor, found.dimension) if found is not None and not found.offset else None


def scale(code: str) -> Scale | None:
    """Return what a unit comes to in base units; None for an unknown one and for a scale that is not affine."""
    return _scale(code) if len(code) <= MAX_LENGTH else None


def is_comparable(a: str, b: str) -> bool:
    """Whether a value in one unit can be told in the other; a code compares with itself, known or not."""
    return line(a, b) is not None


def line(from_code: str, to_code: str) -> Line | None:
    """Return how values are converted; None where they cannot be."""
    if from_code == to_code:
        return _SAME
    if len(from_code) > MAX_LENGTH or len(to_code) > MAX_LENGTH:
        return None
    return _line(from_code, to_code)


def convert(value: Decimal | Fraction | int, from_code: str, to_code: str) -> Fraction | None:
    """Return the same amount in another unit, exactly; None where the units cannot be compared."""
    way = line(from_code, to_code)
    return None if way is None else Fraction(value) * way.factor + way.offset


@lru_cache(maxsize=_CACHE)
def _line(from_code: str, to_code: str) -> Line | None:
    a, b = _scale(from_code), _scale(to_code)
    if a is None or b is None or a.dimension != b.dimension:
        return None
    return Line(a.factor / b.factor, (a.offset - b.offset) / b.factor)


@lru_cache(maxsize=_CACHE)
def _scale(code: str) -> Scale | None:
    expression = parse(code)
    if expression is None:
        return None
    if isinstance(expression, Power) and expression.exponent == 1 and (special := _special(expression.symbol)):
        return special
    found = _measure(expression)
    return None if found is None else Scale(found.factor, Fraction(0), found.dimension)


def _measure(expression: Expression) -> Measure | None:
    if isinstance(expression, int):
        return Measure(Fraction(expression), ())
    if isinstance(expression, Power):
        found = _symbol(expression.symbol)
        return None if found is None else _bounded(_power(found, expression.exponent))
    total = ONE
    for part, sign in expression.parts:
        inner = _measure(part)
        if inner is None:
            return None
        product = _bounded(_product(total, _power(inner, sign)))
        if product is None:
            return None
        total = product
    return total


def _power(measure: Measure, exponent: int) -> Measure:
    dimension = tuple((base, power * exponent) for base, power in measure.dimension if power * exponent)
    return Measure(measure.factor**exponent, dimension)


def _product(left: Measure, right: Measure) -> Measure:
    if not right.dimension:
        return Measure(left.factor * right.factor, left.dimension)
    powers = dict(left.dimension)
    for base, power in right.dimension:
        powers[base] = powers.get(base, 0) + power
    dimension = tuple(sorted((base, power) for base, power in powers.items() if power))
    return Measure(left.factor * right.factor, dimension)


def _bounded(measure: Measure) -> Measure | None:
    bits = max(measure.factor.numerator.bit_length(), measure.factor.denominator.bit_length())
    return measure if bits <= _MOST_BITS else None


def _split(symbol: str) -> tuple[Fraction, str] | None:
    """Return the factor of the prefix, and the symbol that takes it."""
    known = table()
    if symbol in known.bases or symbol in known.atoms:
        return Fraction(1), symbol
    for length in (1, 2):
        prefix, rest = symbol[:length], symbol[length:]
        if prefix in known.prefixes and (
            rest in known.bases or ((atom := known.atoms.get(rest)) is not None and atom.is_metric)
        ):
            return known.prefixes[prefix], rest
    return None


@lru_cache(maxsize=_CACHE)
def _symbol(symbol: str) -> Measure | None:
    """A symbol on a ratio scale, with its prefix."""
    parts = _split(symbol)
    if parts is None:
        return None
    prefix, name = parts
    atom = table().atoms.get(name)
    if atom is None:
        return Measure(prefix, ((name, 1),))
    if atom.kind == "arbitrary":
        # [IU] is written as [iU]; every other arbitrary unit rests on 1
        return Measure(prefix, ((name if atom.unit == "1" else atom.unit, 1),))
    if atom.kind:
        return None
    inner = parse(atom.unit)
    found = None if inner is None else _measure(inner)
    return None if found is None else Measure(prefix * atom.value * found.factor, found.dimension)


def _special(symbol: str) -> Scale | None:
    parts = _split(symbol)
    atom = None if parts is None else table().atoms.get(parts[1])
    if parts is None or atom is None or atom.kind not in _ZERO_K:
        return None
    degree = canonical(atom.unit)
    assert degree is not None, "a degree is a fraction of a kelvin"
    return Scale(parts[0] * atom.value * degree.factor, _ZERO_K[atom.kind], degree.dimension)
