"""`ConceptMap/$translate`: what a code of one code system is in another.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/conceptmap-operation-translate.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from fhir_server.errors import BadParameter
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, OperationCall
from fhir_server.model import Resource
from fhir_server.operations.inputs import Inputs, flag
from fhir_server.operations.terminology_inputs import (
    Code,
    answered,
    bounded,
    canonical,
    given_resource,
    instance,
    needed,
    of_coding,
    opened,
    parameter,
    read_call,
    read_code,
    read_codings,
    unknown,
)
from fhir_server.terminology.library import Library
from fhir_server.terminology.translation import UNMAPPED, Ask, Translation, joins, maps_of, says, translate

KNOWN: Final = (
    "url", "conceptMap", "conceptMapVersion", "code", "system", "version", "source", "coding", "codeableConcept",
    "target", "targetsystem", "reverse",
)  # fmt: skip

_MOST_DEPENDENCIES: Final = 50


class Translating:
    """Answers `$translate`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Translate a code by one map, or by all that are between the code systems or value sets named.

        Raises:
            BadRequest: No code with its system is named.
            NotFound: Nobody has loaded the map.
        """
        call, dependencies = take_dependencies(call)
        inputs = read_call(call, KNOWN)
        codes = read_codings(inputs, "codeableConcept", "version")
        if codes is None:
            one = read_code(inputs, coding="coding", code="code", version="version")
            codes = [one] if one else []
        if not codes or not all(code.system for code in codes):
            raise needed("Name the code: system and code, coding or codeableConcept.")
        resource = await instance(self._hub, call, inputs) or given_resource(
            self._hub, inputs, "conceptMap", "ConceptMap"
        )
        found: list[Translation] = []
        async with opened(self._hub, call, [resource]) as library:
            for code in codes:
                ask = Ask(
                    code.system,
                    code.code,
                    code.version,
                    bounded(inputs, "targetsystem"),
                    flag(inputs, "reverse"),
                    dependencies,
                )
                for map in await _maps(library, inputs, resource, ask):
                    found += await translate(library, map, ask)
        return Answer(200, answered(list(_told(list(_once(found))))))


async def _maps(library: Library, inputs: Inputs, resource: Resource | None, ask: Ask) -> list[Resource]:
    """Return the maps to ask."""
    url = canonical(inputs, "url", "conceptMapVersion")
    if resource is None and url:
        resource = await library.concept_map(url)
        if resource is None:
            raise unknown("ConceptMap")
    found = await maps_of(library, ask) if resource is None else [resource]
    source, target = ("target", "source") if ask.is_reverse else ("source", "target")
    for name, side in (("source", source), ("target", target)):
        if value_set := bounded(inputs, name):
            found = [map for map in found if joins(map, side, value_set) or (resource and not says(map, side))]
    return found


def take_dependencies(
    call: OperationCall,
) -> tuple[OperationCall, Mapping[str, frozenset[tuple[str, str]]] | None]:
    """Part the `dependency` parameters, which are made of parts, from the others.

    Raises:
        BadParameter: One has no element and concept.
    """
    items = call.resource.get("parameter") if call.resource is not None else None
    if not isinstance(items, list):
        return call, None
    given = [item for item in items if isinstance(item, dict) and item.get("name") == "dependency"]
    if not given or call.resource is None:
        return call, None
    if len(given) > _MOST_DEPENDENCIES:
        raise BadParameter(f"There are at most {_MOST_DEPENDENCIES} dependencies.")
    rest = [item for item in items if item not in given]
    return replace(call, resource={**call.resource, "parameter": rest}), dict(map(_dependency, given))


def _dependency(item: Mapping[str, Any]) -> tuple[str, frozenset[tuple[str, str]]]:
    parts = item.get("part", [])
    by_name = {part["name"]: part for part in parts if isinstance(part, dict) and isinstance(part.get("name"), str)}
    name = by_name.get("element", {}).get("valueUri")
    concept = by_name.get("concept", {}).get("valueCodeableConcept")
    if not isinstance(name, str) or not isinstance(concept, dict) or not isinstance(concept.get("coding"), list):
        raise BadParameter("A dependency has the parts element (valueUri) and concept (valueCodeableConcept).")
    codes: list[Code] = [of_coding(coding) for coding in concept["coding"]]
    return name, frozenset((code.system, code.code) for code in codes)


def _once(found: Sequence[Translation]) -> Iterator[Translation]:
    seen: list[Translation] = []
    for one in found:
        if one not in seen:
            seen.append(one)
            yield one


def _told(found: Sequence[Translation]) -> Iterator[dict[str, Any]]:
    is_translated = any(one.equivalence not in UNMAPPED and one.concept for one in found)
    yield parameter("result", "valueBoolean", is_translated)
    if not is_translated:
        yield parameter("message", "valueString", "No concept map that is loaded here has a translation of the code.")
    for one in found:
        parts: list[dict[str, Any]] = [parameter("equivalence", "valueCode", one.equivalence)]
        if one.concept:
            parts.append(parameter("concept", "valueCoding", dict(one.concept)))
        for product in one.products:
            inner = [
                parameter("element", "valueUri", product["element"]),
                parameter("concept", "valueCoding", product["concept"]),
            ]
            parts.append({"name": "product", "part": inner})
        if one.source:
            parts.append(parameter("source", "valueUri", one.source))
        yield {"name": "match", "part": parts}
