"""Parts of a resource: `_summary` and `_elements`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, Union

from fhir_server.definitions import Element, property
from fhir_server.model import Resource

_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}
_ALWAYS: Final = frozenset({"resourceType", "id", "meta", "implicitRules"})

Tree: TypeAlias = dict[str, Union["Tree", None]]
"""Names of elements that stay, with what stays of each; None: all of it."""


def subset(resource: Resource, summary: str, elements: Sequence[str]) -> Resource:
    """Return the asked part of a resource, tagged SUBSETTED; mandatory elements always stay.

    `_elements` counts before `_summary`; its names may go down: `name.family`, `component.code`.
    """
    made = _part(resource, summary, elements)
    meta = dict(made.get("meta") or {})
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    made["meta"] = meta
    return made


def is_part(resource: Resource) -> bool:
    """Whether a resource says that it is what `_summary` or `_elements` left of one.

    R4 has the tag so that such a part does not overwrite the whole (https://hl7.org/fhir/R4/search.html#elements).
    """
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(
        isinstance(tag, dict) and all(tag.get(name) == _SUBSETTED[name] for name in ("system", "code")) for tag in tags
    )


def _part(resource: Resource, summary: str, elements: Sequence[str]) -> Resource:
    type = resource["resourceType"]
    if elements:
        return _cut(resource, type, _tree(type, elements), is_root=True)
    if summary == "text":
        return _cut(resource, type, {"text": None}, is_root=True)
    if summary == "true":
        return _summarised(resource, type, is_root=True)
    if summary == "data":
        return {name: value for name, value in resource.items() if name not in ("text", "_text")}
    return dict(resource)


def _tree(type: str, elements: Sequence[str]) -> Tree:
    made: Tree = {}
    for path in elements:
        at = made
        *above, last = path.removeprefix(f"{type}.").split(".")
        for name in above:
            below = at.setdefault(name, {})
            if below is None:  # all of it is asked for already
                break
            at = below
        else:
            at[last] = None
    return made


def _cut(value: dict[str, Any], type: str, keep: Tree, *, is_root: bool = False) -> dict[str, Any]:
    """Return what stays of an element; a choice may be named with its type or without."""
    made = {}
    for key, item in value.items():
        name = key.removeprefix("_")
        found = _property(type, name)
        wanted = name if name in keep else found[0].name if found else ""
        if wanted in keep and (is_root or wanted):
            below = keep[wanted]
            if below is None or found is None or key != name:
                made[key] = item
            else:
                made[key] = _each(item, lambda one, t=found[1], b=below: _cut(one, t, b))  # type: ignore[misc]
        elif (is_root and name in _ALWAYS) or (found is not None and found[0].min > 0):
            made[key] = item
    return _filled(made)


def _summarised(value: dict[str, Any], type: str, *, is_root: bool = False) -> dict[str, Any]:
    """Return the elements of the summary, also below elements that have children of their own."""
    made = {}
    for key, item in value.items():
        name = key.removeprefix("_")
        found = _property(type, name)
        if found is not None and (found[0].summary or found[0].min > 0):
            is_backbone = "." in found[1] and key == name
            made[key] = _each(item, lambda one, t=found[1]: _summarised(one, t)) if is_backbone else item  # type: ignore[misc]
        elif (is_root and name in _ALWAYS) or (not is_root and name in ("id", "modifierExtension")):
            made[key] = item
    return _filled(made)


def _filled(element: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in element.items() if value not in ({}, [])}


def _property(type: str, key: str) -> tuple[Element, str] | None:
    try:
        return property(type, key)
    except KeyError:  # a type without a structure of its own, as in `contained`
        return None


def _each(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change each object of a value; those of which nothing stays are left out, since FHIR has no empty ones."""
    if isinstance(value, list):
        return [one for one in (change(one) if isinstance(one, dict) else one for one in value) if one != {}]
    return change(value) if isinstance(value, dict) else value
