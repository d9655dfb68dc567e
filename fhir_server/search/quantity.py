"""Questions about quantities in the units of what they are asked of.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#quantity: with a system "the search process is then able
to decide whether to convert"; and https://ucum.org/ucum
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import ROUND_05UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_server.search.molar import DERIVED
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Not
from fhir_server.search.values import Quantity
from fhir_server.ucum import UCUM, line

_PRECISION: Final = 80  # digits: more than a number has that passed the parser gate
# This rounding never makes a number rounder than it is: what it gives ends in neither 0 nor 5 unless it is exact.
_STICKY: Final = Context(prec=_PRECISION, rounding=ROUND_05UP, Emax=10**6, Emin=-(10**6))
_ANNOTATION: Final = re.compile(r"\{[^{}]*\}")
_CODES: Final = frozenset({"code", "combo-code", "component-code"})


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
    if system != UCUM or not may_compare(asked.code, code, of_code=ask.of_code):
        return None
    return _converted(asked.lo, asked.hi, ask.exact, asked.code, code)


@lru_cache(maxsize=1024)
def may_compare(asked: str, code: str, *, of_code: bool) -> bool:
    """Whether values in a unit are compared with a question in another unit, where UCUM can convert.

    A unit that is nothing but an annotation counts things of its own: a {score} is no percentage. A quotient says how
    much of one thing is in another, and of what only a code says: 0.5 mg/dL of creatinine and 300 pg/mL of troponin
    are no amounts of the same. So quotients are converted where the search names a code too, or where the value was
    derived by the molar mass of its own code; else they are compared as they are written, annotations aside.
    """
    if "" in (bare := (_without_annotations(asked), _without_annotations(code))):
        return False
    return of_code or "/" not in asked or code.startswith(DERIVED) or bare[0] == bare[1]


def _without_annotations(code: str) -> str:
    return _ANNOTATION.sub("", code)


def of_codes(clauses: Sequence[Clause], *, coded: bool = False) -> tuple[Clause, ...]:
    """Return clauses joined by AND, their questions about quantities marked where one of them names a code."""
    coded = coded or any(_names_code(clause) for clause in clauses)
    return tuple(_marked(clause, coded) for clause in clauses)


def _names_code(clause: Clause) -> bool:
    if isinstance(clause, AllOf):
        return any(_names_code(one) for one in clause.clauses)
    return isinstance(clause, Match) and clause.parameter.code in _CODES and clause.modifier not in ("missing", "not")


def _marked(clause: Clause, coded: bool) -> Clause:
    if isinstance(clause, AllOf):
        return AllOf(of_codes(clause.clauses, coded=coded))
    if isinstance(clause, AnyOf):
        return AnyOf(tuple(_marked(one, coded) for one in clause.clauses))
    if isinstance(clause, Not):
        return Not(_marked(clause.clause, coded))
    if isinstance(clause, Chain):
        return replace(clause, then=tuple(_marked(one, False) for one in clause.then))
    if isinstance(clause, Has):
        return replace(clause, then=_marked(clause.then, False))
    if not coded or clause.parameter.type != "quantity":
        return clause
    return replace(clause, asks=tuple(replace(ask, of_code=True) for ask in clause.asks))


@lru_cache(maxsize=1024)
def _converted(lo: Decimal, hi: Decimal, exact: Decimal, asked: str, code: str) -> Asked | None:
    way = line(asked, code)  # it rises, so a range stays one
    if way is None:
        return None
    return Asked(*(to_decimal(Fraction(bound) * way.factor + way.offset) for bound in (lo, hi, exact)))


def to_decimal(number: Fraction) -> Decimal:
    """Return a decimal that is above, below or equal to any decimal of fewer than 80 digits as the fraction is."""
    return _STICKY.divide(Decimal(number.numerator), Decimal(number.denominator))
