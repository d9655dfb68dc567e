"""A code system, decoded: its concepts by code, what stands above and below each, its properties.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/codesystem.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final, NamedTuple

from fhir_server.model import Resource

STANDARD: Final = "http://hl7.org/fhir/concept-properties#"
"""Properties that R4 itself defines (https://hl7.org/fhir/R4/codesystem-concept-properties.html)."""

_UP: Final = frozenset({"parent", "subsumedBy"})  # `subsumedBy` is how HL7's v3 systems write it
_DOWN: Final = frozenset({"child"})
_HIDDEN: Final = frozenset({"notSelectable", "abstract"})
_GONE: Final = frozenset({"retired", "inactive"})  # values of `status`
_MOST_KEPT: Final = 256  # answers of `below` that a code system keeps


class Designation(NamedTuple):
    """Another text for a concept."""

    language: str  # BCP 47; "" where it is not said
    use: Mapping[str, str] | None  # Coding
    value: str


class Property(NamedTuple):
    """A property of a concept."""

    code: str
    type: str  # valueCode, valueString, valueBoolean ...: its key in JSON
    value: Any

    @property
    def text(self) -> str:
        """The value as filters compare it; of a Coding its code."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return str(self.value.get("code", "") if isinstance(self.value, dict) else self.value)


class Concept(NamedTuple):
    """One concept."""

    code: str
    display: str = ""
    definition: str = ""
    designations: tuple[Designation, ...] = ()
    properties: tuple[Property, ...] = ()
    is_inactive: bool = False
    is_abstract: bool = False  # stands for a group only: not to be chosen


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """A code system; immutable but for what it remembers of `below`."""

    url: str
    version: str
    name: str
    content: str  # complete | fragment | example | not-present
    language: str  # of the displays; "" where it is not said
    is_case_sensitive: bool
    is_compositional: bool  # whether expressions beside its codes are valid too
    concepts: Mapping[str, Concept]  # by code, in the order of the resource, parents first
    parents: Mapping[str, Sequence[str]]
    children: Mapping[str, Sequence[str]]
    kinds: Mapping[str, Mapping[str, Any]]  # properties that it defines, by code
    folded: Mapping[str, str]  # code in lower case -> code, where case does not matter
    is_listed: bool = False  # only what R4's value sets name of it
    _below: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether a code that is not here does not exist."""
        return self.content == "complete" and not self.is_compositional

    def find(self, code: str) -> Concept | None:
        """Return the concept of a code."""
        found = self.concepts.get(code)
        if found is None and self.folded:
            found = self.concepts.get(self.folded.get(code.lower(), ""))
        return found

    def has(self, code: str) -> bool | None:
        """Whether the code exists; None where only part of the system is known and it is not in it."""
        if self.find(code) is not None:
            return True
        return False if self.is_complete else None

    def below(self, code: str) -> frozenset[str]:
        """Return the code and all that it subsumes; nothing for an unknown code."""
        concept = self.find(code)
        if concept is None:
            return frozenset()
        kept = self._below.get(concept.code)
        if kept is None:
            kept = _reach(concept.code, self.children)
            if len(self._below) >= _MOST_KEPT:
                self._below.clear()
            self._below[concept.code] = kept
        return kept

    def above(self, code: str) -> frozenset[str]:
        """Return the code and all that subsume it; nothing for an unknown code."""
        concept = self.find(code)
        return frozenset() if concept is None else _reach(concept.code, self.parents)

    def values(self, concept: Concept, property: str) -> list[str]:
        """Return the values of a property of a concept as texts, those that R4 gives every concept among them."""
        if property in ("code", "concept"):
            return [concept.code]
        if property in ("display", "definition"):
            text = concept.display if property == "display" else concept.definition
            return [text] if text else []
        if property in _UP:
            return list(self.parents.get(concept.code, ()))
        if property in _DOWN:
            return list(self.children.get(concept.code, ()))
        found = [given.text for given in concept.properties if given.code == property]
        if not found and property in ("inactive", "notSelectable"):
            return ["true" if (concept.is_inactive if property == "inactive" else concept.is_abstract) else "false"]
        return found


def _reach(start: str, edges: Mapping[str, Sequence[str]]) -> frozenset[str]:
    seen, waiting = {start}, [start]
    while waiting:
        for code in edges.get(waiting.pop(), ()):
            if code not in seen:
                seen.add(code)
                waiting.append(code)
    return frozenset(seen)


def decode(resource: Resource, supplements: Sequence[Resource] = (), *, is_listed: bool = False) -> CodeSystem:
    """Decode a CodeSystem resource; supplements add designations and properties to its concepts, never codes.

    Nesting, and the properties `parent`, `child` and `subsumedBy`, say what subsumes what, unless the system's
    hierarchyMeaning is other than is-a: then nothing can be assumed of it
    (https://hl7.org/fhir/R4/valueset-codesystem-hierarchy-meaning.html).
    """
    kinds = {kind["code"]: kind for kind in resource.get("property", ()) if "code" in kind}
    more = _supplied(supplements)
    builder = _Builder(kinds, more, resource.get("hierarchyMeaning", "is-a") == "is-a")
    builder.take(resource.get("concept", ()), "")
    builder.drop_unknown()
    is_case_sensitive = resource.get("caseSensitive") is not False
    return CodeSystem(
        url=resource.get("url", ""),
        version=resource.get("version", ""),
        name=resource.get("title") or resource.get("name") or resource.get("url", ""),
        content=resource.get("content", "complete"),
        language=resource.get("language", ""),
        is_case_sensitive=is_case_sensitive,
        is_compositional=resource.get("compositional") is True,
        concepts=builder.concepts,
        parents=builder.parents,
        children=builder.children,
        kinds=kinds,
        folded={} if is_case_sensitive else {code.lower(): code for code in builder.concepts},
        is_listed=is_listed,
    )


def walk(concepts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield concepts of a CodeSystem resource, at every depth."""
    for concept in concepts:
        yield concept
        yield from walk(concept.get("concept", ()))


def _supplied(supplements: Sequence[Resource]) -> dict[str, tuple[list[Designation], list[Property]]]:
    found: dict[str, tuple[list[Designation], list[Property]]] = {}
    for supplement in supplements:
        language = supplement.get("language", "")
        for concept in walk(supplement.get("concept", ())):
            designations, properties = found.setdefault(concept.get("code", ""), ([], []))
            designations += designations_of(concept)
            properties += _properties(concept)
            if language and concept.get("display"):
                designations.append(Designation(language, None, concept["display"]))
    return found


def designations_of(data: Mapping[str, Any]) -> list[Designation]:
    """Return the designations of a concept of a CodeSystem or a ValueSet resource."""
    return [Designation(d.get("language", ""), d.get("use"), d.get("value", "")) for d in data.get("designation", ())]


def _properties(data: Mapping[str, Any]) -> list[Property]:
    made = []
    for given in data.get("property", ()):
        type = next((key for key in given if key.startswith("value")), "")
        if type:
            made.append(Property(intern(given.get("code", "")), intern(type), given[type]))
    return made


class _Builder:
    """Collects the concepts of a resource and the edges between them."""

    def __init__(
        self,
        kinds: Mapping[str, Mapping[str, Any]],
        more: Mapping[str, tuple[list[Designation], list[Property]]],
        nests: bool,
    ) -> None:
        self.concepts: dict[str, Concept] = {}
        self.parents: dict[str, list[str]] = {}
        self.children: dict[str, list[str]] = {}
        self._more, self._nests = more, nests
        self._up = _UP | _meaning(kinds, "parent")
        self._down = _DOWN | _meaning(kinds, "child")
        self._hidden = _HIDDEN | _meaning(kinds, "notSelectable")
        self._inactive = frozenset({"inactive"}) | _meaning(kinds, "inactive")

    def take(self, concepts: Sequence[dict[str, Any]], parent: str) -> None:
        """Add concepts and what is nested in them; a code that is there already keeps its first place."""
        waiting = [(concept, parent) for concept in reversed(concepts)]
        while waiting:
            data, parent = waiting.pop()
            concept = self._concept(data)
            if concept.code:
                self.concepts.setdefault(concept.code, concept)
                if parent and self._nests:
                    self._join(parent, concept.code)
                self._link(concept)
            waiting += [(child, concept.code) for child in reversed(data.get("concept", ()))]

    def drop_unknown(self) -> None:
        """Forget edges to codes that are not there."""
        for edges in (self.parents, self.children):
            for code in [code for code in edges if code not in self.concepts]:
                del edges[code]
            for code, others in edges.items():
                edges[code] = [other for other in others if other in self.concepts]

    def _concept(self, data: Mapping[str, Any]) -> Concept:
        code = data.get("code", "")
        designations, properties = designations_of(data), _properties(data)
        if code in self._more:
            designations, properties = designations + self._more[code][0], properties + self._more[code][1]
        return Concept(
            code,
            data.get("display", ""),
            data.get("definition", ""),
            tuple(designations),
            tuple(properties),
            any(self._is_inactive(given) for given in properties),
            any(given.value is True and given.code in self._hidden for given in properties),
        )

    def _is_inactive(self, given: Property) -> bool:
        if given.code == "status":
            return given.value in _GONE
        return given.value is True and given.code in self._inactive

    def _link(self, concept: Concept) -> None:
        for given in concept.properties if self._nests else ():
            if given.code in self._up:
                self._join(given.text, concept.code)
            elif given.code in self._down:
                self._join(concept.code, given.text)

    def _join(self, parent: str, child: str) -> None:
        above = self.parents.setdefault(child, [])
        if parent != child and parent not in above:
            above.append(parent)
            self.children.setdefault(parent, []).append(child)


def _meaning(kinds: Mapping[str, Mapping[str, Any]], name: str) -> frozenset[str]:
    """Return the codes under which a code system has one of R4's own properties."""
    return frozenset(code for code, kind in kinds.items() if kind.get("uri") == STANDARD + name)
