"""`CodeSystem/$lookup` and `CodeSystem/$subsumes`: what a code says, and how two codes stand to each other.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/codesystem-operation-lookup.html and
https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fhir_server.errors import BadParameter, NotFound
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, OperationCall
from fhir_server.operations.inputs import Inputs, element, texts
from fhir_server.operations.terminology_inputs import (
    Code,
    answered,
    bounded,
    check_date,
    instance,
    needed,
    of_coding,
    only_one,
    opened,
    parameter,
    read_call,
    read_code,
    unknown,
)
from fhir_server.terminology import codesystem, display, grammar
from fhir_server.terminology.codesystem import CodeSystem, Concept, Property
from fhir_server.terminology.library import Library
from fhir_server.terminology.membership import NotLoaded

LOOKUP: Final = ("code", "system", "version", "coding", "date", "displayLanguage", "property")
SUBSUMES: Final = ("codeA", "codeB", "system", "version", "codingA", "codingB")

_OF_SYSTEM: Final = frozenset({"url", "name", "version"})  # properties that are of the code system: always told


class Looking:
    """Answers `$lookup`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Tell what is known of a code.

        Raises:
            BadRequest: No code with its system is given.
            NotFound: The code or its code system is not known here.
        """
        inputs = read_call(call, LOOKUP)
        check_date(self._hub, inputs)
        asked = read_code(inputs, coding="coding", code="code", version="version")
        if asked is None or not asked.system:
            raise needed("Name the code: system and code, or coding.")
        languages = display.wanted(bounded(inputs, "displayLanguage"))
        async with opened(self._hub, call) as library:
            system = await library.code_system(asked.system, asked.version)
        concept = found(system, asked)
        if system is None:
            return Answer(200, answered([parameter("name", "valueString", asked.system), *_shown(concept.display)]))
        return Answer(200, answered(list(told(system, concept, languages, texts(inputs, "property")))))


def found(system: CodeSystem | None, asked: Code) -> Concept:
    """Return the concept of a code; of a code that only a grammar knows, one that has itself as its display.

    Raises:
        NotFound: It is not there, or nothing is known of it here.
    """
    concept = system.find(asked.code) if system is not None else None
    if concept is not None:
        return concept
    if grammar.has(asked.system, asked.code):
        return Concept(asked.code, asked.code)
    if system is None:
        raise unknown("CodeSystem")
    if system.is_complete:
        raise NotFound("The code is not in the code system.")
    raise NotFound("The code is not in the part of the code system that is loaded here; load all of it to know more.")


def told(
    system: CodeSystem, concept: Concept, languages: tuple[str, ...], wanted: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield the parameters of an answer; `wanted` are the properties asked for, none: all."""
    yield parameter("name", "valueString", system.name)
    if system.version:
        yield parameter("version", "valueString", system.version)
    yield from _shown(display.best(concept.display, system.language, concept.designations, languages) or concept.code)
    asked = frozenset(wanted) - _OF_SYSTEM
    if "designations" in asked:  # as R4's example of the operation writes it
        asked |= {"designation"}
    for designation in concept.designations:
        if not asked or "designation" in asked or f"lang.{designation.language}" in asked:
            parts = [
                parameter("language", "valueCode", designation.language) if designation.language else None,
                parameter("use", "valueCoding", dict(designation.use)) if designation.use else None,
                parameter("value", "valueString", designation.value),
            ]
            yield {"name": "designation", "part": [part for part in parts if part]}
    for given in properties(system, concept):
        if not asked or given.code in asked:
            yield _property(system, given)


def _shown(text: str) -> Iterator[dict[str, Any]]:
    yield parameter("display", "valueString", text)


def properties(system: CodeSystem, concept: Concept) -> Iterator[Property]:
    """Yield the properties of a concept, those that R4 gives every concept among them."""
    if concept.definition:
        yield Property("definition", "valueString", concept.definition)
    yield Property("inactive", "valueBoolean", concept.is_inactive)
    if concept.is_abstract:
        yield Property("notSelectable", "valueBoolean", True)
    for name, codes in (("parent", system.parents), ("child", system.children)):
        for code in codes.get(concept.code, ()):
            yield Property(name, "valueCode", code)
    said = {"inactive", "notSelectable", "parent", "child"}
    yield from (given for given in concept.properties if given.code not in said)


def _property(system: CodeSystem, given: Property) -> dict[str, Any]:
    parts = [parameter("code", "valueCode", given.code), parameter("value", given.type, given.value)]
    other = system.find(given.text) if given.type == "valueCode" else None
    if other is not None and other.display:
        parts.append(parameter("description", "valueString", other.display))
    return {"name": "property", "part": parts}


class Subsuming:
    """Answers `$subsumes`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Tell how code A stands to code B.

        Raises:
            BadRequest: A code or the system is not given.
            NotFound: A code or the code system is not known here.
            NotLoaded: The part of the code system that is loaded cannot decide.
        """
        inputs = read_call(call, SUBSUMES)
        resource = await instance(self._hub, call, inputs)
        one, other = _pair(inputs, "A"), _pair(inputs, "B")
        url = bounded(inputs, "system") or one.system or other.system
        if resource is not None:
            url = str(resource.get("url", ""))
        elif not url:
            raise needed("Name the code system: system, or a coding's; or call the operation on one by its id.")
        if {bounded(inputs, "system"), one.system, other.system} - {"", url}:
            raise BadParameter("Both codes are of the code system that is asked about.")
        versions = {bounded(inputs, "version"), one.version, other.version} - {""}
        if len(versions) > 1 or (resource is not None and versions - {resource.get("version")}):
            raise BadParameter("Both codes are of the version that is asked about.")
        async with opened(self._hub, call, [resource]) as library:
            system = await _system(library, url, "".join(versions), resource is not None, resource)
        return Answer(200, answered([parameter("outcome", "valueCode", subsumption(system, one, other))]))


async def _system(library: Library, url: str, version: str, is_given: bool, resource: Any) -> CodeSystem:
    system = codesystem.decode(resource) if is_given else await library.code_system(url, version)
    if system is None:
        raise unknown("CodeSystem")
    return system


def _pair(inputs: Inputs, letter: str) -> Code:
    only_one(inputs, f"coding{letter}", f"code{letter}")
    given = element(inputs, f"coding{letter}")
    if given is not None:
        return of_coding(given)
    code = bounded(inputs, f"code{letter}")
    if not code:
        raise needed("Name both codes: codeA and codeB with system, or codingA and codingB.")
    return Code("", "", code, "")


def subsumption(system: CodeSystem, one: Code, other: Code) -> str:
    """Return a code of http://hl7.org/fhir/ValueSet/concept-subsumption-outcome.

    Raises:
        NotFound: A code is not there.
        NotLoaded: They are not related in the part that is loaded; in the whole they may be.
    """
    a, b = found(system, one._replace(system=system.url)).code, found(system, other._replace(system=system.url)).code
    if a == b:
        return "equivalent"
    if b in system.below(a):
        return "subsumes"
    if a in system.below(b):
        return "subsumed-by"
    if not system.is_complete:
        raise NotLoaded("Only a part of the code system is loaded here, and it does not say how the codes stand.")
    return "not-subsumed"
