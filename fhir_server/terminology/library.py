"""Finds code systems, value sets and concept maps by canonical url: those given, those stored, R4's own.

Of several stored ones the active come first, then the newest version. A stored resource that is not active stands
behind R4's own of the same url.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.definitions import terminology as r4
from fhir_server.errors import TooCostly, Unprocessable
from fhir_server.model import Resource, Version
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import Ask, Match, Query
from fhir_server.search.values import Reference, Uri
from fhir_server.store.protocol import View
from fhir_server.terminology import codesystem, french, valueset
from fhir_server.terminology.codesystem import CodeSystem
from fhir_server.terminology.shelf import Shelf
from fhir_server.terminology.valueset import ValueSet, split

MOST_VERSIONS: Final = 100  # stored resources of one url that are looked at
MOST_WORK: Final = 2_000_000
"""Concepts, parts of value sets and groups of maps that one call looks at, by weight: some seconds at most."""

_CANDIDATE: Final = 1_000  # bytes in memory, with its key
_GROWTH: Final = 3  # bytes in memory for a byte of JSON, as measured, and for each concept
_CONCEPT: Final = 250
_LARGE: Final = 1_000_000  # bytes of JSON that are decoded in a thread of their own
_DATE: Final = re.compile(r"[0-9]{4}(?:-[0-9]{2}){1,2}")
_SNOMED: Final = "http://snomed.info/sct"
_LOINC: Final = "http://loinc.org"


class Candidate(NamedTuple):
    """A stored resource that has a url."""

    type: str
    id: str
    number: int  # its version in the store
    at: int  # when that was written: an erased id may come to the same version again
    version: str  # its business version
    is_active: bool
    content: str  # of a CodeSystem
    supplements: str = ""  # of a supplement: the version of the system that it adds to; "" any


class Pins(NamedTuple):
    """Which versions of code systems a request wants, by url."""

    default: Mapping[str, str] = MappingProxyType({})  # where nothing else says one
    check: Mapping[str, str] = MappingProxyType({})  # the same, and refused where something says another
    force: Mapping[str, str] = MappingProxyType({})  # whatever else says


NO_PINS: Final = Pins()


class Library:
    """All that one state of a tenant knows.

    Args:
        view: The state.
        shelf: What is kept between calls.
        given: Resources that came with the request; they and what they contain come before all others of their url.
        pins: Versions that the request wants.
    """

    def __init__(self, view: View, shelf: Shelf, given: Sequence[Resource] = (), pins: Pins = NO_PINS) -> None:
        self._view, self._shelf, self._pins = view, shelf, pins
        self._given: dict[tuple[str, str], Resource] = {}
        for resource in given:
            for inner in resource.get("contained", ()):
                self._given[inner.get("resourceType", ""), f"#{inner.get('id', '')}"] = inner
                self._given[inner.get("resourceType", ""), inner.get("url", "")] = inner
            self._given[resource.get("resourceType", ""), resource.get("url", "")] = resource
        self._given = {key: resource for key, resource in self._given.items() if key[1]}
        self._left = MOST_WORK
        self._epoch: int | None = None
        # A transaction may see what is never committed: nothing of it is remembered by name.
        self._now: int | None = getattr(view, "now", None)

    def spend(self, work: int) -> None:
        """Count what a call costs; raise TooCostly when it is too much."""
        self._left -= work
        if self._left < 0:
            raise TooCostly(
                "The answer takes too much work: the value set or map rests on too many others, or on too many codes. "
                "Ask about a smaller one."
            )

    async def breathe(self) -> None:
        """Let others have their turn in the midst of long work; a transaction waits for nothing but its store."""
        if self._now is None:
            await asyncio.sleep(0)

    async def epoch(self) -> int | None:
        """Return the epoch of the state; None inside a transaction, whose state has none yet."""
        if self._now is None and self._epoch is None:
            self._epoch = await self._view.epoch()
        return self._epoch

    async def code_system(self, url: str, version: str = "") -> CodeSystem | None:
        """Return a code system; None where nothing is known of it.

        Raises:
            Unprocessable: The request checks for another version than the one asked for.
        """
        version = self._pinned(url, version)
        if (given := self._given.get(("CodeSystem", url))) is not None:
            return codesystem.decode(given)
        key, found = await self._find("CodeSystem", url, version)
        supplements = await self._supplements(url, self._version_of(key, found))
        whole = (key, tuple(supplements))
        made: CodeSystem | None = self._shelf.get(whole)
        if made is None and key is not None:
            body, length = await self._load(key, found)
            if body.get("content") == "supplement":  # it adds to another; no code is of it
                return None
            more = [(await self._load(k, c))[0] for k, c in supplements.items()]
            decode = partial(codesystem.decode, body, more + french.supplements(url), is_listed=key[1] == r4.LISTED)
            made = await asyncio.to_thread(decode) if length > _LARGE and self._now is None else decode()
            size = len(made.concepts) * _CONCEPT + length * _GROWTH
            self._keep(whole, made, size, (found, *supplements.values()))
        return made

    async def value_set(self, canonical: str) -> ValueSet | None:
        """Return a value set by `url` or `url|version`; None where nothing is known of it."""
        url, version = split(canonical)
        if (given := self._given.get(("ValueSet", url))) is not None:
            return valueset.decode(given)
        key, found = await self._find("ValueSet", url, version)
        if key is None:
            return implied(url)
        made: ValueSet | None = self._shelf.get(key)
        if made is None:
            body, length = await self._load(key, found)
            made = valueset.decode(body)
            self._keep(key, made, length * _GROWTH, (found,))
        return made

    async def concept_map(self, canonical: str) -> Resource | None:
        """Return a ConceptMap resource by `url` or `url|version`."""
        url, version = split(canonical)
        if (given := self._given.get(("ConceptMap", url))) is not None:
            return given
        key, found = await self._find("ConceptMap", url, version)
        return None if key is None else (await self._load(key, found))[0]

    async def stored_maps(self, parameter: str, url: str) -> list[Resource]:
        """Return the stored ConceptMaps that a search by canonical finds (`source-uri`, `target-system` ...)."""
        found = await self._search("ConceptMap", parameter, url)
        return [gate.load(version.body) for version in found]

    def _pinned(self, url: str, version: str) -> str:
        wanted = self._pins.check.get(url, "")
        if wanted and version and wanted != version:
            raise Unprocessable("The value set names another version of a code system than the one to be checked.")
        return self._pins.force.get(url, "") or version or wanted or self._pins.default.get(url, "")

    # --- finding ---------------------------------------------------------------
    async def _find(self, type: str, url: str, version: str) -> tuple[tuple[str, ...] | None, Candidate | None]:
        """Return the key of the best resource and, where it is a stored one, which."""
        stored = [c for c in await self._stored(type, url) if version in ("", c.version)]
        best = stored[0] if stored else None
        own = self._own(type, url, version)
        if best is not None and (own is None or (best.is_active and best.content != "not-present")):
            return self._key(best), best
        return (None if own is None else ("r4", own, url)), None

    @staticmethod
    def _own(type: str, url: str, version: str) -> str | None:
        """Return under which type R4's package has a url; None when it does not."""
        if type == "CodeSystem" and r4.place(r4.LISTED, url) is not None:
            return r4.LISTED
        place = r4.place(type, url)
        return type if place is not None and version in ("", place.version) else None

    async def _stored(self, type: str, url: str) -> list[Candidate]:
        """Return the stored resources of a url, the best first."""
        return await self._named(type, "url", url)

    async def _supplements(self, url: str, version: str) -> dict[tuple[str, ...], Candidate]:
        """Return what adds to a version of a code system; to all of them, where the version is not known."""
        found = await self._named("CodeSystem", "supplements", url)
        return {self._key(c): c for c in found if c.is_active and (not version or c.supplements in ("", version))}

    @staticmethod
    def _version_of(key: tuple[str, ...] | None, found: Candidate | None) -> str:
        if found is not None:
            return found.version
        place = r4.place("CodeSystem", key[2]) if key is not None and key[1] == "CodeSystem" else None
        return place.version if place is not None else ""

    def _key(self, candidate: Candidate) -> tuple[str, ...]:
        number, at = str(candidate.number), str(candidate.at)
        return ("stored", self._view.tenant, candidate.type, candidate.id, number, at)

    async def _named(self, type: str, parameter: str, url: str) -> list[Candidate]:
        name = (self._view.tenant, type, parameter, url)
        epoch = await self.epoch()
        kept: list[Candidate] | None = self._shelf.named(name, epoch) if epoch is not None else None
        if kept is not None:
            return kept
        versions = await self._search(type, parameter, url)
        found = sorted(map(self._candidate, versions), key=_rank, reverse=True)
        if epoch is not None:
            self._shelf.name(name, epoch, found)
        return found

    def _candidate(self, version: Version) -> Candidate:
        key = ("candidate", self._view.tenant, version.type, version.id, version.version, version.at)
        made: Candidate | None = self._shelf.get(key)
        if made is None:
            made = _candidate(version)
            if version.at != self._now:
                self._shelf.keep(key, made, _CANDIDATE)
        return made

    async def _search(self, type: str, code: str, url: str) -> list[Version]:
        parameter = parameters_of(type)[code]
        value = Uri(url) if parameter.type == "uri" else Reference("", "", url)
        query = Query((type,), (Match(parameter, (Ask(value),)),), count=MOST_VERSIONS, total="none")
        return (await self._view.search(query)).versions

    # --- loading ---------------------------------------------------------------
    async def _load(self, key: tuple[str, ...], candidate: Candidate | None) -> tuple[Resource, int]:
        """Return a resource and how many bytes of JSON it has."""
        if candidate is None:
            place = r4.place(key[1], key[2])
            assert place is not None
            return r4.read(place), place.length
        found = await self._view.vread(candidate.type, candidate.id, candidate.number)
        assert found is not None, "a resource that the same state just found"
        return gate.load(found.body), len(found.body)

    def _keep(self, key: Any, made: Any, size: int, of: Sequence[Candidate | None]) -> None:
        if all(candidate is None or candidate.at != self._now for candidate in of):
            self._shelf.keep(key, made, size)


