"""Patients that were found by a number a moment ago, so that not each of their messages searches for them.

Nothing is taken on trust: what is remembered is a reference, and the resource is read in the transaction that uses
it. It counts only while it still has the number, was not merged, and nobody of this process wrote a Patient with that
number since. So all that is missed for half a minute is that another process gave the number to a second Patient;
that is as if the message had come that much earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.hl7.planned import identified
from fhir_server.interface import Writing
from fhir_server.model import Actor, Change, Entry, Outcome, Resource

KEPT_US: Final = 30_000_000  # microseconds for which a search is not made again
MOST: Final = 10_000
_PREFIX: Final = "Patient?identifier="


class Acquaintances:
    """References of Patients by the search that found them alone."""

    types = frozenset({"Patient"})

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, int]] = {}  # tenant and search -> reference, when it was made

    def get(self, tenant: str, search: str, now: int) -> str:
        """Return the reference of who was found a moment ago, "" where nobody was."""
        reference, at = self._known.get((tenant, search), ("", 0))
        return reference if now - at < KEPT_US else ""

    def put(self, tenant: str, search: str, reference: str, now: int) -> None:
        """Remember who was found."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[tenant, search] = (reference, now)

    def forget(self, tenant: str, patient: Resource) -> None:
        """Forget who has one of a Patient's numbers."""
        for one in patient.get("identifier", ()):
            self._known.pop((tenant, identified("Patient", (one.get("system", ""), one.get("value", "")))), None)

    async def changed(self, tenant: str, changes: Sequence[Change]) -> None:
        """Forget what Patients were written about."""
        for change in changes:
            if change.version.type == "Patient":
                self.forget(tenant, change.resource)
                if change.before is not None:
                    self.forget(tenant, change.before)


class Acquainted:
    """A transaction (`interface.Writing`) that asks for a Patient by number only where it does not know.

    Args:
        writing: The transaction.
        known: What is known.
    """

    def __init__(self, writing: Writing, known: Acquaintances) -> None:
        self._writing, self._known = writing, known
        self.tenant, self.now = writing.tenant, writing.now
        self.is_sure = True  # whether no Patient was written in this transaction

    def __getattr__(self, name: str) -> Any:
        """Return what the transaction itself has."""
        return getattr(self._writing, name)

    async def submit(
        self, entries: Sequence[Entry], *, actor: Actor, interaction: str = "transaction", enrich: bool = True
    ) -> list[Outcome]:
        """Apply entries; after a Patient was written nothing is remembered in this transaction."""
        made = await self._writing.submit(entries, actor=actor, interaction=interaction, enrich=enrich)
        if any(one.changed and one.version is not None and one.version.type == "Patient" for one in made):
            self.is_sure = False
        return made

    async def merge(self, source: str, target: str, *, by: str) -> list[str]:
        """Merge two Patients; the same."""
        self.is_sure = False
        return await self._writing.merge(source, target, by=by)

    async def find(self, query: str) -> list[Resource]:
        """Return what a search finds."""
        search, _, rest = query.partition("&")
        if not self.is_sure or not search.startswith(_PREFIX) or not rest.startswith("_count="):
            return await self._writing.find(query)
        if reference := self._known.get(self.tenant, search, self.now):
            patient = await self._writing.resource(reference)
            if patient is not None and _has(patient, search):
                return [patient]
        found = await self._writing.find(query)
        if len(found) == 1 and _has(found[0], search):
            self._known.put(self.tenant, search, f"Patient/{found[0]['id']}", self.now)
        return found


def _has(patient: Resource, search: str) -> bool:
    """Whether a Patient that stands for itself has the number of a search."""
    if any(link.get("type") == "replaced-by" for link in patient.get("link", ())):
        return False
    numbers = ((one.get("system", ""), one.get("value", "")) for one in patient.get("identifier", ()))
    return any(identified("Patient", number) == search for number in numbers)
