"""Binary operators on compiled expressions.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from fhir_server.fhirpath import arithmetic
from fhir_server.fhirpath.equality import equal_collections, equivalent_collections, order
from fhir_server.fhirpath.functions.arguments import one, result, text_of, truth, value_of
from fhir_server.fhirpath.functions.collections import union
from fhir_server.fhirpath.nodes import Collection, Evaluate, Scope


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    def both(scope: Scope) -> Collection:
        a = truth(left(scope))
        if a is False:
            return [False]
        b = truth(right(scope))
        return [False] if b is False else [True] if a and b else []

    return both


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    def either(scope: Scope) -> Collection:
        a = truth(left(scope))
        if a:
            return [True]
        b = truth(right(scope))
        return [True] if b else [False] if a is False and b is False else []

    return either


def _xor(left: Evaluate, right: Evaluate) -> Evaluate:
    def only_one(scope: Scope) -> Collection:
        a, b = truth(left(scope)), truth(right(scope))
        return [] if a is None or b is None else [a != b]

    return only_one


def _implies(left: Evaluate, right: Evaluate) -> Evaluate:
    def implies(scope: Scope) -> Collection:
        a = truth(left(scope))
        if a is False:
            return [True]
        b = truth(right(scope))
        return [True] if b else [False] if a and b is False else []

    return implies


def _equal(left: Evaluate, right: Evaluate, *, wanted: bool) -> Evaluate:
    def equal(scope: Scope) -> Collection:
        a, b = left(scope), right(scope)
        found = equal_collections(a, b, scope.run)
        return [] if found is None else [found is wanted]

    return equal


def _equivalent(left: Evaluate, right: Evaluate, *, wanted: bool) -> Evaluate:
    def equivalent(scope: Scope) -> Collection:
        return [equivalent_collections(left(scope), right(scope), scope.run) is wanted]

    return equivalent


def _ordered(left: Evaluate, right: Evaluate, *, allowed: tuple[int, ...]) -> Evaluate:
    def ordered(scope: Scope) -> Collection:
        a, b = one(left(scope)), one(right(scope))
        if a is None or b is None:
            return []
        found = order(a, b)
        return [] if found is None else [found in allowed]

    return ordered


def _in(left: Evaluate, right: Evaluate) -> Evaluate:
    def is_in(scope: Scope) -> Collection:
        item = one(left(scope))
        if item is None:
            return []
        run, others = scope.run, right(scope)
        run.spend(len(others))
        mark = run.key(item)
        return [any(run.key(other) == mark for other in others)]

    return is_in


def _contains(left: Evaluate, right: Evaluate) -> Evaluate:
    return _in(right, left)


def _union(left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda scope: union(scope.run, left(scope), right(scope))


def _concatenate(left: Evaluate, right: Evaluate) -> Evaluate:
    def concatenate(scope: Scope) -> Collection:
        a, b = text_of(left(scope)), text_of(right(scope))
        return [arithmetic.text((a or "") + (b or ""))]

    return concatenate


def _calculate(left: Evaluate, right: Evaluate, *, operator: str) -> Evaluate:
    def calculate(scope: Scope) -> Collection:
        a, b = value_of(left(scope)), value_of(right(scope))
        return [] if a is None or b is None else result(arithmetic.calculate(operator, a, b))

    return calculate


OPERATORS: Final[Mapping[str, Callable[[Evaluate, Evaluate], Evaluate]]] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
    "=": partial(_equal, wanted=True),
    "!=": partial(_equal, wanted=False),
    "~": partial(_equivalent, wanted=True),
    "!~": partial(_equivalent, wanted=False),
    "<": partial(_ordered, allowed=(-1,)),
    "<=": partial(_ordered, allowed=(-1, 0)),
    ">": partial(_ordered, allowed=(1,)),
    ">=": partial(_ordered, allowed=(1, 0)),
    "in": _in,
    "contains": _contains,
    "|": _union,
    "&": _concatenate,
    **{name: partial(_calculate, operator=name) for name in ("+", "-", "*", "/", "div", "mod")},
}
