"""Questions about quantities in the units of what they are asked of.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#quantity: with a system "the search process is then able
to decide whether to convert"; and https://ucum.org/ucum
"""

from __future__ import annotations

from decimal import ROUND_05UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_server.search.query import Ask
from fhir_server.search.values import Quantity
from fhir_server.ucum import UCUM, line

_PRECISION: Final = 80  # digits: more than a number has that passed the parser gate
# This rounding never makes a number rounder than it is: what it gives ends in neither 0 nor 5 unless it is exact.
_STICKY: Final = Context(prec=_PRECISION, rounding=ROUND_05UP, Emax=10**6, Emin=-(10**6))


class Asked(NamedTuple):
    """What a question asks of values in one unit: its range, half-open, and the number as written."""

    lo: Decimal
    hi: Decimal
    exact: Decimal


def asked_of(ask: Ask, system: str, code: str, unit: str) -> Asked | None:
    """Return what a question asks of values with this unit; None where they do not answer it at all.

    Args:
        ask: One alternative; its value is a Quantity.
        system: Of the values.
        code: Of the values.
        unit: Of the values, as people read it.

    A question with UCUM's system asks for all values whose UCUM unit can be converted to its own: its range is
    converted, to decimals that compare with every stored number as the exact bounds do. With another system it asks
    for that code; with a unit alone for that code or unit, "either the code or the stated human unit"; with none for
    the number as it stands.
    """
    asked = ask.value
    assert isinstance(asked, Quantity)
    assert asked.lo is not None and asked.hi is not None and ask.exact is not None, "a question has all bounds"
    if not asked.system:
        fits = not asked.unit or asked.unit in (code, unit)
        return Asked(asked.lo, asked.hi, ask.exact) if fits else None
    if asked.system != system:
        return None
    if asked.code == code:
        return Asked(asked.lo, asked.hi, ask.exact)
    return _converted(asked.lo, asked.hi, ask.exact, asked.code, code) if system == UCUM else None


@lru_cache(maxsize=1024)
def _converted(lo: Decimal, hi: Decimal, exact: Decimal, asked: str, code: str) -> Asked | None:
    way = line(asked, code)  # it rises, so a range stays one
    if way is None:
        return None
    return Asked(*(to_decimal(Fraction(bound) * way.factor + way.offset) for bound in (lo, hi, exact)))


def to_decimal(number: Fraction) -> Decimal:
    """Return a decimal that is above, below or equal to any decimal of fewer than 80 digits as the fraction is."""
    return _STICKY.divide(Decimal(number.numerator), Decimal(number.denominator))
