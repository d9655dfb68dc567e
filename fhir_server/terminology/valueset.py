"""A value set, decoded: what it includes and excludes, and the expansion it may bring along.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/valueset.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fhir_server.model import Resource
from fhir_server.terminology.codesystem import Designation, designations_of

MOST_DEPTH: Final = 20  # value sets inside each other


class Filter(NamedTuple):
    """A rule that concepts of an include obey."""

    property: str
    op: str
    value: str


class Listed(NamedTuple):
    """A concept that a value set names."""

    display: str
    designations: tuple[Designation, ...]


class Include(NamedTuple):
    """One include or exclude; what it names is in all of its parts."""

    system: str  # "" where it names value sets only
    version: str
    concepts: Mapping[str, Listed] | None  # None: not listed, all of the system that obeys the filters
    filters: tuple[Filter, ...]
    value_sets: tuple[str, ...]  # canonical urls
    place: str  # FHIRPath, e.g. "ValueSet.compose.include[0]"


class Member(NamedTuple):
    """A code in an expansion."""

    system: str
    version: str
    code: str
    display: str
    designations: tuple[Designation, ...] = ()
    is_inactive: bool = False
    is_abstract: bool = False


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A value set."""

    url: str
    version: str
    language: str
    includes: tuple[Include, ...]
    excludes: tuple[Include, ...]
    with_inactive: bool  # whether inactive codes belong to it
    stored: tuple[Member, ...] | None  # the expansion that came with it, where it is a whole one
    resource: Mapping[str, Any]  # its metadata: without compose and expansion


def decode(resource: Resource) -> ValueSet:
    """Decode a ValueSet resource."""
    compose = resource.get("compose", {})
    return ValueSet(
        url=resource.get("url", ""),
        version=resource.get("version", ""),
        language=resource.get("language", ""),
        includes=_includes(compose, "include"),
        excludes=_includes(compose, "exclude"),
        with_inactive=compose.get("inactive") is not False,
        stored=_stored(resource.get("expansion")),
        resource={k: v for k, v in resource.items() if k not in ("expansion", "text")},
    )


def whole(system: str, url: str) -> ValueSet:
    """Return the value set of all codes of a system."""
    include = Include(system, "", None, (), (), "ValueSet.compose.include[0]")
    return ValueSet(url, "", "", (include,), (), True, None, {"resourceType": "ValueSet", "status": "active"})


def split(canonical: str) -> tuple[str, str]:
    """Return url and version of a canonical."""
    url, _, version = canonical.partition("|")
    return url, version


def _includes(compose: Mapping[str, Any], name: str) -> tuple[Include, ...]:
    return tuple(
        Include(
            given.get("system", ""),
            given.get("version", ""),
            _concepts(given["concept"]) if "concept" in given else None,
            tuple(Filter(f.get("property", ""), f.get("op", ""), f.get("value", "")) for f in given.get("filter", ())),
            tuple(url or "" for url in given.get("valueSet", ())),  # "": an extension alone, which names none
            f"ValueSet.compose.{name}[{number}]",
        )
        for number, given in enumerate(compose.get(name, ()))
        if given.get("system") or given.get("valueSet")  # R4's vsd-1; one without them takes nothing
    )


def _concepts(concepts: Sequence[Mapping[str, Any]]) -> dict[str, Listed]:
    return {c["code"]: Listed(c.get("display", ""), tuple(designations_of(c))) for c in concepts if "code" in c}


def _stored(expansion: Mapping[str, Any] | None) -> tuple[Member, ...] | None:
    """Return the codes of a stored expansion; None where it is only a page of one."""
    if expansion is None:
        return None
    made = tuple(_contained(expansion.get("contains", ())))
    is_part = expansion.get("offset", 0) > 0 or expansion.get("total", 0) > len(made)
    return None if is_part else made


def _contained(contains: Sequence[Mapping[str, Any]]) -> Iterator[Member]:
    for given in contains:
        if "code" in given:
            yield Member(
                given.get("system", ""),
                given.get("version", ""),
                given["code"],
                given.get("display", ""),
                tuple(designations_of(given)),
                given.get("inactive") is True,
                given.get("abstract") is True,
            )
        yield from _contained(given.get("contains", ()))
