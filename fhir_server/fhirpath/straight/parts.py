"""What a part of an expression is while its Python is written."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server.fhirpath.nodes import referred_type
from fhir_server.fhirpath.syntax import Expression, Literal, Operation
from fhir_server.fhirpath.types import DATES, Slot, is_primitive

NUMBERS: Final = frozenset({"decimal", "integer", "positiveInt", "unsignedInt", "Integer"})


class Rare(Exception):
    """The straight way ends here: the complete engine is asked."""


class Unknown(Exception):
    """This part of the expression has no straight way."""


class One(NamedTuple):
    """A variable that holds a value, or None."""

    name: str
    type: str


class Many(NamedTuple):
    """A variable that holds a list of values; of the type "" it is empty, and all that follows from it."""

    name: str
    type: str


class Choice(NamedTuple):
    """An element of several types, not taken out of its parent yet."""

    parent: One | Many
    slots: tuple[Slot, ...]


class Truth(NamedTuple):
    """A Python expression that is True, False or None."""

    code: str
    sure: bool  # whether it is never None


class Constant(NamedTuple):
    """A string, number or boolean of the expression."""

    value: Any


Part: TypeAlias = One | Many | Choice | Truth | Constant


@lru_cache(maxsize=4096)
def _shown(reference: str) -> str:
    return referred_type(reference)


def pointed(value: Any) -> str:
    """Return the type that a Reference says to point to; "" for none."""
    text = value.get("reference")
    if text is None:
        return str(value.get("type") or "")
    if text.startswith("#"):
        raise Rare
    return _shown(text) or str(value.get("type") or "")


def unless(name: str, code: str) -> str:
    """Return Python that is None where a variable is, else `code`."""
    return f"(None if {name} is None else {code})"


def is_text(type: str) -> bool:
    """Whether JSON of a type is a string that equals another where it is the same."""
    return is_primitive(type) and type not in DATES and type not in NUMBERS and type != "boolean"


def is_alike(type: str, value: Any) -> bool:
    """Whether JSON of a type compares with a constant by Python's own operators."""
    if isinstance(value, bool):
        return type == "boolean"
    return is_text(type) if isinstance(value, str) else type in NUMBERS


def literals(tree: Expression) -> list[str] | None:
    """Return the strings of `'a' | 'b'`; None where it is more than that."""
    match tree:
        case Literal(str() as value):
            return [value]
        case Operation("|"):
            left, right = literals(tree.left), literals(tree.right)
            return None if left is None or right is None else left + right
        case _:
            return None
