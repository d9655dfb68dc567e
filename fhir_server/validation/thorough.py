"""What `$validate` says beyond what a write refuses: targets of references, rules of severity warning.

A write takes a reference of any type: four of R4's own examples point where their definition does not allow.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/references.html and https://hl7.org/fhir/R4/conformance-rules.html
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from fhir_server.definitions import Constraint, Element, is_structure, properties, resource_types, structure
from fhir_server.errors import Issue
from fhir_server.fhirpath.nodes import referred_type
from fhir_server.model import Resource
from fhir_server.validation.findings import LIMIT
from fhir_server.validation.invariants import by_engine

MOST_PLACES: Final = 100_000  # elements looked at
UNCONTAINED: Final = frozenset(["dom-6"])  # not asked of contained resources, which have no narrative of their own


class Place(NamedTuple):
    """An element on the way through a resource."""

    value: Any
    type: str  # structure name
    where: str
    element: Element | None  # None: a resource
    resource: Resource  # %resource
    root: Resource  # %rootResource
    is_contained: bool


def advice(resource: Resource) -> list[Issue]:
    """Return errors of references and warnings of best practice; 100 at most, of the first 100,000 elements."""
    found: list[Issue] = []
    type = str(resource.get("resourceType"))
    if type not in resource_types():
        return []
    waiting = [Place(resource, type, type, None, resource, resource, False)]
    for _ in range(MOST_PLACES):
        if not waiting or len(found) >= LIMIT:
            break
        place = waiting.pop()
        found += _rules(place)
        if place.type == "Reference" and place.element is not None:
            found += _targets(place, place.element)
        waiting += reversed(list(_below(place)))
    return found[:LIMIT]


def _below(place: Place) -> Iterator[Place]:
    if place.value.__class__ is not dict or not is_structure(place.type):
        return
    known = properties(place.type)
    for key, value in place.value.items():
        if key not in known:
            continue
        element, type = known[key]
        many = value.__class__ is list
        for number, item in enumerate(value if many else [value]):
            if item.__class__ is dict:
                where = f"{place.where}.{element.name}{f'[{number}]' if many else ''}"
                yield _placed(place, item, type, where, element)


def _placed(place: Place, item: dict[str, Any], type: str, where: str, element: Element) -> Place:
    if type != "Resource":
        return Place(item, type, where, element, place.resource, place.root, place.is_contained)
    is_contained = element.name == "contained"
    return Place(
        item, str(item.get("resourceType")), where, None, item, place.root if is_contained else item, is_contained
    )


@cache
def _warnings(type: str) -> tuple[tuple[Constraint, Any], ...]:
    found = structure(type).constraints if is_structure(type) else ()
    return tuple((c, by_engine(c, type)) for c in found if c.severity == "warning")


@cache
def _warnings_at(element: Element, type: str) -> tuple[tuple[Constraint, Any], ...]:
    return tuple((c, by_engine(c, type)) for c in element.constraints if c.severity == "warning")


def _rules(place: Place) -> Iterator[Issue]:
    own = _warnings_at(place.element, place.type) if place.element is not None else ()
    for constraint, holds in (*_warnings(place.type), *own):
        if place.is_contained and constraint.key in UNCONTAINED:
            continue
        if not holds(place.value, (place.resource, place.root, {})):
            yield Issue("invariant", f"{constraint.key}: {constraint.human}", place.where, "warning")


def _targets(place: Place, element: Element) -> Iterator[Issue]:
    """Say where a reference points to a type that its element does not allow, or says another type itself."""
    said, shown = place.value.get("type"), _shown(place)
    if said in resource_types() and shown and said != shown:
        yield Issue("value", f"The type of this reference is not the {shown} that it points to.", place.where)
    type = shown or (said if said in resource_types() else "")
    if type and element.targets and type not in element.targets and "Resource" not in element.targets:
        allowed = ", ".join(sorted(element.targets))
        yield Issue("value", f"This points to a {type}; it may point to: {allowed}.", place.where)


def _shown(place: Place) -> str:
    """Return the type that a reference's text shows, or that of the contained resource it names."""
    reference = place.value.get("reference")
    if reference.__class__ is not str:
        return ""
    if not reference.startswith("#"):
        return referred_type(reference)
    held = place.root.get("contained")
    for resource in held if held.__class__ is list else ():
        if resource.__class__ is dict and f"#{resource.get('id')}" == reference:
            return str(resource.get("resourceType", ""))
    return ""
