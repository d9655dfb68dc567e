"""The invariants of R4, run where they stand: the common ones written in Python, the others by FHIRPath.

An invariant holds when its result is true. One that cannot be evaluated on an element, or whose result is empty,
is broken, but for those in `UNDECIDED`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

from fhir_server import fhirpath
from fhir_server.definitions import Constraint, Element, Structure
from fhir_server.validation import rules
from fhir_server.validation.findings import Context, Problem

Holds: TypeAlias = Callable[[Any, Context], bool]

ELSEWHERE: Final = frozenset(["ele-1", "dom-2", "dom-3", "dom-4", "dom-5", "txt-1", "txt-2"])
"""Checked by the structure itself, `contained` and `narrative`."""

UNRUNNABLE: Final[Mapping[str, str]] = {}
"""Invariants of R4 whose expression cannot be run, by key, with the reason."""

UNDECIDED: Final[Mapping[str, str]] = {
    "bdl-8": "an entry without fullUrl",
    "mdd-1": "dates of different precision cannot be ordered",
    "per-1": "dates of different precision cannot be ordered",
    "ras-2": "a prediction without probability",
    "ref-1": "a Reference with a display or an identifier alone",
    "rng-2": "quantities of units that cannot be compared",
    "task:inv-1": "dates of different precision cannot be ordered",
}
"""Invariants that hold also where their result is empty, with the case that R4 allows and that gives no result."""

GUARDS: Final = {"obs-7": "component"}
"""Elements without which an invariant holds, where its expression does not say it first."""

# Where the element is absent these are true or empty, so the rest need not run.
_VACUOUS: Final = (
    re.compile(r"(\w+)\.empty\(\)(?: or (?!.*\b(?:xor|implies)\b).*)?"),
    re.compile(r"(\w+)\.exists\(\) implies (?!.*\bimplies\b).*"),
    re.compile(
        r"(\w+)\.(?:hasValue|startsWith|contains)\('?[#/_a-z]*'?\)\.not\(\)(?: or (?!.*\b(?:xor|implies)\b).*)?"
    ),
)


class Rule(NamedTuple):
    """An invariant that can be run."""

    holds: Holds
    problem: Problem
    guard: str  # element without which it holds; "" where there is none


def of_structure(owner: Structure) -> Iterator[Rule]:
    """Yield the rules of a structure that nothing else checks."""
    for constraint in owner.constraints:
        if constraint.severity == "error" and constraint.key not in ELSEWHERE | UNRUNNABLE.keys():
            yield _rule(constraint, owner.name, guard(constraint, owner))


def of_element(owner: Structure, element: Element) -> Iterator[Rule]:
    """Yield the rules that stand at an element beside those of its type."""
    for constraint in element.constraints:
        if constraint.severity == "error" and constraint.key not in ELSEWHERE | UNRUNNABLE.keys():
            yield _rule(constraint, "" if element.choice else element.types[0], "")


def guard(constraint: Constraint, owner: Structure) -> str:
    """Return the element of the structure without which an invariant holds; "" when there is none such."""
    if constraint.key in GUARDS:
        return GUARDS[constraint.key]
    matches = (pattern.fullmatch(constraint.expression) for pattern in _VACUOUS)
    return next((found[1] for found in matches if found and found[1] in owner.elements), "")


def _rule(constraint: Constraint, type: str, guard: str) -> Rule:
    native = rules.NATIVE.get(constraint.key)
    problem = ("", "invariant", f"{constraint.key}: {constraint.human}")
    if native is None:
        return Rule(by_engine(constraint, type), problem, guard)
    return Rule(_first(native, constraint, type), problem, guard)


def _first(native: Callable[[Any, Context], bool | None], constraint: Constraint, type: str) -> Holds:
    """Return the native rule, with the engine behind it where it does not decide."""
    if constraint.key not in rules.PARTIAL:
        return cast(Holds, native)
    engine = by_engine(constraint, type)

    def holds(element: Any, cx: Context) -> bool:
        answer = native(element, cx)
        return engine(element, cx) if answer is None else answer

    return holds


def by_engine(constraint: Constraint, type: str) -> Holds:
    """Return the invariant as FHIRPath runs it."""
    compiled = fhirpath.compile(constraint.expression, type)

    key = f"{type.lower()}:{constraint.key}" if constraint.key.startswith("inv-") else constraint.key
    broken: tuple[list[Any], ...] = ([False],) if key in UNDECIDED else ([False], [])

    def holds(element: Any, cx: Context) -> bool:
        try:
            return compiled(element, root=cx[1], resource=cx[0]) not in broken
        except fhirpath.EvaluationError:
            return False

    return holds
