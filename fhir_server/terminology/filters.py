"""The filters of an include as conditions on concepts.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from fhir_server.errors import BadRequest, FhirError, TooCostly
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.patterns import fits
from fhir_server.terminology.codesystem import CodeSystem, Concept
from fhir_server.terminology.valueset import Filter

Condition: TypeAlias = Callable[[Concept], bool]

OPERATORS: Final = ("=", "is-a", "descendent-of", "is-not-a", "regex", "in", "not-in", "generalizes", "exists")
NEGATIVE: Final = frozenset({"is-not-a", "not-in"})
"""Operators that a concept obeys by what is not known of it; `exists` with false is another."""

_CONCEPT: Final = frozenset({"concept", "code"})
_MOST_VALUES: Final = 10_000
_MOST_COST: Final = 5_000_000  # characters of the pattern times characters of all texts
_REPETITION: Final = re.compile(r"[*+?{]")


def condition(system: CodeSystem, rule: Filter) -> Condition:
    """Return what a filter asks of a concept.

    Raises:
        BadRequest: The operator is not one of R4's, or does not fit its property.
        TooCostly: A list of values is longer than 10,000; a regular expression takes too long (when it runs).
    """
    property, op, value = rule
    if op in ("is-a", "descendent-of", "is-not-a", "generalizes"):
        return _related(system, rule)
    if op in ("in", "not-in"):
        values = frozenset(part.strip() for part in value.split(","))
        if len(values) > _MOST_VALUES:
            raise TooCostly("A filter of the value set lists more than 10,000 values. List the codes as concepts.")
        wanted = op == "in"
        return lambda concept: any(v in values for v in system.values(concept, property)) is wanted
    if op == "=":
        return lambda concept: value in system.values(concept, property)
    if op == "exists":
        if value not in ("true", "false"):
            raise BadRequest("A filter with the operator exists takes true or false.")
        return lambda concept: bool(_said(system, concept, property)) is (value == "true")
    if op == "regex":
        return _Regex(system, property, value)
    raise BadRequest(f"R4 does not define the operator of a filter of the value set. It has {', '.join(OPERATORS)}.")


def _related(system: CodeSystem, rule: Filter) -> Condition:
    if rule.property not in _CONCEPT:
        raise BadRequest(f"A filter with the operator {rule.op} takes the property concept.")
    related = system.above(rule.value) if rule.op == "generalizes" else system.below(rule.value)
    if rule.op == "descendent-of":
        start = system.find(rule.value)
        related = related - {start.code} if start else related
    wanted = rule.op != "is-not-a"
    return lambda concept: (concept.code in related) is wanted


def _said(system: CodeSystem, concept: Concept, property: str) -> Sequence[object]:
    """Return the values of a property that the concept itself has: a default does not count."""
    if property in ("inactive", "notSelectable"):
        return [given for given in concept.properties if given.code == property]
    return system.values(concept, property)


class _Regex:
    """Whether a property's value is one that a regular expression takes whole, over all concepts in bounded time."""

    def __init__(self, system: CodeSystem, property: str, pattern: str) -> None:
        self._system, self._property, self._pattern = system, property, pattern
        # One repetition at most takes linear time; for others what they may cost in sum is bounded.
        self._cost = len(pattern) if len(_REPETITION.findall(pattern)) > 1 else 0
        self._left = _MOST_COST

    def __call__(self, concept: Concept) -> bool:
        """Whether some value of the concept fits."""
        return any(self._fits(text) for text in self._system.values(concept, self._property))

    def _fits(self, text: str) -> bool:
        self._left -= self._cost * len(text)
        if self._left < 0:
            raise _refused()
        return matches(text, self._pattern)


def matches(text: str, pattern: str) -> bool:
    """Return whether a regular expression takes the whole text, in bounded time.

    Raises:
        TooCostly: It cannot be run within its bounds.
    """
    try:
        return fits(text, pattern)
    except EvaluationError:
        raise _refused() from None


def _refused() -> FhirError:
    return TooCostly(
        "A regular expression of the value set is not one that can be run in bounded time. "
        "Use one without look-around, back references and large repetitions."
    )


def is_certain(rule: Filter) -> bool:
    """Whether a concept that obeys the rule in a part of the system obeys it in the whole, too."""
    return rule.op not in NEGATIVE and not (rule.op == "exists" and rule.value == "false")
