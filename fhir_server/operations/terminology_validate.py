"""`$validate-code` of code systems and value sets: whether a code is in one, and whether its display is right.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/codesystem-operation-validate-code.html and
https://hl7.org/fhir/R4/valueset-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from fhir_server.errors import BadParameter
from fhir_server.interactions.core import Hub
from fhir_server.interface import Answer, OperationCall
from fhir_server.model import Resource
from fhir_server.operations.inputs import Inputs, flag
from fhir_server.operations.terminology_expand import named
from fhir_server.operations.terminology_inputs import (
    Code,
    answered,
    bounded,
    check_date,
    given_resource,
    instance,
    needed,
    opened,
    parameter,
    read_call,
    read_code,
    read_codings,
    unknown,
)
from fhir_server.search.fold import fold
from fhir_server.terminology import codesystem, display, membership, valueset
from fhir_server.terminology.codesystem import CodeSystem
from fhir_server.terminology.library import Library
from fhir_server.terminology.membership import NotLoaded
from fhir_server.terminology.valueset import ValueSet

OF_SYSTEM: Final = (
    "url", "codeSystem", "code", "version", "display", "coding", "codeableConcept", "date", "abstract",
    "displayLanguage",
)  # fmt: skip
OF_SET: Final = (
    "url", "valueSet", "valueSetVersion", "context", "code", "system", "systemVersion", "display", "coding",
    "codeableConcept", "date", "abstract", "displayLanguage",
)  # fmt: skip

_UNDECIDED: Final = (
    "It cannot be decided from what is loaded here: of the code system only a part is known, or nothing. "
    "Load it as a CodeSystem resource (predmp load, or PUT)."
)
_WRONG_DISPLAY: Final = "The display is not one of this code."
_NOT_THERE: Final = "The code is not in the code system."
_ABSTRACT: Final = "The code only stands for a group of others; it is not to be chosen."
_INACTIVE: Final = "The code is inactive."


class Verdict(NamedTuple):
    """What came of one code."""

    is_valid: bool | None  # None: cannot be decided
    message: str = ""
    display: str = ""


class Validating:
    """Answers `$validate-code` on CodeSystem and ValueSet."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def run(self, call: OperationCall) -> Answer:
        """Say whether a code, or one of the codings of a concept, is valid.

        Raises:
            BadRequest: No code, or no code system or value set, is named.
            NotFound: Nobody has loaded the value set or code system.
            NotLoaded: What is loaded cannot decide.
        """
        is_set = call.type == "ValueSet"
        inputs = read_call(call, OF_SET if is_set else OF_SYSTEM)
        check_date(self._hub, inputs)
        asked = self._asked(inputs, "systemVersion" if is_set else "version")
        resource = await instance(self._hub, call, inputs)
        resource = resource or given_resource(self._hub, inputs, "valueSet" if is_set else "codeSystem", call.type)
        async with opened(self._hub, call, [resource]) as library:
            check = _Check(library, display.wanted(bounded(inputs, "displayLanguage")), _takes_abstract(inputs))
            if is_set:
                value_set = valueset.decode(resource) if resource else await named(library, inputs)
                verdicts = [await check.in_set(value_set, code) for code in asked]
            else:
                verdicts = await self._in_system(check, inputs, resource, asked)
        return Answer(200, answered(_told(verdicts)))

    @staticmethod
    def _asked(inputs: Inputs, version: str) -> list[Code]:
        asked = read_codings(inputs, "codeableConcept", version)
        if asked is None:
            one = read_code(inputs, coding="coding", code="code", version=version)
            if one is None:
                raise needed("Name the code: code, coding or codeableConcept.")
            asked = [one]
        return asked

    @staticmethod
    async def _in_system(
        check: _Check, inputs: Inputs, resource: Resource | None, asked: Sequence[Code]
    ) -> list[Verdict]:
        url = str(resource.get("url", "")) if resource else bounded(inputs, "url")
        if not url and not resource:
            url = asked[0].system
        if not url and not resource:
            raise needed("Name the code system: url; or call the operation on one by its id.")
        given = codesystem.decode(resource) if resource else None
        return [await check.in_system(url, given, code) for code in asked]


def _takes_abstract(inputs: Inputs) -> bool:
    """Whether codes that only group others are taken: R4 refuses them only where `abstract` is false."""
    return "abstract" not in inputs or flag(inputs, "abstract")