def _candidate(version: Version) -> Candidate:
    resource = gate.load(version.body)
    return Candidate(
        version.type,
        version.id,
        version.version,
        version.at,
        str(resource.get("version", "")),
        resource.get("status") == "active",
        resource.get("content", "") if version.type == "CodeSystem" else "",
        split(resource.get("supplements", ""))[1] if version.type == "CodeSystem" else "",
    )


def _rank(candidate: Candidate) -> tuple[bool, list[tuple[int, str]], bool, str]:
    """Active ones first, then the larger version: numbers in it count as numbers, 2.0-draft comes before 2.0."""
    plain, _, suffix = candidate.version.partition("-")
    parts = [(len(part), part) for part in plain.split(".")] if plain else []
    if _DATE.fullmatch(candidate.version):
        parts, suffix = [(4, plain), *((2, part) for part in suffix.split("-"))], ""
    return candidate.is_active, parts, not suffix, suffix


def implied(url: str) -> ValueSet | None:
    """Return a value set that is defined by its url alone.

    Source: https://hl7.org/fhir/R4/snomedct.html#implicit and https://hl7.org/fhir/R4/loinc.html#implicit
    """
    if url == f"{_LOINC}/vs":
        return valueset.whole(_LOINC, url)
    base, _, asked = url.partition("?fhir_vs")
    if base != _SNOMED or not url.startswith(f"{_SNOMED}?fhir_vs"):
        return None
    made = valueset.whole(base, url)
    if not asked:
        return made
    if not asked.startswith("=isa/"):
        return None
    rule = valueset.Filter("concept", "is-a", asked.removeprefix("=isa/"))
    return replace(made, includes=(made.includes[0]._replace(filters=(rule,)),))
