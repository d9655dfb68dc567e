"""Resources whose every element can be found again by its identity, the primitives too.

FHIR JSON keeps the extensions of a primitive beside it, as `_name`. A marked resource has that for every primitive,
empty where there are none: an object that is met nowhere else. An expression then leads to one very element.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/json.html#primitive
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

from fhir_server.definitions import is_structure, property, resource_types
from fhir_server.errors import Unprocessable


class Place(NamedTuple):
    """Where an element stands in a marked resource."""

    parent: dict[str, Any]
    type: str  # structure name of the parent, "" when it cannot be known
    key: str
    at: int | None  # its index in a list
    is_primitive: bool


def marked(value: dict[str, Any]) -> dict[str, Any]:
    """Return a marked copy of a resource or element; raise Unprocessable where it is no FHIR JSON."""
    made: dict[str, Any] = {}
    for name in dict.fromkeys(key.removeprefix("_") for key in value):
        item, extra = value.get(name), value.get(f"_{name}")
        if name == "resourceType":
            made[name] = item
        elif isinstance(item, dict):
            made[name] = marked(item)
        elif isinstance(item, list) and item and all(isinstance(one, dict) for one in item):
            made[name] = [marked(one) for one in item]
        elif isinstance(item, list) or isinstance(extra, list):
            made[name], made[f"_{name}"] = _marked_list(item, extra)
        else:
            made[name], made[f"_{name}"] = item, _mark(extra)
    return made


def _marked_list(item: Any, extra: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    values, extras = ([] if part is None else part for part in (item, extra))
    if not isinstance(values, list) or not isinstance(extras, list):
        raise _odd()
    pairs = list(zip_longest(values, extras))
    if any(isinstance(value, (dict, list)) for value, _ in pairs):
        raise _odd()
    return [value for value, _ in pairs], [_mark(more) for _, more in pairs]


def _mark(extra: Any) -> dict[str, Any]:
    if extra is not None and not isinstance(extra, dict):
        raise _odd()
    return marked(extra or {})


def _odd() -> Unprocessable:
    return Unprocessable("A value that the patch is about is no FHIR JSON.")


def unmarked(value: dict[str, Any]) -> dict[str, Any]:
    """Return the resource without its marks, and without elements that became empty."""
    made: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            kept: Any = unmarked(item)
        elif isinstance(item, list) and key.startswith("_"):
            kept = [unmarked(one) or None for one in item]
            kept = kept if any(kept) else None
        elif isinstance(item, list) and f"_{key}" in value:
            kept = item if any(one is not None for one in item) else None
        elif isinstance(item, list):
            kept = [one for one in map(unmarked, item) if one]
        else:
            kept = item
        if kept is not None and kept != {} and kept != []:
            made[key] = kept
    return made


def places(root: dict[str, Any]) -> dict[int, Place]:
    """Return the place of every element below the root of a marked resource, by identity."""
    found: dict[int, Place] = {}
    waiting = [(root, str(root.get("resourceType", "")))]
    while waiting:
        parent, type = waiting.pop()
        for key, item in parent.items():
            if not isinstance(item, (dict, list)) or (isinstance(item, list) and f"_{key}" in parent):
                continue
            name, is_primitive = key.removeprefix("_"), key.startswith("_")
            below = "Element" if is_primitive else type_of(type, name)
            for index, one in enumerate(item) if isinstance(item, list) else ((None, item),):
                found[id(one)] = Place(parent, type, name, index, is_primitive)
                waiting.append((one, str(one.get("resourceType", below))))
    return found


def type_of(parent: str, key: str) -> str:
    """Return the type that a JSON key has in a structure; "" when R4 knows no such thing."""
    known = property(parent, key) if parent in resource_types() or is_structure(parent) else None
    return known[1] if known else ""
