"""Functions whose arguments are evaluated for each item, or not at all: where, select, iif and the like.

Each takes the compiled input and the syntax trees of the arguments, and returns a compiled expression.
Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#filtering-and-projection
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cmp_to_key
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server.fhirpath.equality import order
from fhir_server.fhirpath.failures import EvaluationError, InvalidExpression
from fhir_server.fhirpath.functions.arguments import one, text_of, truth, value_of
from fhir_server.fhirpath.nodes import Collection, Evaluate, Scope, cast, is_a, to_json
from fhir_server.fhirpath.syntax import Expression, Sign, type_name
from fhir_server.fhirpath.types import TypeName, find_type

Compile: TypeAlias = Callable[[Expression], Evaluate]
Arguments: TypeAlias = tuple[Expression, ...]


class Form(NamedTuple):
    """A function that compiles its own arguments."""

    build: Callable[[Evaluate, Arguments, Compile, bool], Evaluate]  # the last: whether the strict rules hold
    least: int
    most: int


def _each(scope: Scope, items: Collection, evaluate: Evaluate) -> list[Collection]:
    run = scope.run
    found = []
    for place, item in enumerate(items):
        found.append(part := evaluate(Scope(run, [item], place, scope.total)))
        run.spend(1 + len(part))
    return found


def _where(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    criterion = compile(arguments[0])

    def where(scope: Scope) -> Collection:
        items = target(scope)
        results = _each(scope, items, criterion)
        return [item for item, found in zip(items, results, strict=True) if truth(found) is True]

    return where


def _select(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    projection = compile(arguments[0])

    def select(scope: Scope) -> Collection:
        return [item for part in _each(scope, target(scope), projection) for item in part]

    return select


def _all(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    criterion = compile(arguments[0])

    def all_of(scope: Scope) -> Collection:
        return [all(truth(found) is True for found in _each(scope, target(scope), criterion))]

    return all_of


def _exists(target: Evaluate, arguments: Arguments, compile: Compile, strict: bool) -> Evaluate:
    found = _where(target, arguments, compile, strict) if arguments else target

    def exists(scope: Scope) -> Collection:
        return [bool(found(scope))]

    return exists


def _repeat(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    projection = compile(arguments[0])

    def repeat(scope: Scope) -> Collection:
        seen: set[Hashable] = set()
        found: Collection = []
        level = target(scope)
        while level:
            fresh: Collection = []
            for item in (item for part in _each(scope, level, projection) for item in part):
                if (mark := scope.run.key(item)) not in seen:
                    seen.add(mark)
                    fresh.append(item)
            found += fresh
            level = fresh
        return found

    return repeat


def _aggregate(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    step = compile(arguments[0])
    start = compile(arguments[1]) if len(arguments) > 1 else None

    def aggregate(scope: Scope) -> Collection:
        items = target(scope)
        total = start(scope) if start else []
        scope.run.spend(len(items))
        for place, item in enumerate(items):
            total = step(Scope(scope.run, [item], place, total))
        return total

    return aggregate


def _iif(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    criterion, yes = compile(arguments[0]), compile(arguments[1])
    no = compile(arguments[2]) if len(arguments) > 2 else None

    def iif(scope: Scope) -> Collection:
        items = target(scope)
        one(items)
        inner = Scope(scope.run, items, scope.index, scope.total)
        found = value_of(criterion(inner))
        if found is not None and not isinstance(found, bool):
            raise EvaluationError("The criterion of iif() is a boolean.")
        if found:
            return yes(inner)
        return no(inner) if no else []

    return iif


def _trace(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    name = compile(arguments[0])
    projection = compile(arguments[1]) if len(arguments) > 1 else None

    def trace(scope: Scope) -> Collection:
        items = target(scope)
        tell = scope.run.environment.trace
        if tell is not None:
            shown = items
            if projection is not None:
                shown = [item for part in _each(scope, items, projection) for item in part]
            tell(text_of(name(scope)) or "", [to_json(item) for item in shown])
        return items

    return trace


def _asked_type(arguments: Arguments) -> TypeName:
    written = type_name(arguments[0])
    if not written:
        raise InvalidExpression("A type is expected.")
    return find_type(written)


def is_type(target: Evaluate, type: TypeName) -> Evaluate:
    """Compile `target is type`."""

    def is_it(scope: Scope) -> Collection:
        item = one(target(scope))
        return [] if item is None else [is_a(item, type)]

    return is_it


def as_type(target: Evaluate, type: TypeName, strict: bool) -> Evaluate:
    """Compile `target as type`; unless strict it also takes several items, as R4's own expressions expect."""

    def as_it(scope: Scope) -> Collection:
        items = target(scope)
        if strict:
            one(items)
        return [item for item in items if cast(item, type)]

    return as_it


def _is(target: Evaluate, arguments: Arguments, _: Compile, __: bool) -> Evaluate:
    return is_type(target, _asked_type(arguments))


def _as(target: Evaluate, arguments: Arguments, _: Compile, strict: bool) -> Evaluate:
    return as_type(target, _asked_type(arguments), strict)


def _of_type(target: Evaluate, arguments: Arguments, _: Compile, __: bool) -> Evaluate:
    return as_type(target, _asked_type(arguments), False)


def _compare(left: list[tuple[Any, bool]], right: list[tuple[Any, bool]]) -> int:
    for (a, falls), (b, _) in zip(left, right, strict=True):
        if a is None or b is None:
            found = (a is not None) - (b is not None)  # what has no value comes first
        else:
            found = (order(a, b) or 0) * (-1 if falls else 1)
        if found:
            return found
    return 0


def _sort(target: Evaluate, arguments: Arguments, compile: Compile, _: bool) -> Evaluate:
    """`sort(a, -b)`: a minus in front of a key turns its order round."""
    keys: list[tuple[Evaluate | None, bool]] = [(None, False)]
    if arguments:
        keys = []
        for argument in arguments:
            falls = isinstance(argument, Sign) and argument.operator == "-"
            keys.append((compile(argument.operand if isinstance(argument, Sign) else argument), falls))

    def sort(scope: Scope) -> Collection:
        items = target(scope)
        columns = [(_each(scope, items, of) if of else [[item] for item in items], falls) for of, falls in keys]
        rows = [[(one(column[row]), falls) for column, falls in columns] for row in range(len(items))]
        places = sorted(range(len(items)), key=lambda place: cmp_to_key(_compare)(rows[place]))
        return [items[place] for place in places]

    return sort


FORMS: Final = {
    "where": Form(_where, 1, 1),
    "select": Form(_select, 1, 1),
    "all": Form(_all, 1, 1),
    "exists": Form(_exists, 0, 1),
    "repeat": Form(_repeat, 1, 1),
    "aggregate": Form(_aggregate, 1, 2),
    "iif": Form(_iif, 2, 3),
    "trace": Form(_trace, 1, 2),
    "is": Form(_is, 1, 1),
    "as": Form(_as, 1, 1),
    "ofType": Form(_of_type, 1, 1),
    "sort": Form(_sort, 0, 9),
}
