"""SearchParameter resources as search parameters of this hub: what they must say to be evaluated.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from fhir_server import fhirpath
from fhir_server.definitions import resource_types, search_parameters
from fhir_server.errors import Issue, Unprocessable
from fhir_server.fhirpath.types import ancestors
from fhir_server.model import Resource
from fhir_server.search.asks import MODIFIERS
from fhir_server.search.choices import spelled
from fhir_server.search.parameters import own_part, parameters_of
from fhir_server.search.paths import paths
from fhir_server.search.prefix import PREFIXES
from fhir_server.search.query import Parameter
from fhir_server.search.readers import Readers

TYPES: Final = frozenset({"number", "date", "string", "token", "reference", "composite", "quantity", "uri"})
MAX_EXPRESSION: Final = 2_000  # characters
MAX_PARTS: Final = 10  # of a composite
_ABSTRACT: Final = frozenset({"Resource", "DomainResource"})
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9\-_]{0,63}")
_PREFIXED: Final = frozenset({"number", "date", "quantity"})
_READERS: Final = Readers(ZoneInfo("UTC"))


class Part(msgspec.Struct, frozen=True):
    """A component of a composite; its expression starts at the composite's element."""

    code: str
    type: str
    expression: str
    target: tuple[str, ...]


class Definition(msgspec.Struct, frozen=True):
    """An active SearchParameter, ready to be kept."""

    id: str
    url: str
    code: str
    type: str
    base: tuple[str, ...]  # resource types, abstract ones spelled out
    expression: str
    target: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    since: int = 0  # microseconds since 1970: when it took this form

    @property
    def name(self) -> str:
        """The name under which stores index it: another definition of the same code has another."""
        said = msgspec.json.encode((self.code, self.type, self.base, self.expression, self.target, self.parts))
        return f"{self.code}~{hashlib.blake2b(said, digest_size=5).hexdigest()}"

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameter of each resource type."""
        name = self.name
        made = {}
        for type in self.base:
            if own := own_part(self.expression, type):
                parts = tuple(Parameter(p.code, p.type, type, p.expression, p.target) for p in self.parts)
                made[type] = Parameter(name, self.type, type, own, self.target, parts)
        return made


Known: TypeAlias = Callable[[str], "tuple[str, str, tuple[str, ...]] | None"]
"""Code, type and targets of the search parameter with a canonical url."""


def is_served_already(resource: Resource) -> bool:
    """Whether R4's own parameters say what a SearchParameter says, so that storing it changes nothing.

    That holds for R4's own, and for those of implementation guides that say again, for each of their types, what R4
    has under the same code: with the same expression, or derived from it.
    """
    url, base = resource.get("url"), resource.get("base")
    if any(definition.url == url for definition in search_parameters()):
        return True
    return isinstance(base, list) and bool(base) and all(_says_again(resource, str(type)) for type in base)


def _says_again(resource: Resource, type: str) -> bool:
    found = parameters_of(type).get(str(resource.get("code", "")))
    if found is None or found.type != resource.get("type"):
        return False
    origin = str(resource.get("derivedFrom", "")).partition("|")[0]
    if any(d.url == origin and d.code == found.code for d in search_parameters()):
        return True
    own = own_part(str(resource.get("expression", "")), type)
    return "".join(own.split()) == "".join(found.expression.split())


def read_definition(resource: Resource, known: Known, *, since: int = 0) -> Definition:
    """Return what an active SearchParameter defines.

    Args:
        resource: Valid by R4's own rules.
        known: Finds what the components of a composite refer to.
        since: When it is written.

    Raises:
        Unprocessable: It cannot be evaluated here; every reason is named.
    """
    reading = _Reading(resource, known)
    made = reading.definition(since)
    if reading.issues:
        raise Unprocessable("The search parameter cannot be served.", issues=reading.issues)
    return made


class _Reading:
    """Reads one resource, and gathers what is wrong with it."""

    def __init__(self, resource: Resource, known: Known) -> None:
        self._resource, self._known = resource, known
        self.issues: list[Issue] = []

    def _refuse(self, element: str, text: str, code: str = "not-supported") -> None:
        self.issues.append(Issue(code, text, f"SearchParameter.{element}" if element else "SearchParameter"))

    def definition(self, since: int) -> Definition:
        """Return the definition; it holds only where there are no issues."""
        get = self._resource.get
        type, code, expression = get("type", ""), get("code", ""), get("expression", "")
        self._check_words(type, code, expression)
        base = self._base()
        made = Definition(
            id=str(get("id", "")),
            url=get("url", ""),
            code=code,
            type=type,
            base=base,
            expression=spelled(expression, base),
            target=self._targets(),
            parts=self._parts(base) if type == "composite" else (),
            since=since,
        )
        if not self.issues:
            self._check_clash(made)
            self._check_expression(made)
        return made

    def _check_words(self, type: str, code: str, expression: str) -> None:
        if type not in TYPES:
            self._refuse("type", f"A search parameter of this type cannot be made; {', '.join(sorted(TYPES))} can.")
        if not _CODE.fullmatch(code):
            self._refuse("code", "The code has letters, digits, - and _ only, 64 at most, and starts with a letter.")
        if not expression:
            self._refuse("expression", "The parameter has no FHIRPath expression; an xpath is not evaluated.")
        elif len(expression) > MAX_EXPRESSION:
            self._refuse("expression", f"The expression is longer than {MAX_EXPRESSION} characters.")
        if self._resource.get("xpathUsage", "normal") != "normal":
            self._refuse("xpathUsage", "Only the usage 'normal' is evaluated: what the expression gives is compared.")
        allowed = MODIFIERS.get(type, frozenset()) | {"missing"} | ({"type"} if type == "reference" else set())
        for modifier in self._list("modifier"):
            if modifier not in allowed:
                self._refuse("modifier", f"Of modifiers, this type takes {', '.join(sorted(allowed))}.")
        for comparator in self._list("comparator"):
            if comparator not in PREFIXES or type not in _PREFIXED:
                self._refuse("comparator", "Comparators are for numbers, dates and quantities.")
        if type != "composite" and self._resource.get("component"):
            self._refuse("component", "Only a composite parameter has components.")

    def _list(self, name: str) -> list[str]:
        return [value for value in self._resource.get(name, []) if isinstance(value, str)]

    def _base(self) -> tuple[str, ...]:
        types = resource_types()
        found: list[str] = []
        for name in self._list("base"):
            if name not in types and name not in _ABSTRACT:
                self._refuse("base", "The base names a type that R4 does not have.")
            found += sorted(type for type in types if name in ancestors(type)) if name in _ABSTRACT else [name]
        return tuple(dict.fromkeys(found))

    def _targets(self) -> tuple[str, ...]:
        named = self._list("target")
        if named and self._resource.get("type") != "reference":
            self._refuse("target", "Only a reference parameter has targets.")
        if not set(named) <= {*resource_types(), "Resource"}:
            self._refuse("target", "A target is no resource type of R4.")
        return tuple(named) if "Resource" not in named else ()

    def _parts(self, base: tuple[str, ...]) -> tuple[Part, ...]:
        components = self._resource.get("component", [])
        if not 2 <= len(components) <= MAX_PARTS:
            self._refuse("component", f"A composite has 2 to {MAX_PARTS} components.")
            return ()
        made = []
        for number, component in enumerate(components):
            place, found = f"component[{number}]", self._known(component.get("definition", ""))
            expression = component.get("expression", "")
            if found is None or found[1] in ("composite", "special"):
                self._refuse(f"{place}.definition", "No plain search parameter with this url is served here.")
            elif not expression or len(expression) > MAX_EXPRESSION:
                self._refuse(f"{place}.expression", f"An expression has 1 to {MAX_EXPRESSION} characters.")
            else:
                made.append(Part(found[0], found[1], spelled(expression, base), found[2]))
        return tuple(made)

    # --- by the types --------------------------------------------------------------------------------------

    def _check_clash(self, made: Definition) -> None:
        taken = [type for type in made.base if made.code in parameters_of(type)]
        if taken:
            self._refuse("code", f"{taken[0]} has a search parameter of this code already.", "duplicate")

    def _check_expression(self, made: Definition) -> None:
        concerned = {type: own for type in made.base if (own := own_part(made.expression, type))}
        if not concerned:
            self._refuse("expression", "The expression is about none of the types in base.")
        for type, own in concerned.items():
            if not self._compiles(own, type, "expression"):
                return
            if not self._fits(made, own, type):
                text = f"What the expression finds in {type} cannot be searched as {made.type}."
                self._refuse("expression", text)
                return

    def _compiles(self, expression: str, type: str, place: str) -> bool:
        try:
            fhirpath.compile(expression, type, strict=True)
        except fhirpath.InvalidExpression as error:
            self._refuse(place, f"The expression cannot be evaluated on {type}: {error}", "invalid")
            return False
        return True

    def _fits(self, made: Definition, own: str, type: str) -> bool:
        """Whether something that the expression can find is searched as the type of the parameter is."""
        ways = paths(own, type)
        if ways is None:  # more than a plain way: what it finds is known when it is evaluated
            return made.type != "composite" or all(
                self._compiles(part.expression, "", f"component[{number}].expression")
                for number, part in enumerate(made.parts)
            )
        if made.type != "composite":
            return any(_READERS.find(made.type, way.type) is not None for way in ways)
        return all(
            self._compiles(part.expression, way.type, f"component[{number}].expression") and _finds(part, way.type)
            for way in ways
            for number, part in enumerate(made.parts)
        )


def _finds(part: Part, type: str) -> bool:
    inner = paths(part.expression, type)
    return inner is None or any(_READERS.find(part.type, way.type) is not None for way in inner)


def clash(made: Definition, others: Sequence[Definition]) -> Definition | None:
    """Return another definition that has the same code on a type of this one's."""
    for other in others:
        if other.id != made.id and other.code == made.code and set(other.base) & set(made.base):
            return other
    return None


def known_parameters(others: Mapping[str, Definition]) -> Known:
    """Return what finds plain parameters by url: R4's, and those that are kept, by url."""

    def find(url: str) -> tuple[str, str, tuple[str, ...]] | None:
        bare = url.split("|", 1)[0]
        if bare in others:
            return others[bare].code, others[bare].type, others[bare].target
        for definition in search_parameters():
            if definition.url == bare:
                return definition.code, definition.type, definition.target
        return None

    return find


def decode(body: bytes) -> Definition:
    """Read a definition as it was kept."""
    return msgspec.json.decode(body, type=Definition)


def encode(definition: Definition) -> bytes:
    """Write a definition to be kept."""
    return msgspec.json.encode(definition)
