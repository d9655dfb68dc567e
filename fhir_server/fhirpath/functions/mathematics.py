"""Functions on numbers.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#math
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException
from typing import Final

from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.functions.arguments import Function, integer_of, number_of, result, value_of
from fhir_server.fhirpath.nodes import Collection, Run
from fhir_server.fhirpath.quantity import Quantity

_LARGEST: Final = Decimal(10) ** 28  # what a decimal holds exactly


def _abs(_: Run, items: Collection) -> Collection:
    value = value_of(items)
    if isinstance(value, Quantity):
        return [value._replace(value=abs(value.value))]
    number = number_of(items)
    return [] if number is None else [abs(number)]


def _whole(rounding: str) -> Callable[[Run, Collection], Collection]:
    def call(_: Run, items: Collection) -> Collection:
        number = number_of(items)
        if number is None or abs(Decimal(number)) > _LARGEST:
            return []
        return [int(Decimal(number).to_integral_value(rounding))]

    return call


def _ln(_: Run, items: Collection) -> Collection:
    number = number_of(items)
    return result(None if number is None or number <= 0 else Decimal(number).ln())


def _exp(_: Run, items: Collection) -> Collection:
    number = number_of(items)
    try:
        return result(None if number is None else Decimal(number).exp())
    except DecimalException:  # an overflow
        return []


def _log(_: Run, items: Collection, base: Collection) -> Collection:
    number, to = number_of(items), number_of(base)
    if number is None or to is None or number <= 0 or to <= 0 or to == 1:
        return []
    exact = Decimal(number).ln() / Decimal(to).ln()
    near = exact.quantize(Decimal("1e-20"), ROUND_HALF_UP) if abs(exact) < 1000 else exact
    return [near]


def _power(_: Run, items: Collection, exponent: Collection) -> Collection:
    number, power = number_of(items), number_of(exponent)
    if number is None or power is None:
        return []
    try:
        value = Decimal(number) ** Decimal(power)
    except DecimalException:
        return []
    if isinstance(number, int) and isinstance(power, int) and power >= 0 and abs(value) < _LARGEST:
        return [int(value)]
    return [value]


def _round(_: Run, items: Collection, precision: Collection | None) -> Collection:
    number, digits = number_of(items), 0 if precision is None else integer_of(precision)
    if number is None or digits is None:
        return []
    if not 0 <= digits <= 28:
        raise EvaluationError("round() takes a precision of 0 to 28.")
    try:
        value = Decimal(number).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    except DecimalException:
        return [number]
    return [value]


def _sqrt(_: Run, items: Collection) -> Collection:
    number = number_of(items)
    return result(None if number is None or number < 0 else Decimal(number).sqrt())


FUNCTIONS: Final = {
    "abs": Function(_abs),
    "ceiling": Function(_whole(ROUND_CEILING)),
    "floor": Function(_whole(ROUND_FLOOR)),
    "truncate": Function(_whole(ROUND_DOWN)),
    "exp": Function(_exp),
    "ln": Function(_ln),
    "log": Function(_log, 1, 1),
    "power": Function(_power, 1, 1),
    "round": Function(_round, 0, 1),
    "sqrt": Function(_sqrt),
}
