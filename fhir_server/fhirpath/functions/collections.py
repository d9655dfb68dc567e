"""Parts of collections and collections put together; children and descendants.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#subsetting
"""

from __future__ import annotations

from typing import Final

from fhir_server.fhirpath.functions.arguments import Function, integer_of, one
from fhir_server.fhirpath.nodes import Collection, Node, Run, children


def _single(_: Run, items: Collection) -> Collection:
    one(items)
    return items


def _first(_: Run, items: Collection) -> Collection:
    return items[:1]


def _last(_: Run, items: Collection) -> Collection:
    return items[-1:]


def _tail(_: Run, items: Collection) -> Collection:
    return items[1:]


def _skip(_: Run, items: Collection, number: Collection) -> Collection:
    count = integer_of(number)
    return [] if count is None else items[max(0, count) :]


def _take(_: Run, items: Collection, number: Collection) -> Collection:
    count = integer_of(number)
    return [] if count is None else items[: max(0, count)]


def union(run: Run, items: Collection, other: Collection) -> Collection:
    """Return the items of both, each once."""
    run.spend(len(items) + len(other))
    return run.distinct([*items, *other])


def _combine(run: Run, items: Collection, other: Collection) -> Collection:
    run.spend(len(items) + len(other))
    return [*items, *other]


def _intersect(run: Run, items: Collection, other: Collection) -> Collection:
    marks = {run.key(item) for item in other}
    return run.distinct(item for item in items if run.key(item) in marks)


def _exclude(run: Run, items: Collection, other: Collection) -> Collection:
    marks = {run.key(item) for item in other}
    return [item for item in items if run.key(item) not in marks]


def _children(run: Run, items: Collection) -> Collection:
    found = [child for item in items if isinstance(item, Node) for child in children(item)]
    run.spend(len(found))
    return found


def _descendants(run: Run, items: Collection) -> Collection:
    found: Collection = []
    level = _children(run, items)
    while level:
        found += level
        level = _children(run, level)
    return found


FUNCTIONS: Final = {
    "single": Function(_single),
    "first": Function(_first),
    "last": Function(_last),
    "tail": Function(_tail),
    "skip": Function(_skip, 1, 1),
    "take": Function(_take, 1, 1),
    "union": Function(union, 1, 1),
    "combine": Function(_combine, 1, 1),
    "intersect": Function(_intersect, 1, 1),
    "exclude": Function(_exclude, 1, 1),
    "children": Function(_children),
    "descendants": Function(_descendants),
}
