"""Parts of a resource: `_summary` and `_elements`.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fhir_server.definitions import structure
from fhir_server.model import Resource

_SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "Resource encoded in summary mode",
}
_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules"})


def subset(resource: Resource, summary: str, elements: Sequence[str]) -> Resource:
    """Return the asked part of a resource, tagged SUBSETTED; mandatory elements always stay."""
    keep = _kept(resource["resourceType"], summary, elements)
    made = {name: value for name, value in resource.items() if _stays(name, keep, summary)}
    meta = dict(made.get("meta") or {})
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    made["meta"] = meta
    return made


def _stays(name: str, keep: Collection[str] | None, summary: str) -> bool:
    bare = name.removeprefix("_")
    if summary == "data" and bare == "text":
        return False
    return keep is None or bare in _ALWAYS or bare in keep


def _kept(type: str, summary: str, elements: Sequence[str]) -> set[str] | None:
    """Return the JSON names that stay; None for all."""
    known = structure(type).elements
    if elements:
        wanted = {name.partition(".")[0].removeprefix(f"{type}.") for name in elements}
    elif summary == "text":
        wanted = {"text"}
    elif summary == "true":
        wanted = {name for name, element in known.items() if getattr(element, "summary", False)}
    else:
        return None
    wanted |= {name for name, element in known.items() if element.min > 0}
    return {json_name for name in wanted for json_name in _json_names(name, known.get(name))}


def _json_names(name: str, element: Any) -> list[str]:
    if element is None or not element.choice:
        return [name]
    return [name + type[0].upper() + type[1:] for type in element.types]
