"""FHIRPath's quantities: a decimal with a unit, calendar durations among them.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#quantity
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from fractions import Fraction
from typing import Any, Final, NamedTuple

from fhir_server.ucum import UCUM, Scale, scale

CALENDAR: Final[Mapping[str, str]] = {
    word + plural: word
    for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
}
_NO_OFFSET: Final = Fraction(0)
# Weeks and shorter are the same as UCUM's; a calendar month or year is no fixed time.
_CALENDAR_SCALE: Final = {
    "year": Scale(Fraction(12), _NO_OFFSET, (("month", 1),)),
    "month": Scale(Fraction(1), _NO_OFFSET, (("month", 1),)),
    "week": Scale(Fraction(604800), _NO_OFFSET, (("s", 1),)),
    "day": Scale(Fraction(86400), _NO_OFFSET, (("s", 1),)),
    "hour": Scale(Fraction(3600), _NO_OFFSET, (("s", 1),)),
    "minute": Scale(Fraction(60), _NO_OFFSET, (("s", 1),)),
    "second": Scale(Fraction(1), _NO_OFFSET, (("s", 1),)),
    "millisecond": Scale(Fraction(1, 1000), _NO_OFFSET, (("s", 1),)),
}
_TEXT = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)\s*(?:'([^']+)'|([a-zA-Z]+))?")
PRECISION: Final = 28


class Quantity(NamedTuple):
    """A System.Quantity."""

    value: Decimal
    unit: str  # UCUM code, or a calendar word in the singular
    calendar: bool = False

    def __str__(self) -> str:
        """As a literal is written: `4 days` becomes `4 day`, `1 'mg'` stays."""
        return f"{self.value:f} {self.unit}" if self.calendar else f"{self.value:f} '{self.unit}'"


def scale_of(quantity: Quantity) -> Scale | None:
    """Return what the unit comes to; None for an unknown one."""
    return _CALENDAR_SCALE[quantity.unit] if quantity.calendar else scale(quantity.unit)


def comparable(left: Quantity, right: Quantity) -> bool:
    """Whether one can be converted to the unit of the other."""
    if left.unit == right.unit and left.calendar == right.calendar:
        return True
    a, b = scale_of(left), scale_of(right)
    return a is not None and b is not None and a.dimension == b.dimension


def compare(left: Quantity, right: Quantity) -> int | None:
    """Return -1, 0 or 1; None when the units do not allow it."""
    if not comparable(left, right):
        return None
    if left.unit == right.unit and left.calendar == right.calendar:
        return (left.value > right.value) - (left.value < right.value)
    a, b = _in_base(left), _in_base(right)
    return (a > b) - (a < b)


def _in_base(quantity: Quantity) -> Fraction:
    found = scale_of(quantity)
    return Fraction(quantity.value) * found.factor + found.offset if found else Fraction(quantity.value)


def key(quantity: Quantity) -> Hashable:
    """Return what equal quantities have in common."""
    found = scale_of(quantity)
    return (_in_base(quantity), found.dimension) if found else (quantity.value, quantity.unit)


def convert(quantity: Quantity, like: Quantity) -> Quantity:
    """Return the same in the unit of `like`, which must be comparable."""
    if (quantity.unit, quantity.calendar) == (like.unit, like.calendar):
        return quantity
    target = scale_of(like)
    assert target is not None
    return Quantity(to_decimal((_in_base(quantity) - target.offset) / target.factor), like.unit, like.calendar)


def to_decimal(number: Fraction) -> Decimal:
    """Return a fraction as a decimal of at most 28 digits."""
    with localcontext() as context:
        context.prec = PRECISION
        return Decimal(number.numerator) / Decimal(number.denominator)


def multiply(left: Quantity, right: Quantity, *, divide: bool) -> Quantity | None:
    """Return the product or quotient in base units; None for units that are unknown or take no part in products."""
    a, b = scale_of(left), scale_of(right)
    if a is None or b is None or a.offset or b.offset or (divide and not right.value):
        return None
    sign = -1 if divide else 1
    powers = dict(a.dimension)
    for base, power in b.dimension:
        powers[base] = powers.get(base, 0) + sign * power
    unit = ".".join(f"{base}{power if power != 1 else ''}" for base, power in sorted(powers.items()) if power)
    return Quantity(to_decimal(_in_base(left) * _in_base(right) ** sign), unit or "1")


def places(value: Decimal) -> int:
    """Return the digits after the point, without trailing zeros."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def equivalent(left: Quantity, right: Quantity) -> bool:
    """Whether they are the same at the precision of the less precise one."""
    if not comparable(left, right):
        return False
    return equivalent_decimals(left.value, convert(right, left).value)


def equivalent_decimals(left: Decimal, right: Decimal) -> bool:
    """Whether two decimals are the same at the precision of the less precise one."""
    step = Decimal(1).scaleb(-min(places(left), places(right)))
    try:
        return left.quantize(step, ROUND_HALF_UP) == right.quantize(step, ROUND_HALF_UP)
    except InvalidOperation:  # more digits than the context holds
        return left == right


def parse_quantity(text: str) -> Quantity | None:
    """Read `1.5 'mg'`, `4 days` or `3`; None for another text."""
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        return None
    number, unit, word = match.groups()
    if word:
        return Quantity(Decimal(number), CALENDAR[word], True) if word in CALENDAR else None
    return Quantity(Decimal(number), unit or "1")


def from_fhir(value: Mapping[str, Any]) -> Quantity | None:
    """Read a FHIR Quantity; None without a number, or with a comparator: that is no single value."""
    number = value.get("value")
    if isinstance(number, bool) or not isinstance(number, (int, Decimal)) or value.get("comparator"):
        return None
    code, unit = value.get("code"), value.get("unit")
    if value.get("system") == UCUM and isinstance(code, str):
        return Quantity(Decimal(number), code)
    # Of another system only the same unit compares: a name that UCUM cannot have keeps it apart.
    name = code if isinstance(code, str) else unit if isinstance(unit, str) else ""
    return Quantity(Decimal(number), f"({value.get('system', '')}){name}" if name else "1")
