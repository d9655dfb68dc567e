"""Whether a code is in a value set, without expanding it: yes, no, or not to be decided from what is loaded.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from fhir_server.errors import FhirError
from fhir_server.terminology import filters, grammar
from fhir_server.terminology.codesystem import CodeSystem
from fhir_server.terminology.library import Library
from fhir_server.terminology.valueset import MOST_DEPTH, Include, ValueSet


async def contains(
    library: Library, value_set: ValueSet, system: str | None, code: str, path: tuple[str, ...] = ()
) -> bool | None:
    """Return whether a code is in a value set.

    Args:
        library: Where code systems and other value sets are found.
        value_set: The value set.
        system: None where the code stands in an element that implies its system: any include may have it.
        code: The code.
        path: The value sets that led here.

    Raises:
        FhirError: A rule of the value set cannot be run.
    """
    if value_set.url in path or len(path) > MOST_DEPTH:
        return None
    inside = (*path, value_set.url) if value_set.url else path
    found: bool | None = False
    if value_set.includes:
        found = await _any(value_set.includes, lambda part: _in_include(library, part, system, code, inside))
        if found is not False and value_set.excludes:
            out = await _any(value_set.excludes, lambda part: _in_include(library, part, system, code, inside))
            found = False if out else (None if out is None else found)
        if found is not False and not value_set.with_inactive:
            found = await _active(library, value_set, system, code, found)
    if (found is None or not value_set.includes) and value_set.stored is not None:
        return any(m.code == code and system in (None, m.system) for m in value_set.stored)
    return found


async def _any(parts: Iterable[Include], test: Callable[[Include], Awaitable[bool | None]]) -> bool | None:
    found: bool | None = False
    for part in parts:
        one = await test(part)
        if one:
            return True
        found = None if one is None else found
    return found


async def _active(
    library: Library, value_set: ValueSet, system: str | None, code: str, found: bool | None
) -> bool | None:
    """Take inactive concepts out of an answer."""
    for url in {part.system for part in value_set.includes} if system is None else {system}:
        known = await library.code_system(url) if url else None
        concept = known.find(code) if known else None
        if concept is not None and concept.is_inactive:
            return False
    return found


async def _in_include(
    library: Library, include: Include, system: str | None, code: str, path: tuple[str, ...]
) -> bool | None:
    """All parts of an include hold: its system with its codes or filters, and each value set that it names."""
    library.spend(1 if include.system and not include.filters else 20)
    if include.system and system not in (None, include.system):
        return False
    found: bool | None = True
    if include.system:
        found = await in_system(library, include, code)
    for canonical in include.value_sets if found is not False else ():
        other = await library.value_set(canonical)
        one = None if other is None else await contains(library, other, include.system or system, code, path)
        if one is False:
            return False
        found = None if one is None else found
    return found


async def in_system(library: Library, include: Include, code: str) -> bool | None:
    """Return whether a code is one of those that an include takes from its own system."""
    if include.concepts is not None:
        if code in include.concepts:
            return True
        known = await library.code_system(include.system, include.version)
        concept = known.find(code) if known is not None and not known.is_case_sensitive else None
        return concept is not None and concept.code in include.concepts
    known = await library.code_system(include.system, include.version)
    found = exists(known, include.system, code)
    if found is False or not include.filters:
        return found
    return _obeys(known, include, code, found)


def exists(system: CodeSystem | None, url: str, code: str) -> bool | None:
    """Return whether a code is one of a code system, by what is loaded of it or by its grammar."""
    found = system.has(code) if system is not None else None
    return grammar.has(url, code) if found is None else found


def _obeys(system: CodeSystem | None, include: Include, code: str, found: bool | None) -> bool | None:
    concept = system.find(code) if system is not None else None
    if include.system == grammar.UCUM and all(rule[:2] == ("canonical", "=") for rule in include.filters):
        return _all(grammar.is_same_kind(code, rule.value) for rule in include.filters)
    if system is None or concept is None:
        # A regular expression over the code itself is all that can be said of a code that is not loaded.
        shapes = [rule for rule in include.filters if rule.op == "regex" and rule.property in ("code", "concept")]
        if not all(filters.matches(code, rule.value) for rule in shapes):
            return False
        return found if len(shapes) == len(include.filters) else None
    held = [filters.condition(system, rule)(concept) for rule in include.filters]
    if system.is_complete:
        return all(held)
    certain = [is_held for rule, is_held in zip(include.filters, held, strict=True) if filters.is_certain(rule)]
    return True if len(certain) == len(held) and all(held) else None


def _all(found: Iterable[bool | None]) -> bool | None:
    answers = list(found)
    return False if False in answers else None if None in answers else True


def undecided(include: Include) -> FhirError:
    """Return the failure of a value set that needs what is not loaded."""
    if include.version:
        return NotLoaded(
            "The value set takes codes from a version of a code system that is not loaded here, or not all of it. "
            "Load it as a CodeSystem resource, or name a version that is here by force-system-version.",
            expression=include.place,
        )
    return NotLoaded(
        "The value set takes codes from a code system of which not all is loaded here. "
        "Load it as a CodeSystem resource (predmp load, or PUT), or ask about single codes by $validate-code.",
        expression=include.place,
    )


class NotLoaded(FhirError):
    """The answer needs a code system or value set that is not here."""

    status, code = 422, "not-found"
