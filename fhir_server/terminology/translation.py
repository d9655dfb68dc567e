"""What a concept maps to by concept maps, in either direction.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/conceptmap.html and
https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from fhir_server.definitions import terminology as r4
from fhir_server.errors import TooCostly
from fhir_server.model import Resource
from fhir_server.terminology.library import Library
from fhir_server.terminology.valueset import split

MOST_MATCHES: Final = 1_000
_MOST_MAPS: Final = 10  # that refer on to each other

UNMAPPED: Final = frozenset({"unmatched", "disjoint"})
"""Equivalences that say that there is no translation."""

# Equivalences say how the target stands to the source (https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html).
_REVERSED: Final = {"wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes"}


class Ask(NamedTuple):
    """What is to be translated."""

    system: str
    code: str
    version: str = ""
    target_system: str = ""  # "" any
    is_reverse: bool = False
    dependencies: Mapping[str, frozenset[tuple[str, str]]] | None = None  # property -> (system, code) that are known


class Translation(NamedTuple):
    """One answer of a map."""

    equivalence: str
    concept: Mapping[str, Any]  # Coding
    products: tuple[Mapping[str, Any], ...]  # parts of `match.product`
    source: str  # canonical url of the map


async def translate(library: Library, map: Resource, ask: Ask, path: tuple[str, ...] = ()) -> list[Translation]:
    """Return what one map says about a concept; maps that it refers to for what it does not map answer too.

    Raises:
        TooCostly: It says more than 1,000 things.
    """
    url = str(map.get("url", ""))
    found: list[Translation] = []
    for group in map.get("group", ()):
        library.spend(20 + len(group.get("element", ())))
        one, other = ("target", "source") if ask.is_reverse else ("source", "target")
        if not _is_of(group, one, ask) or (ask.target_system and split(group.get(other, ""))[0] != ask.target_system):
            continue
        if ask.is_reverse:
            found += _backward(group, ask.code, url)
            continue
        elements = [element for element in group.get("element", ()) if element.get("code") == ask.code]
        found += [made for element in elements for made in _forward(group, element, ask, url)]
        if not elements and "unmapped" in group:
            found += await _unmapped(library, group, ask, url, path)
        if len(found) > MOST_MATCHES:
            raise TooCostly("The concept map says more than 1,000 things about the code. Name a target system.")
    return found


def _is_of(group: Mapping[str, Any], name: str, ask: Ask) -> bool:
    system, of_url = split(group.get(name, ""))
    version = group.get(f"{name}Version", "") or of_url
    return (not system or system == ask.system) and (not version or not ask.version or version == ask.version)


def _forward(group: Mapping[str, Any], element: Mapping[str, Any], ask: Ask, url: str) -> Iterator[Translation]:
    for target in element.get("target", ()):
        if _applies(target.get("dependsOn", ()), ask.dependencies):
            version = group.get("targetVersion", "")
            concept = _coding(group.get("target", ""), version, target) if "code" in target else {}
            products = tuple(_product(given) for given in target.get("product", ()))
            yield Translation(target.get("equivalence", "relatedto"), concept, products, url)


def _backward(group: Mapping[str, Any], code: str, url: str) -> Iterator[Translation]:
    for element in group.get("element", ()):
        for target in element.get("target", ()):
            if target.get("code") == code and "code" in element:
                equivalence = target.get("equivalence", "relatedto")
                concept = _coding(group.get("source", ""), group.get("sourceVersion", ""), element)
                yield Translation(_REVERSED.get(equivalence, equivalence), concept, (), url)


async def _unmapped(
    library: Library, group: Mapping[str, Any], ask: Ask, url: str, path: tuple[str, ...]
) -> list[Translation]:
    """Return what a group says of codes that it does not list (https://hl7.org/fhir/R4/conceptmap.html#unmapped)."""
    rule = group["unmapped"]
    target, version = group.get("target", ""), group.get("targetVersion", "")
    if rule.get("mode") == "provided":
        return [Translation("equal", _coding(target, version, {"code": ask.code}), (), url)]
    if rule.get("mode") == "fixed":
        return [Translation("relatedto", _coding(target, version, rule), (), url)]
    other = await library.concept_map(rule.get("url", ""))
    if other is None or other.get("url") in path or len(path) > _MOST_MAPS:
        return []
    return await translate(library, other, ask, (*path, url))


def _applies(depends: Sequence[Mapping[str, Any]], known: Mapping[str, frozenset[tuple[str, str]]] | None) -> bool:
    """Whether what a target depends on is so; without dependencies in the question, all targets are told."""
    if known is None:
        return True
    return all(
        any(
            given.get("value") == code and given.get("system", system) == system
            for system, code in known.get(given.get("property", ""), ())
        )
        for given in depends
    )


def _coding(system: str, version: str, data: Mapping[str, Any]) -> dict[str, Any]:
    url, of_url = split(system)
    made = {"system": url, "version": version or of_url, "code": data.get("code"), "display": data.get("display")}
    return {key: value for key, value in made.items() if value}


def _product(given: Mapping[str, Any]) -> dict[str, Any]:
    concept = _coding(given.get("system", ""), "", {**given, "code": given.get("value")})
    return {"element": given.get("property", ""), "concept": concept}


@cache
def _own(name: str) -> Mapping[str, tuple[str, ...]]:
    """Return, by the system of their groups' source (or target), the urls of R4's own maps."""
    found: dict[str, dict[str, None]] = {}
    for map in r4.every("ConceptMap"):
        for group in map.get("group", ()):
            found.setdefault(split(group.get(name, ""))[0], {})[map["url"]] = None
    return {system: tuple(urls) for system, urls in found.items()}


async def maps_of(library: Library, ask: Ask) -> list[Resource]:
    """Return the maps that have groups from (or, in reverse, to) a system: stored ones, then R4's own."""
    name = "target" if ask.is_reverse else "source"
    stored = await library.stored_maps(f"{name}-system", ask.system)
    found = {map.get("url", ""): map for map in reversed(stored) if map.get("status") != "retired"}
    for url in _own(name).get(ask.system, ()):
        if url not in found and (map := await library.concept_map(url)) is not None:
            found[url] = map
    return list(found.values())


def says(map: Resource, name: str) -> bool:
    """Whether a map says which value set its source (or target) is."""
    return f"{name}Canonical" in map or f"{name}Uri" in map


def joins(map: Resource, name: str, value_set: str) -> bool:
    """Whether a map's source (or target) is a value set."""
    wanted = split(value_set)[0]
    return any(split(map[key])[0] == wanted for key in (f"{name}Canonical", f"{name}Uri") if key in map)
