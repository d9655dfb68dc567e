"""`=`, `~` and the order of items.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#equality
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir_server.fhirpath import quantity as quantities
from fhir_server.fhirpath import temporal as temporals
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.nodes import Collection, Node, Run, plain
from fhir_server.fhirpath.quantity import Quantity
from fhir_server.fhirpath.temporal import Temporal
from fhir_server.fhirpath.types import ancestors


def is_number(value: Any) -> bool:
    """Whether it is an Integer or a Decimal."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _aligned(left: Any, right: Any) -> tuple[Any, Any]:
    """Turn a number beside a quantity into one of the unit 1."""
    if isinstance(left, Quantity) and is_number(right):
        return left, Quantity(Decimal(right), "1")
    if isinstance(right, Quantity) and is_number(left):
        return Quantity(Decimal(left), "1"), right
    return left, right


def equal(left: Any, right: Any, run: Run) -> bool | None:
    """Whether two items are equal; None when precision or units leave it open."""
    a, b = _aligned(plain(left), plain(right))
    if isinstance(a, Temporal) and isinstance(b, Temporal):
        if (a.kind == "Time") != (b.kind == "Time"):
            return False
        order = temporals.compare(a, b)
        return None if order is None else order == 0
    if isinstance(a, Quantity) and isinstance(b, Quantity):
        order = quantities.compare(a, b)
        return None if order is None else order == 0
    if is_number(a) and is_number(b):
        return bool(a == b)
    if isinstance(a, Node) and isinstance(b, Node):
        return run.key(a) == run.key(b)
    return a.__class__ is b.__class__ and bool(a == b)


def equal_collections(left: Collection, right: Collection, run: Run) -> bool | None:
    """Whether two collections have equal items in the same order; None for an empty one."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    run.spend(len(left))
    results = [equal(a, b, run) for a, b in zip(left, right, strict=True)]
    if False in results:
        return False
    return None if None in results else True


def equivalent(left: Any, right: Any, run: Run) -> bool:
    """Whether two items are equivalent: case, white space and lesser precision do not count."""
    run.spend(1)
    a, b = _aligned(plain(left), plain(right))
    if isinstance(a, str) and isinstance(b, str):
        return _folded(a) == _folded(b)
    if is_number(a) and is_number(b):
        return quantities.equivalent_decimals(Decimal(a), Decimal(b))
    if isinstance(a, Quantity) and isinstance(b, Quantity):
        return quantities.equivalent(a, b)
    if isinstance(a, Node) and isinstance(b, Node):
        return _equivalent_json(a.value, b.value, run)
    return equal(a, b, run) is True


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _equivalent_json(left: Any, right: Any, run: Run) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equivalent_json(left[name], right[name], run) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return _equivalent_all(left, right, _equivalent_json, run)
    return equivalent(left, right, run)


def _equivalent_all(left: list[Any], right: list[Any], same: Callable[[Any, Any, Run], bool], run: Run) -> bool:
    """Whether each item on the left has one of its own on the right."""
    rest = list(right)
    for item in left:
        place = next((place for place, other in enumerate(rest) if same(item, other, run)), None)
        if place is None:
            return False
        del rest[place]
    return not rest


def equivalent_collections(left: Collection, right: Collection, run: Run) -> bool:
    """Whether two collections hold equivalent items, in whatever order."""
    if len(left) != len(right):
        return False
    return _equivalent_all(left, right, equivalent, run)


def order(left: Any, right: Any) -> int | None:
    """Return -1, 0 or 1 for two items; None when precision, units or zones leave it open.

    Raises:
        EvaluationError: Their types have no order between them.
    """
    a, b = _aligned(plain(left), plain(right))
    if isinstance(a, Temporal) and isinstance(b, Temporal):
        return temporals.compare(a, b)
    if isinstance(a, Quantity) and isinstance(b, Quantity):
        return quantities.compare(a, b)
    if (isinstance(a, str) and isinstance(b, str)) or (is_number(a) and is_number(b)):
        return int(a > b) - int(a < b)
    if a is None or b is None or _has_no_number(a) or _has_no_number(b):
        return None
    raise EvaluationError("Values of these types cannot be compared.")


def _has_no_number(item: Any) -> bool:
    """Whether it is a FHIR Quantity without a value, or with a comparator."""
    return isinstance(item, Node) and "Quantity" in ancestors(item.type)
