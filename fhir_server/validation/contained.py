"""The rules of contained resources: dom-2 to dom-5.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/domainresource.html#invs
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fhir_server.definitions import properties, structure
from fhir_server.model import Resource
from fhir_server.validation.findings import Context, Problem

DOM_3: Final[list[Problem]] = [
    (
        "",
        "invariant",
        "dom-3: If the resource is contained in another resource, it SHALL be referred to from elsewhere in the "
        "resource or SHALL refer to the containing resource.",
    )
]
_DOM_2: Final[Problem] = ("", "invariant", "dom-2: A contained resource SHALL NOT contain nested resources.")
_DOM_4: Final[Problem] = (
    "",
    "invariant",
    "dom-4: A contained resource SHALL NOT have a meta.versionId or a meta.lastUpdated.",
)
_DOM_5: Final[Problem] = ("", "invariant", "dom-5: A contained resource SHALL NOT have a security label.")
_LINKS: Final = frozenset(["uri", "url", "canonical", "oid", "uuid"])  # canonical and the others are kinds of uri


def broken_rules(resource: Resource) -> list[Problem]:
    """Return which of dom-2, dom-4 and dom-5 a contained resource breaks."""
    found = []
    if "contained" in resource:
        found.append(_DOM_2)
    meta = resource.get("meta")
    if meta.__class__ is dict:
        if not meta.keys().isdisjoint(("versionId", "_versionId", "lastUpdated", "_lastUpdated")):
            found.append(_DOM_4)
        if "security" in meta:
            found.append(_DOM_5)
    return found


def unreferenced(items: list[Any], cx: Context) -> list[Resource]:
    """Return the contained resources that nothing refers to and that do not refer to their container (dom-3).

    One without an id is not among them: the expression of dom-3 then has no result.
    """
    container = cx[0]
    named = [x for x in items if x.__class__ is dict and x.get("id").__class__ is str]
    known = set(_references(container))
    left = [x for x in named if f"#{x['id']}" not in known and "#" not in _references(x)]
    if left:
        known.update(_links(container))
    return [x for x in left if f"#{x['id']}" not in known and "#" not in _links(x)]


def _references(resource: Resource) -> Iterator[str]:
    """Yield the text of every element that is called `reference`."""
    waiting: list[Any] = [resource]
    while waiting:
        value = waiting.pop()
        if value.__class__ is dict:
            reference = value.get("reference")
            if reference.__class__ is str:
                yield reference
            waiting += value.values()
        elif value.__class__ is list:
            waiting += value


def _links(resource: Resource) -> Iterator[str]:
    """Yield the text of every element whose type is a kind of uri."""
    waiting: list[tuple[str, Any]] = [(str(resource.get("resourceType")), resource)]
    while waiting:
        type, value = waiting.pop()
        if value.__class__ is list:
            waiting += [(type, item) for item in value]
        elif value.__class__ is str and type in _LINKS:
            yield value
        elif value.__class__ is dict:
            waiting += _below(str(value.get("resourceType")) if type == "Resource" else type, value)


def _below(type: str, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    try:
        known = properties(type)
    except KeyError:
        return
    for key, item in value.items():
        if key in known:
            yield known[key][1], item
        elif key.startswith("_") and key[1:] in known and structure(known[key[1:]][1]).kind == "primitive-type":
            yield known[key[1:]][1], item
