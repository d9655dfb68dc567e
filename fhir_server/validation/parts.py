"""The parts of a check that need no definition: arrays of primitives, `_name` siblings, coded values."""

from __future__ import annotations

from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any, Final, TypeAlias

from fhir_server.validation.findings import Context, Problem, Problems, join, join_below, not_array, not_object
from fhir_server.validation.narrative import narrative_problems
from fhir_server.validation.primitives import SYNTAX, condition, fault

Check: TypeAlias = Callable[[dict[str, Any], Context], Problems]
Codes: TypeAlias = Container[str] | None

ELE_1: Final[Problem] = ("", "invariant", "ele-1: All FHIR elements must have a @value or children.")
TOO_MANY: Final[list[Problem]] = [("", "structure", "There are more of this element than R4 allows.")]
TWICE: Final[list[Problem]] = [("", "structure", "Only one of the types of this element may be given.")]
NULL: Final[Problem] = ("", "structure", "null is not allowed here.")

_SCOPE: Final = {"Decimal": Decimal, **{check.__name__: check for check in SYNTAX.values()}}
_IS: dict[str, Callable[[Any], bool]] = {}


def is_valid(type: str, value: Any) -> bool:
    """Whether `value` is one of a primitive type (xhtml apart)."""
    test = _IS.get(type)
    if test is None:
        test = _IS[type] = eval(f"lambda v: not ({condition(type)})", _SCOPE)  # noqa: S307 - our own text
    return test(value)


def code_fault(value: Any, value_set: str) -> list[Problem]:
    """Say what is wrong with a code that is not in the set it is bound to."""
    if is_valid("code", value):
        return [("", "code-invalid", f"The code must be one of {value_set} (required binding).")]
    return [fault("code", value)]


def primitives(values: Any, under: Any, type: str, codes: Codes, value_set: str = "") -> Problems:
    """Check an array of primitives; a null stands where the `_name` array has an element."""
    if values.__class__ is not list or not values:
        return not_array(values)
    found: Problems = None
    for place, value in enumerate(values):
        if value is None and under.__class__ is list and place < len(under) and under[place] is not None:
            continue
        if not is_valid(type, value):
            problem = fault(type, value)
        elif codes is not None and value not in codes:
            problem = code_fault(value, value_set)[0]
        else:
            continue
        found = join(found, [(f"[{place}]", *problem[1:])])
    return found


def under(value: Any, has_value: bool, check: Check, cx: Context) -> Problems:
    """Check the `_name` sibling of a primitive."""
    if value.__class__ is not dict or not value:
        return not_object(value)
    found = check(value, cx)
    if not has_value and value.keys() == {"id"}:
        found = join(found, [ELE_1])
    return found


def unders(value: Any, values: Any, check: Check, cx: Context) -> Problems:
    """Check the `_name` sibling of an array of primitives: null, or an element, at each place.

    One array may be shorter than the other; what is missing counts as null.
    """
    if value.__class__ is not list or not value:
        return not_array(value)
    given = values if values.__class__ is list else []
    found: Problems = None
    for place, item in enumerate(value):
        has_value = place < len(given) and given[place] is not None
        if item is None and has_value:
            continue
        problems = [NULL] if item is None else under(item, has_value, check, cx)
        if problems:
            found = join(found, [(f"[{place}]{path}", code, text) for path, code, text in problems])
    return found


def coded(concept: dict[str, Any], pairs: Container[tuple[str, str]]) -> bool:
    """Whether a CodeableConcept has a Coding of its required value set.

    Text alone is not enough: https://hl7.org/fhir/R4/terminologies.html#required
    """
    codings = concept.get("coding")
    if codings.__class__ is not list:
        return False
    for coding in codings or ():
        if coding.__class__ is dict:
            system, code = coding.get("system"), coding.get("code")
            if system.__class__ is str and code.__class__ is str and (system, code) in pairs:
                return True
    return False


def not_coded(value_set: str) -> list[Problem]:
    """Say that no coding is of the required value set."""
    return [("", "code-invalid", f"One coding must be of {value_set} (required binding).")]


def join_narrative(found: Problems, value: Any, name: str) -> Problems:
    """Return `found` with what is wrong with the div of a narrative."""
    if value.__class__ is not str or not value:
        return join_below(found, [fault("xhtml", value)], name)
    problems = narrative_problems(value)
    return join_below(found, problems, name) if problems else found
