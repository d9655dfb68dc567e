"""The search parameters of R4 and our own, by resource type.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Final

from fhir_server.definitions import Element, SearchParameter, codes, resource_types, search_parameters, structure
from fhir_server.search.own import OWN
from fhir_server.search.query import Parameter

# Where R4's own expressions name a type that FHIR does not have.
_ERRATA: Final = {"value.as(DateTime) | value.as(Period)": "value.as(dateTime) | value.as(Period)"}
# Where R4 gives two components of a composite each other's expression, by the definition of each; R5 has them right.
_SWAPPED: Final = {
    "http://hl7.org/fhir/SearchParameter/DocumentReference-relatesto": "target",
    "http://hl7.org/fhir/SearchParameter/DocumentReference-relation": "code",
}
_MEDIA_TYPES: Final = "http://hl7.org/fhir/ValueSet/mimetypes"
_COMMON: Final = frozenset({"Resource", "DomainResource"})
_ONLY: Final = re.compile(r"\.where\(resolve\(\) is ([A-Za-z]+)\)$")
_CAST: Final = re.compile(r"^\(([A-Za-z.]+) as Reference\)$")
_START: Final = re.compile(r"\(*\s*([A-Z][A-Za-z]*)\b")


def _alternatives(expression: str) -> list[str]:
    """The parts of a union, split at bars that stand in no parentheses or quotes."""
    parts, depth, quoted = [""], 0, False
    for letter in expression:
        quoted ^= letter == "'"
        depth += (letter == "(") - (letter == ")") if not quoted else 0
        if letter == "|" and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def own_part(expression: str, type: str) -> str:
    """Cut a union over types to what concerns one type; "" when nothing does."""
    kept = []
    for part in _alternatives(expression):
        start = _START.match(part)
        if start is None or start[1] == type or start[1] in _COMMON:
            kept.append(part)
    return " | ".join(kept)


@cache
def _by_url() -> Mapping[str, SearchParameter]:
    return {definition.url: definition for definition in search_parameters()}


def _component(url: str, expression: str, type: str) -> Parameter:
    definition = _by_url()[url]
    right = _SWAPPED.get(url) or _ERRATA.get(expression, expression)
    return Parameter(definition.code, definition.type, type, right, definition.target)


def _parameter(definition: SearchParameter, type: str) -> Parameter | None:
    expression = own_part(definition.expression, type)
    if not expression:
        return None
    components = tuple(_component(url, part, type) for url, part in definition.components)
    return Parameter(definition.code, definition.type, type, expression, _targets(definition, expression), components)


def _targets(definition: SearchParameter, expression: str) -> tuple[str, ...]:
    """The types that this resource type's own elements may point to: a shared definition names more."""
    reached: set[str] = set()
    for part in _alternatives(expression):
        only = _ONLY.search(part)
        own = {only[1]} if only else _element_targets(_CAST.sub(r"\1", part))
        if not own or "Resource" in own:
            return definition.target
        reached |= own
    return tuple(target for target in definition.target if target in reached) or definition.target


def _element_targets(path: str) -> set[str]:
    """What the element at the end of a plain path may point to; nothing where the path is not that plain."""
    element = _element(path)
    return set(element.targets) if element else set()


def _element(path: str) -> Element | None:
    """The element at the end of a plain path."""
    first, *names = path.split(".")
    if first not in resource_types() or not all(name.isalnum() for name in names):
        return None
    types: tuple[str, ...] = (first,)
    element = None
    for name in names:
        found = [structure(type).elements.get(name) for type in types]
        element = next((one for one in found if one is not None), None)
        if element is None:
            return None
        types = element.types
    return element


@cache
def placed_components(composite: Parameter) -> tuple[Parameter, ...]:
    """Return the components of a composite with expressions that start at the resource, as those of others do."""
    placed = []
    for part in composite.components:
        inside = _alternatives(part.expression)
        whole = [f"{start}.{path}" for start in _alternatives(composite.expression) for path in inside]
        placed.append(replace(part, expression=" | ".join(whole)))
    return tuple(placed)


@cache
def implied_codes(parameter: Parameter) -> frozenset[tuple[str, str]]:
    """Return the (system, code) pairs that a parameter over elements of type `code` can find; none for any other.

    Such an element holds no system: its required value set says which one a code is of
    (https://hl7.org/fhir/R4/search.html#token: for a code the system is implicit).
    """
    pairs: set[tuple[str, str]] = set()
    for part in _alternatives(parameter.expression):
        element = _element(part)
        if element is None or element.types != ("code",) or element.strength != "required":
            return frozenset()
        pairs |= codes(element.binding) or frozenset()
    return frozenset(pairs)


@cache
def holds_media_types(parameter: Parameter) -> bool:
    """Whether all that a parameter finds are media types, which are below each other by how they are written.

    Source: https://hl7.org/fhir/R4/search.html#mimetype
    """
    found = [_element(part) for part in _alternatives(parameter.expression)]
    return all(one is not None and one.binding == _MEDIA_TYPES for one in found)


@cache
def parameters_of(type: str) -> Mapping[str, Parameter]:
    """Return the parameters of a resource type by code, those of every type among them.

    Not among them is what has no expression to find values by: _text, _content, _list, _has, _type, _query and
    _filter are asked in other ways, and Patient's age and birthOrderBoolean say nothing. An unknown type has none.
    """
    if type not in resource_types():
        return MappingProxyType({})
    found: dict[str, Parameter] = {}
    for definition in (*search_parameters(), *OWN):
        if type in definition.base or "Resource" in definition.base or "DomainResource" in definition.base:
            made = _parameter(definition, type)
            if made is not None:
                found[made.code] = made
    return MappingProxyType(dict(sorted(found.items())))


def parameter(type: str, code: str) -> Parameter | None:
    """Return a parameter of a resource type; None when R4 has none of that code."""
    return parameters_of(type).get(code)
