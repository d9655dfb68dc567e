"""What can be selected on a type, in the names of FHIR's JSON.

A type is written as a text: a structure of R4 ("Patient", "Observation.component"), `Reference:Patient|Group` for a
reference to these, `*` for any resource, `#system` for the root of a query, `Patient#connection` and `Patient#edge`
for a page of a search. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from fhir_server.definitions import properties, resource_types
from fhir_server.fhirpath.types import is_primitive

SYSTEM: Final = "#system"
ANY: Final = "*"
_LIST, _CONNECTION = "List", "Connection"
_COUNTS: Final = frozenset({"count", "offset", "pagesize", "first", "previous", "next", "last"})


class Shape(NamedTuple):
    """What a field is on one type."""

    role: str  # element | extra | resource | single | list | connection | edges | value
    types: frozenset[str]  # of what it holds; empty: a scalar
    is_list: bool = False
    base: str = ""  # the resource type that a search is for

    @property
    def is_scalar(self) -> bool:
        """Whether it holds a plain value, without fields."""
        return not self.types


VALUE: Final = Shape("value", frozenset())


def shapes(types: Iterable[str], name: str) -> list[Shape]:
    """Return what a field is on each of some types that has it."""
    found: list[Shape] = []
    for type in types:
        every = sorted(resource_types()) if type == ANY else (type,)
        found += [shape for one in every if (shape := shape_of(one, name)) is not None]
    return found


@lru_cache(maxsize=8192)
def shape_of(type: str, name: str) -> Shape | None:
    """Return what a field is on one type; None where the type does not have it."""
    if name == "__typename":
        return VALUE
    if type == SYSTEM:
        return _search(name) or (Shape("single", frozenset({name})) if name in resource_types() else None)
    if "#" in type:
        base, part = type.split("#")
        return _page(base, part, name)
    bare, _, targets = type.partition(":")
    if bare == "Reference" and name == "resource":
        return Shape("resource", _resources(targets.split("|") if targets else ()))
    if bare in resource_types():
        if name == "resourceType":
            return VALUE
        if (searched := _search(name)) is not None:
            return searched
    return _element(bare, name)


def _search(name: str) -> Shape | None:
    if name.endswith(_LIST) and (base := name.removesuffix(_LIST)) in resource_types():
        return Shape("list", frozenset({base}), is_list=True, base=base)
    if name.endswith(_CONNECTION) and (base := name.removesuffix(_CONNECTION)) in resource_types():
        return Shape("connection", frozenset({f"{base}#connection"}), base=base)
    return None


def _page(base: str, part: str, name: str) -> Shape | None:
    if part == "connection":
        edges = Shape("edges", frozenset({f"{base}#edge"}), is_list=True)
        return edges if name == "edges" else VALUE if name in _COUNTS else None
    if name == "resource":
        return Shape("element", frozenset({base}))
    return VALUE if name in ("mode", "score") else None


def _element(type: str, name: str) -> Shape | None:
    if name.startswith("_"):
        plain = _element(type, name[1:]) if name[1:] else None
        return Shape("extra", frozenset({"Element"}), plain.is_list) if plain and plain.is_scalar else None
    try:
        found = properties(type).get(name)
    except KeyError:
        return None
    if found is None:
        return None
    element, own = found
    if is_primitive(own):
        return Shape("element", frozenset(), element.is_list)
    if own == "Reference":
        return Shape("element", frozenset({f"Reference:{'|'.join(element.targets)}"}), element.is_list)
    return Shape("element", frozenset({ANY if own == "Resource" else own}), element.is_list)


def _resources(targets: Iterable[str]) -> frozenset[str]:
    known = frozenset(targets)
    return known if known and known <= resource_types() else frozenset({ANY})