class _Check(NamedTuple):
    """One state, and how to judge codes in it."""

    library: Library
    languages: tuple[str, ...]
    takes_abstract: bool

    async def in_set(self, value_set: ValueSet, asked: Code) -> Verdict:
        """Judge a code by a value set."""
        if not asked.system:
            asked = asked._replace(system=await self._implied(value_set, asked.code))
        is_in = await membership.contains(self.library, value_set, asked.system or None, asked.code)
        if is_in is None:
            return Verdict(None, _UNDECIDED)
        if not is_in:
            return Verdict(False, "The code is not in the value set.")
        listed = [
            (part, part.concepts[asked.code])
            for part in value_set.includes
            if part.concepts and asked.code in part.concepts and asked.system in ("", part.system)
        ]
        known = await self.library.code_system(asked.system, asked.version) if asked.system else None
        if asked.version and (other := await self._of_version(value_set, asked, known)) is not None:
            return other
        texts = [text for _, one in listed for text in (one.display, *(d.value for d in one.designations)) if text]
        return self._judge(known, asked, texts)

    async def _of_version(self, value_set: ValueSet, asked: Code, known: CodeSystem | None) -> Verdict | None:
        """Return what a version that the code is said to be of rules out; None for nothing."""
        pinned = {part.version for part in value_set.includes if part.system == asked.system}
        if pinned and "" not in pinned and asked.version not in pinned:
            return Verdict(False, "The value set takes its codes from another version of the code system.")
        if known is None and await self.library.code_system(asked.system) is not None:
            return Verdict(None, _UNDECIDED)  # of the system, but not of this version
        return Verdict(False, _NOT_THERE) if known is not None and known.has(asked.code) is False else None

    async def _implied(self, value_set: ValueSet, code: str) -> str:
        """Return the system that a code without one is of; "" where the value set itself does not say.

        Raises:
            BadRequest: It is a code of several systems of the value set.
        """
        having = {
            p.system for p in value_set.includes if p.system and await membership.in_system(self.library, p, code)
        }
        if len(having) > 1:
            raise needed("Name the code's system: the value set has the code in several.")
        return next(iter(having), "")

    async def in_system(self, url: str, given: CodeSystem | None, asked: Code) -> Verdict:
        """Judge a code by a code system."""
        if asked.system and asked.system != url:
            return Verdict(False, "The code is of another code system.")
        known = given or await self.library.code_system(url, asked.version)
        is_in = membership.exists(known, url, asked.code)
        if known is None and is_in is None:
            raise unknown("CodeSystem")
        if is_in is None:
            return Verdict(None, _UNDECIDED)
        if not is_in:
            return Verdict(False, _NOT_THERE)
        return self._judge(known, asked, [])

    def _judge(self, system: CodeSystem | None, asked: Code, texts: list[str]) -> Verdict:
        """Judge what remains once the code is known to be there: its display, its status."""
        concept = system.find(asked.code) if system else None
        if system is None or concept is None:
            shown = texts[0] if texts else ""
            is_wrong = bool(asked.display and texts and not _says(asked.display, texts))
            return Verdict(not is_wrong, _WRONG_DISPLAY if is_wrong else "", shown)
        shown = display.best(concept.display, system.language, concept.designations, self.languages)
        shown = shown if self.languages or not texts else texts[0]
        if concept.is_abstract and not self.takes_abstract:
            return Verdict(False, _ABSTRACT, shown)
        every = [*texts, concept.display, *(d.value for d in concept.designations)]
        if asked.display and any(every) and not _says(asked.display, every):
            return Verdict(False, _WRONG_DISPLAY, shown)
        return Verdict(True, _INACTIVE if concept.is_inactive else "", shown)


def _says(given: str, texts: Sequence[str]) -> bool:
    """Whether a display is one of the texts, but for case, accents and spaces."""
    if len(given) > 2_000:
        raise BadParameter("The display is longer than 2,000 characters.")
    return fold(given) in {fold(text) for text in texts if text}


def _told(verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    """Return the parameters of an answer: valid when one of the codes is, undecided when only more could tell.

    Raises:
        NotLoaded: It cannot be decided.
    """
    best = next((v for v in verdicts if v.is_valid), None)
    if best is None:
        if any(verdict.is_valid is None for verdict in verdicts):
            raise NotLoaded(_UNDECIDED)
        best = next((v for v in verdicts if v.display), verdicts[0])
    elif any(verdict.message == _WRONG_DISPLAY for verdict in verdicts):
        best = best._replace(message=best.message or _WRONG_DISPLAY)
    made = [parameter("result", "valueBoolean", bool(best.is_valid))]
    if best.message:
        made.append(parameter("message", "valueString", best.message))
    if best.display:
        made.append(parameter("display", "valueString", best.display))
    return made
