"""The terminology service: what the rest of the hub asks about codes.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminology-service.html
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fhir_server.errors import TooCostly
from fhir_server.model import Resource
from fhir_server.store.protocol import View
from fhir_server.terminology.expansion import expand
from fhir_server.terminology.library import NO_PINS, Library, Pins
from fhir_server.terminology.membership import NotLoaded, contains
from fhir_server.terminology.shelf import Shelf
from fhir_server.terminology.valueset import Include, ValueSet

WATCHED = frozenset({"CodeSystem", "ValueSet", "ConceptMap"})
"""Types whose writes change what is kept in memory: they must move the tenant's epoch."""

MOST_MEMBERS = 20_000
_MEMBER = 150  # bytes in memory


class Terminology:
    """Code systems and value sets of R4 and of the tenant whose view is given; stored ones come first.

    What is decoded is kept in memory, within bounds, by id and version.
    """

    def __init__(self, shelf: Shelf | None = None) -> None:
        self._shelf = shelf or Shelf()

    def over(self, view: View, given: Sequence[Resource] = (), pins: Pins = NO_PINS) -> Library:
        """Return what one state knows.

        Args:
            view: The state.
            given: Resources that came with the request and come first.
            pins: Versions that the request wants.
        """
        return Library(view, self._shelf, given, pins)

    async def members(self, view: View, valueset_url: str) -> frozenset[tuple[str, str]]:
        """Return all (system, code) of a value set, by `url` or `url|version`.

        Of code systems that say of themselves that they are fragments or examples, the codes that are known.

        Raises:
            NotLoaded: The value set, or a code system that it takes codes from, is not loaded.
            TooCostly: It has more than 20,000 codes.
        """
        library = self.over(view)
        epoch = await library.epoch()
        key = ("members", view.tenant, valueset_url, epoch)
        kept: frozenset[tuple[str, str]] | None = self._shelf.get(key) if epoch is not None else None
        if kept is None:
            kept = frozenset(await self._members(library, valueset_url))
            if epoch is not None:
                self._shelf.keep(key, kept, 500 + _MEMBER * len(kept))
        return kept

    @staticmethod
    async def _members(library: Library, valueset_url: str) -> Collection[tuple[str, str]]:
        value_set = await library.value_set(valueset_url)
        if value_set is None:
            raise NotLoaded("The value set is not known here. Load it as a ValueSet resource, or correct its url.")
        return await _expanded(library, value_set)

    async def whole_systems(
        self, view: View, valueset_url: str
    ) -> tuple[frozenset[str], frozenset[tuple[str, str]]] | None:
        """Return the systems of which a value set takes every code, and the (system, code) that it has beside them.

        So a value set of all LOINC codes says what it means where LOINC itself is not loaded. None where it takes no
        system as a whole, or where codes are taken away from it again: inactive ones, or by an exclude.

        Raises:
            NotLoaded: What it has beside them needs a code system or value set that is not loaded.
            TooCostly: That is more than 20,000 codes.
        """
        library = self.over(view)
        value_set = await library.value_set(valueset_url)
        if value_set is None or value_set.excludes or not value_set.with_inactive:
            return None
        whole = frozenset(part.system for part in value_set.includes if _is_whole(part))
        rest = tuple(part for part in value_set.includes if not _is_whole(part))
        if not whole:
            return None
        beside = await _expanded(library, replace(value_set, includes=rest, stored=None)) if rest else ()
        return whole, frozenset(beside)

    async def contains(self, view: View, valueset_url: str, system: str | None, code: str) -> bool | None:
        """Return whether a code is in a value set; None where what is loaded cannot say.

        Args:
            view: The state.
            valueset_url: `url` or `url|version`.
            system: "" or None where the element implies it, as with `code`: any system of the value set will do.
            code: The code.

        Raises:
            FhirError: A rule of the value set cannot be run (a bad filter, a regular expression beyond bounds).
        """
        library = self.over(view)
        value_set = await library.value_set(valueset_url)
        if value_set is None:
            return None
        return await contains(library, value_set, system or None, code)

    async def below(self, view: View, system: str, code: str) -> frozenset[str]:
        """Return the code and all codes that it subsumes; the code alone where its system is not loaded."""
        known = await self.over(view).code_system(system)
        return (known.below(code) if known else frozenset()) | {code}

    async def above(self, view: View, system: str, code: str) -> frozenset[str]:
        """Return the code and all codes that subsume it; the code alone where its system is not loaded."""
        known = await self.over(view).code_system(system)
        return (known.above(code) if known else frozenset()) | {code}


async def _expanded(library: Library, value_set: ValueSet) -> Collection[tuple[str, str]]:
    found = (await expand(library, value_set)).members
    if len(found) > MOST_MEMBERS:
        raise TooCostly("The value set has more than 20,000 codes. Use a smaller one.")
    return found


def _is_whole(part: Include) -> bool:
    """Whether an include is every code of a system, of any version: https://hl7.org/fhir/R4/valueset.html#compositions."""
    narrowed = part.concepts is not None or part.filters or part.value_sets or part.version
    return bool(part.system) and not narrowed
