"""lowBoundary, highBoundary, precision and comparable.

Source: the continuous build of FHIRPath, https://build.fhir.org/ig/HL7/FHIRPath/, and the official test suite.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from fhir_server.fhirpath import quantity as quantities
from fhir_server.fhirpath import temporal as temporals
from fhir_server.fhirpath.equality import is_number
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.functions.arguments import Function, integer_of, result, value_of
from fhir_server.fhirpath.nodes import Collection, Run
from fhir_server.fhirpath.quantity import Quantity
from fhir_server.fhirpath.temporal import EAST, WEST, Temporal

MAX_DIGITS: Final = 28
_DIGITS: Final = (4, 6, 8, 10, 12, 14, 17)  # of a date and time, by the parts it has
_CLOCK_DIGITS: Final = (2, 4, 6, 9)


def _decimal_boundary(value: int | Decimal, digits: int, *, low: bool) -> Decimal | None:
    if not 0 <= digits <= MAX_DIGITS:
        return None
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    written = max(0, -exponent) if isinstance(exponent, int) else 0
    step = Decimal(1).scaleb(-digits)
    if digits and digits < written and abs(number) < step / 10:
        return Decimal(0).quantize(step)  # no digit of it shows at that precision: as the suite has it
    half = Decimal(5).scaleb(-written - 1)
    edge = number - half if low else number + half
    return edge.quantize(step, ROUND_FLOOR if low else ROUND_CEILING)


def _temporal_boundary(value: Temporal, digits: int, *, low: bool) -> Temporal | None:
    if value.kind == "Time":
        if digits not in _CLOCK_DIGITS:
            return None
        fill = (0, 0, 0, 0) if low else (23, 59, 59, 999_000)
        parts = value.parts + fill[len(value.parts) :]
        count = _CLOCK_DIGITS.index(digits) + 1
        return Temporal("Time", parts[:count], None, 3 if count == 4 else 0)
    if digits not in _DIGITS:
        return None
    count = _DIGITS.index(digits) + 1
    parts = _filled(value, low=low)[:count]
    if count <= 3:
        return Temporal("Date" if value.kind == "Date" else "DateTime", parts)
    offset = value.offset if value.offset is not None else EAST if low else WEST
    return Temporal("DateTime", parts, offset, 3 if count == 7 else 0)


def _filled(value: Temporal, *, low: bool) -> tuple[int, ...]:
    """All parts down to the millisecond; an hour alone has the minute 00, as the suite has it."""
    parts = (*value.parts, 0) if len(value.parts) == 4 else value.parts
    full = temporals.boundary(value._replace(parts=parts), low=low)
    return (*full[:6], full[6] // 1000 * 1000)


def _boundary(low: bool) -> Callable[[Run, Collection, Collection | None], Collection]:
    def call(_: Run, items: Collection, precision: Collection | None) -> Collection:
        value, digits = value_of(items), integer_of(precision)
        if is_number(value):
            return result(_decimal_boundary(value, 8 if digits is None else digits, low=low))
        if isinstance(value, Quantity):
            edge = _decimal_boundary(value.value, 8 if digits is None else digits, low=low)
            return [] if edge is None else [value._replace(value=edge)]
        if isinstance(value, Temporal):
            return result(_temporal_boundary(value, _default(value) if digits is None else digits, low=low))
        if value is None:
            return []
        raise EvaluationError("Values of this type have no boundary.")

    return call


def _default(value: Temporal) -> int:
    return {"Date": 8, "DateTime": 17, "Time": 9}[value.kind]


def _precision(_: Run, items: Collection) -> Collection:
    value = value_of(items)
    if isinstance(value, Temporal):
        return [(_CLOCK_DIGITS if value.kind == "Time" else _DIGITS)[len(value.parts) - 1]]
    if is_number(value):
        exponent = Decimal(value).as_tuple().exponent
        return [max(0, -exponent) if isinstance(exponent, int) else 0]
    return []


def _comparable(_: Run, items: Collection, other: Collection) -> Collection:
    left: Any = value_of(items)
    right: Any = value_of(other)
    if not isinstance(left, Quantity) or not isinstance(right, Quantity):
        return []
    return [quantities.comparable(left, right)]


FUNCTIONS: Final = {
    "lowBoundary": Function(_boundary(True), 0, 1),
    "highBoundary": Function(_boundary(False), 0, 1),
    "precision": Function(_precision),
    "comparable": Function(_comparable, 1, 1),
}
