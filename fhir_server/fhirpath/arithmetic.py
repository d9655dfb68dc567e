"""`+ - * / div mod &` and the sign.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#math
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException
from typing import Any, Final

from fhir_server.fhirpath import quantity as quantities
from fhir_server.fhirpath import temporal as temporals
from fhir_server.fhirpath.equality import is_number
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.nodes import MAX_TEXT
from fhir_server.fhirpath.quantity import Quantity
from fhir_server.fhirpath.temporal import Temporal

_MAX_INTEGER: Final = 2**63  # beyond it the result is empty, as the standard says of an overflow


def _mismatch() -> EvaluationError:
    return EvaluationError("The operator does not take values of these types.")


def _number(value: int | Decimal) -> int | Decimal | None:
    return None if isinstance(value, int) and abs(value) >= _MAX_INTEGER else value


def text(value: str) -> str:
    """Return a string that was made; raise EvaluationError when it is longer than an expression may make."""
    if len(value) > MAX_TEXT:
        raise EvaluationError("The expression makes a string that is too long.")
    return value


def add(left: Any, right: Any) -> Any:
    """Return left + right; None for an overflow or units that do not go together."""
    if is_number(left) and is_number(right):
        return _number(left + right)
    if isinstance(left, str) and isinstance(right, str):
        return text(left + right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return _add_quantities(left, right, 1)
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return temporals.add(left, right, 1)
    raise _mismatch()


def subtract(left: Any, right: Any) -> Any:
    """Return left - right; None for an overflow or units that do not go together."""
    if is_number(left) and is_number(right):
        return _number(left - right)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return _add_quantities(left, right, -1)
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return temporals.add(left, right, -1)
    raise _mismatch()


def _add_quantities(left: Quantity, right: Quantity, sign: int) -> Quantity | None:
    if not quantities.comparable(left, right):
        return None
    return left._replace(value=left.value + sign * quantities.convert(right, left).value)


def _as_quantity(value: Any) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if is_number(value):
        return Quantity(Decimal(value), "1")
    raise _mismatch()


def multiply(left: Any, right: Any) -> Any:
    """Return left * right."""
    if is_number(left) and is_number(right):
        return _number(left * right)
    if isinstance(left, Quantity) and is_number(right):
        return left._replace(value=left.value * right)
    if isinstance(right, Quantity) and is_number(left):
        return right._replace(value=right.value * left)
    return quantities.multiply(_as_quantity(left), _as_quantity(right), divide=False)


def divide(left: Any, right: Any) -> Any:
    """Return left / right, a Decimal for numbers; None for a zero divisor."""
    if is_number(left) and is_number(right):
        return Decimal(left) / Decimal(right) if right else None
    if isinstance(left, Quantity) and is_number(right):
        return left._replace(value=left.value / right) if right else None
    return quantities.multiply(_as_quantity(left), _as_quantity(right), divide=True)


def divide_whole(left: Any, right: Any) -> Any:
    """Return left div right, cut off towards zero; None for a zero divisor."""
    if not is_number(left) or not is_number(right):
        raise _mismatch()
    return _number(int(Decimal(left) / Decimal(right))) if right else None


def modulo(left: Any, right: Any) -> Any:
    """Return the rest of left div right; None for a zero divisor."""
    if not is_number(left) or not is_number(right):
        raise _mismatch()
    if not right:
        return None
    rest = Decimal(left) % Decimal(right)
    return int(rest) if isinstance(left, int) and isinstance(right, int) else rest


def negate(value: Any) -> Any:
    """Return -value."""
    if is_number(value):
        return -value
    if isinstance(value, Quantity):
        return value._replace(value=-value.value)
    raise _mismatch()


_OPERATIONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "div": divide_whole,
    "mod": modulo,
}


def calculate(operator: str, left: Any, right: Any) -> Any:
    """Return left operator right; None where the standard says the result is empty.

    Raises:
        EvaluationError: The types do not go together.
    """
    try:
        return _OPERATIONS[operator](left, right)
    except DecimalException:  # beyond what a decimal can hold
        return None
