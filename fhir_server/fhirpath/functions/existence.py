"""Is there something, and how many.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#existence
"""

from __future__ import annotations

from typing import Final

from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.functions.arguments import Function, result, truth
from fhir_server.fhirpath.nodes import Collection, Node, Run, plain


def _empty(_: Run, items: Collection) -> Collection:
    return [not items]


def _count(_: Run, items: Collection) -> Collection:
    return [len(items)]


def _not(_: Run, items: Collection) -> Collection:
    found = truth(items)
    return result(None if found is None else not found)


def _booleans(items: Collection) -> list[bool]:
    found = [plain(item) for item in items]
    if any(not isinstance(item, bool) for item in found):
        raise EvaluationError("Booleans are expected.")
    return found


def _all_true(_: Run, items: Collection) -> Collection:
    return [all(_booleans(items))]


def _any_true(_: Run, items: Collection) -> Collection:
    return [any(_booleans(items))]


def _all_false(_: Run, items: Collection) -> Collection:
    return [not any(_booleans(items))]


def _any_false(_: Run, items: Collection) -> Collection:
    return [not all(_booleans(items))]


def _subset_of(run: Run, items: Collection, other: Collection) -> Collection:
    return [{run.key(item) for item in items} <= {run.key(item) for item in other}]


def _superset_of(run: Run, items: Collection, other: Collection) -> Collection:
    return [{run.key(item) for item in items} >= {run.key(item) for item in other}]


def _distinct(run: Run, items: Collection) -> Collection:
    return run.distinct(items)


def _is_distinct(run: Run, items: Collection) -> Collection:
    return [len({run.key(item) for item in items}) == len(items)]


def has_value(items: Collection) -> bool:
    """Whether there is one item and it is a primitive with a value."""
    if len(items) != 1:
        return False
    item = items[0]
    if isinstance(item, Node):
        return item.value is not None and not isinstance(item.value, (dict, list))
    return True


def _has_value(_: Run, items: Collection) -> Collection:
    return [has_value(items)]


def _get_value(_: Run, items: Collection) -> Collection:
    return [plain(items[0])] if has_value(items) else []


FUNCTIONS: Final = {
    "empty": Function(_empty),
    "count": Function(_count),
    "not": Function(_not),
    "allTrue": Function(_all_true),
    "anyTrue": Function(_any_true),
    "allFalse": Function(_all_false),
    "anyFalse": Function(_any_false),
    "subsetOf": Function(_subset_of, 1, 1),
    "supersetOf": Function(_superset_of, 1, 1),
    "distinct": Function(_distinct),
    "isDistinct": Function(_is_distinct),
    "hasValue": Function(_has_value),
    "getValue": Function(_get_value),
}
