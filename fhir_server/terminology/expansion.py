"""All codes of a value set.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset.html#expansion
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

from fhir_server.errors import TooCostly, Unprocessable
from fhir_server.terminology import filters, membership
from fhir_server.terminology.codesystem import CodeSystem, Concept
from fhir_server.terminology.library import Library
from fhir_server.terminology.membership import NotLoaded, undecided
from fhir_server.terminology.valueset import MOST_DEPTH, Include, Member, ValueSet

MOST_CODES: Final = 100_000
"""Of one expansion."""

AT_ONCE: Final = 1_000
"""Codes that are worked on before others have their turn."""


@dataclass(slots=True)
class Expansion:
    """The codes of a value set, in the order of its parts."""

    members: dict[tuple[str, str], Member] = field(default_factory=dict)  # by (system, code)
    versions: dict[str, None] = field(default_factory=dict)  # `system|version` of what was used
    is_unclosed: bool = False  # whether more codes may belong to it than are known here


async def expand(library: Library, value_set: ValueSet, path: tuple[str, ...] = ()) -> Expansion:
    """Return all codes of a value set.

    Raises:
        NotLoaded: It takes codes from a system of which too little is loaded.
        TooCostly: It has more than 100,000 codes.
        Unprocessable: It includes itself.
    """
    if value_set.url in path or len(path) > MOST_DEPTH:
        raise Unprocessable("The value set includes itself, or more than 20 others inside each other.")
    inside = (*path, value_set.url) if value_set.url else path
    library.spend(20)
    made = Expansion()
    try:
        for include in value_set.includes:
            async for member in _include(library, include, made, inside):
                made.members.setdefault((member.system, member.code), member)
                if len(made.members) % AT_ONCE == 0:
                    await library.breathe()
                if len(made.members) > MOST_CODES:
                    raise TooCostly("The value set has more than 100,000 codes. Ask for a part of it by a filter.")
        for exclude in value_set.excludes:
            await _take_out(library, made, exclude, inside)
    except NotLoaded:
        if value_set.stored is None:
            raise
        made = Expansion()
    if not made.members and value_set.stored is not None:
        made.members = {(member.system, member.code): member for member in value_set.stored}
    if not value_set.with_inactive:
        made.members = {key: member for key, member in made.members.items() if not member.is_inactive}
    return made


async def _include(library: Library, include: Include, made: Expansion, path: tuple[str, ...]) -> AsyncIterator[Member]:
    system = await library.code_system(include.system, include.version) if include.system else None
    if include.system and (include.concepts is not None or not include.value_sets or _may_list(system)):
        library.spend(len(include.concepts) if include.concepts is not None else len(system.concepts) if system else 1)
        members: Iterable[Member] = _own(include, system, made)
        others = include.value_sets
    else:
        members, others = await _first(library, include, made, path), include.value_sets[1:]
    for member in members:
        if all([await _in(library, canonical, member, include, path) for canonical in others]):
            yield member


def _own(include: Include, system: CodeSystem | None, made: Expansion) -> Iterable[Member]:
    """Yield what an include takes from its own system."""
    if system is not None and system.version and not system.is_listed:
        made.versions[f"{system.url}|{system.version}"] = None
    version = include.version and (system.version if system is not None else include.version)
    if include.concepts is not None:
        for code, listed in include.concepts.items():
            concept = (system.find(code) if system else None) or Concept(code)
            plain = member_of(include.system, version, concept)
            designations = (*listed.designations, *(d for d in plain.designations if d not in listed.designations))
            yield plain._replace(code=code, display=listed.display or plain.display, designations=designations)
        return
    if system is None or not _may_list(system):
        raise undecided(include)
    made.is_unclosed |= not system.is_complete
    rules = [filters.condition(system, rule) for rule in include.filters]
    for concept in system.concepts.values():
        if all(rule(concept) for rule in rules):
            yield member_of(include.system, version, concept)


def _may_list(system: CodeSystem | None) -> bool:
    """Whether the codes that are known of a system are worth listing: a declared fragment is, a chance find not."""
    return system is not None and not system.is_listed and (system.is_complete or bool(system.concepts))


def member_of(system: str, version: str, concept: Concept) -> Member:
    """Return a concept as a member of an expansion."""
    return Member(
        system, version, concept.code, concept.display, concept.designations, concept.is_inactive, concept.is_abstract
    )


async def _first(library: Library, include: Include, made: Expansion, path: tuple[str, ...]) -> list[Member]:
    """Return the codes of the first value set that an include names, as far as they are of its own system."""
    other = await library.value_set(include.value_sets[0])
    if other is None:
        raise NotLoaded(
            "The value set takes codes from another one that is not loaded here. Load it as a ValueSet resource.",
            expression=include.place,
        )
    inner = await expand(library, other, path)
    made.versions.update(inner.versions)
    made.is_unclosed |= inner.is_unclosed
    found = []
    for member in inner.members.values():
        if include.system:
            is_in = member.system == include.system and await membership.in_system(library, include, member.code)
            if is_in is None:
                raise undecided(include)
            if not is_in:
                continue
        found.append(member)
    return found


async def _in(library: Library, canonical: str, member: Member, include: Include, path: tuple[str, ...]) -> bool:
    other = await library.value_set(canonical)
    found = None if other is None else await membership.contains(library, other, member.system, member.code, path)
    if found is None:
        raise undecided(include)
    return found


async def _take_out(library: Library, made: Expansion, exclude: Include, path: tuple[str, ...]) -> None:
    """Remove what an exclude names."""
    system = await library.code_system(exclude.system, exclude.version) if exclude.system else None
    if system is not None and system.is_complete and exclude.concepts is None and not exclude.value_sets:
        library.spend(len(system.concepts))
        rules = [filters.condition(system, rule) for rule in exclude.filters]
        for concept in system.concepts.values():
            if (exclude.system, concept.code) in made.members and all(rule(concept) for rule in rules):
                del made.members[exclude.system, concept.code]
        return
    part = ValueSet("", "", "", (exclude,), (), True, None, {})
    for number, (key, member) in enumerate(list(made.members.items())):
        if number % AT_ONCE == 0:
            await library.breathe()
        found = await membership.contains(library, part, member.system, member.code, path)
        if found is None:
            raise undecided(exclude)
        if found:
            del made.members[key]
