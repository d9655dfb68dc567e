"""Ordered values with their prefixes: numbers, quantities and dates as questions.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

import re
from datetime import tzinfo
from decimal import Context, Decimal
from typing import Final

from fhir_server.errors import BadParameter
from fhir_server.search.dates import span
from fhir_server.search.escape import split, unescape
from fhir_server.search.query import Ask
from fhir_server.search.values import Number, Period, Quantity

PREFIXES: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
MAX_DIGITS: Final = 60  # characters of a number, as in the parser gate
MAX_EXPONENT: Final = 1000  # as in the parser gate

_NUMBER: Final = re.compile(r"[+-]?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,4}))?")
_EXACT: Final = Context(prec=2 * MAX_DIGITS + MAX_EXPONENT)  # enough that no sum below is rounded
_TENTH: Final = Decimal("0.1")
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1  # open ends of a Period


def cut_prefix(text: str) -> tuple[str, str]:
    """Return (prefix, rest); without a prefix, eq."""
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def number_ask(name: str, text: str) -> Ask:
    """Read a number; raise BadParameter naming the parameter."""
    prefix, rest = cut_prefix(text)
    exact, lo, hi = _range(name, rest, prefix)
    return Ask(Number(lo, hi), prefix, exact)


def quantity_ask(name: str, text: str) -> Ask:
    """Read `number`, `number|system|code` or `number||unit`; raise BadParameter naming the parameter.

    Source: https://hl7.org/fhir/R4/search.html#quantity
    """
    prefix, rest = cut_prefix(text)
    parts = [unescape(part) for part in split(rest, "|")]
    if len(parts) not in (1, 3) or (len(parts) == 3 and not parts[2]):
        raise BadParameter(f"The parameter '{name}' takes number, number|system|code or number||unit.")
    exact, lo, hi = _range(name, parts[0], prefix)
    _, system, code = parts if len(parts) == 3 else ("", "", "")
    return Ask(Quantity(lo, hi, system, code if system else "", "" if system else code), prefix, exact)


def date_ask(name: str, text: str, zone: tzinfo, now: int) -> Ask:
    """Read a date, to any precision; raise BadParameter naming the parameter.

    Args:
        name: The parameter.
        text: The value, with its prefix.
        zone: Of a date or time that has none.
        now: Microseconds since 1970; `ap` reaches a tenth of the gap between now and the date.
    """
    prefix, rest = cut_prefix(text)
    try:
        # In a query string an unescaped + is a space: a time has no other place for one.
        period = span(rest.replace(" ", "+"), zone)
    except ValueError:
        raise BadParameter(f"The parameter '{name}' takes a date.") from None
    if prefix == "ap":
        gap = max(period.lo - now, now - period.hi, 0) // 10
        period = Period(max(period.lo - gap, _LOWEST), min(period.hi + gap, _HIGHEST))
    return Ask(period, prefix)


def _range(name: str, text: str, prefix: str) -> tuple[Decimal, Decimal, Decimal]:
    """Return the number and the half-open range that it stands for."""
    found = _NUMBER.fullmatch(text) if len(text) <= MAX_DIGITS else None
    if found is None or abs(int(found[3] or 0)) > MAX_EXPONENT:
        raise BadParameter(f"The parameter '{name}' takes a number.")
    exact = Decimal(text)
    half = _half_unit(fraction=found[2], exponent=found[3])
    reach = max(half, _EXACT.multiply(exact.copy_abs(), _TENTH)) if prefix == "ap" else half
    return exact, _EXACT.subtract(exact, reach), _EXACT.add(exact, reach)


def _half_unit(*, fraction: str | None, exponent: str | None) -> Decimal:
    """Return half of the last digit's worth: 0.5 for 100, 0.005 for 5.40.

    R4 gives 1e2 the range [95 ... 105), one digit more than it shows; so does this where an exponent
    follows a whole number. Source: https://hl7.org/fhir/R4/search.html#number
    """
    digits = len(fraction or "") + (1 if exponent and not fraction else 0)
    return Decimal((0, (5,), int(exponent or 0) - digits - 1))
