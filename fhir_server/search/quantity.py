"""Questions about quantities in the units of what they are asked of.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#quantity: with a system "the search process is then able
to decide whether to convert"; and https://ucum.org/ucum
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from fhir_server.search.query import Ask
from fhir_server.search.values import Quantity
from fhir_server.ucum import UCUM, line

Bound: TypeAlias = "Decimal | Fraction"


class Asked(NamedTuple):
    """What a question asks of values in one unit: its range, half-open, and the number as written."""

    lo: Bound
    hi: Bound
    exact: Bound


def asked_of(ask: Ask, system: str, code: str, unit: str) -> Asked | None:
    """Return what a question asks of values with this unit; None where they do not answer it at all.

    Args:
        ask: One alternative; its value is a Quantity.
        system: Of the values.
        code: Of the values.
        unit: Of the values, as people read it.

    A question with UCUM's system asks for all values whose UCUM unit can be converted to its own: its range is
    converted exactly, as Fractions where the units differ. With another system it asks for that code; with a unit
    alone for that code or unit, "either the code or the stated human unit"; with none for the number as it stands.
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
    low, high, number = (Fraction(bound) * way.factor + way.offset for bound in (lo, hi, exact))
    return Asked(low, high, number)
