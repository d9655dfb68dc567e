"""How functions take their input and arguments: one item, or none, of the type they need."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from fhir_server.fhirpath.equality import is_number
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.nodes import Collection, Node, plain


class Function(NamedTuple):
    """A function whose arguments are evaluated before it is called."""

    call: Callable[..., Collection]  # (run, input, *arguments); an argument left out is None
    least: int = 0  # arguments
    most: int = 0


def one(items: Collection | None) -> Any:
    """Return the only item, None of none; raise EvaluationError for several."""
    if not items:
        return None
    if len(items) > 1:
        raise EvaluationError("One item is expected, there are several.")
    return items[0]


def value_of(items: Collection | None) -> Any:
    """Return the only item as a System value, None of none."""
    return plain(one(items))


def text_of(items: Collection | None) -> str | None:
    """Return the only item as a string; FHIR primitives written as strings count as such."""
    item = one(items)
    if isinstance(item, Node) and not isinstance(item.value, (dict, list)):
        item = item.value
    if item is None or isinstance(item, str):
        return item
    raise EvaluationError("A string is expected.")


def integer_of(items: Collection | None) -> int | None:
    """Return the only item as an integer."""
    value = value_of(items)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise EvaluationError("An integer is expected.")


def number_of(items: Collection | None) -> int | Decimal | None:
    """Return the only item as a number."""
    value = value_of(items)
    if value is None or is_number(value):
        number: int | Decimal | None = value
        return number
    raise EvaluationError("A number is expected.")


def truth(items: Collection) -> bool | None:
    """Return a collection as a condition: none is None, one item that is no boolean is True.

    Source: https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections
    """
    if not items:
        return None
    value = value_of(items)
    return value if isinstance(value, bool) else True


def result(value: Any) -> Collection:
    """Return the collection of one value, or the empty one for None."""
    return [] if value is None else [value]
