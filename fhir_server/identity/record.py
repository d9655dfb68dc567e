"""What erasing a patient's record removes, and what of others names the patient: every stored version is looked at.

Source: Regulation (EU) 2016/679, Art. 17.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import NotFound
from fhir_server.identity.predecessors import merged_into
from fhir_server.identity.references import anonymised
from fhir_server.model import Resource, Version
from fhir_server.search.values import Indexed
from fhir_server.store.protocol import HistoryQuery, View

PAGE: Final = 500  # versions read, and resources erased in one transaction
_SHORTEST: Final = 4  # characters of an identifier that is looked for in rooms' rows
_binaries: Final = re.compile(rb'"(?:url|reference)":"([^"]{0,200}?)Binary/([A-Za-z0-9.\-]{1,64})[/"]').finditer


@dataclass(slots=True)
class Found:
    """What there is to erase, or what is left of it."""

    versions: dict[str, int] = field(default_factory=dict)  # by type
    hashes: dict[str, list[str]] = field(default_factory=dict)  # of bodies, by type
    references: dict[str, None] = field(default_factory=dict)  # in the order in which they go
    identifiers: set[str] = field(default_factory=set)
    held: dict[str, bool] = field(default_factory=dict)  # whether the newest body is under a legal hold
    shared: dict[str, None] = field(default_factory=dict)  # resources of others, a version of which names the patient
    people: tuple[str, ...] = ()  # ids of the Patient and of those merged into it; of another resource nobody

    def add(self, version: Version, hold: tuple[str, str]) -> None:
        """Note one version of what goes; the newest first."""
        self.versions[version.type] = self.versions.get(version.type, 0) + 1
        self.hashes.setdefault(version.type, []).append(hashlib.sha256(version.body).hexdigest())
        self.references[version.reference] = None
        if version.body:
            resource = gate.load(version.body)
            values = [item.get("value", "") for item in _items(resource.get("identifier"))]
            self.identifiers.update(value for value in values if len(value) >= _SHORTEST)
            self.held.setdefault(version.reference, is_held(resource, hold))

    def holds(self) -> list[str]:
        """Return the references of what a legal hold keeps."""
        return [reference for reference, held in self.held.items() if held]

    def digests(self) -> dict[str, str]:
        """Return one hash for each type: of the sorted hashes of its bodies."""
        return {
            type: hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()
            for type, hashes in sorted(self.hashes.items())
        }


def _items(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def is_held(resource: Resource, hold: tuple[str, str]) -> bool:
    """Whether a resource is labelled as under a legal hold."""
    labels = resource.get("meta", {}).get("security", ())
    return any((label.get("system"), label.get("code")) == hold for label in labels)


async def find(
    view: View, type: str, id: str, hold: tuple[str, str], *, base_url: str, index: Callable[[Resource], Indexed]
) -> Found:
    """Return what erasing a resource removes: of a Patient all that belongs to nobody else.

    For a Patient every version that is stored is looked at: one that was replaced may name the patient, too. Bundles of
    that patient's resources alone go with them, and Binaries that nothing else points to. Patients that were merged
    into it are the same person: they go too.

    Args:
        view: The state.
        type: Of the resource.
        id: Of the resource.
        hold: System and code of the label of what may not go.
        base_url: Of this server's FHIR root.
        index: Says whose a resource is.

    Raises:
        NotFound: There never was such a resource.
    """
    found = Found()
    if await view.read(type, id) is None:
        raise NotFound("There is no such resource.")
    if type == "Patient":
        found.people = (id, *await merged_into(view, id, base_url))
        await _Record(view, found, hold, base_url, index).collect()
    async for version in _versions(view, HistoryQuery(type, id, count=PAGE, total=False)):
        found.add(version, hold)
    own = f"{type}/{id}"
    found.references.pop(own, None)
    found.references[own] = None  # itself last
    return found


class _Record:
    """Finds what belongs to a person alone, and what of others names the person."""

    def __init__(
        self,
        view: View,
        found: Found,
        hold: tuple[str, str],
        base_url: str,
        index: Callable[[Resource], Indexed],
    ) -> None:
        self._view, self._found, self._hold, self._base_url = view, found, hold, base_url
        self._people = frozenset(found.people)
        self._index, self._itself = index, f"Patient/{found.people[0]}"
        self._ids = [f'"id":"{id}"'.encode() for id in found.people]
        self._files: set[str] = set()  # ids of Binaries that what goes points to
        ids = b"|".join(re.escape(id.encode()) for id in found.people)
        self._named = re.compile(rb"Patient/(?:%b)(?![A-Za-z0-9.-])" % ids)

    async def collect(self) -> None:
        """Look at every version, the newest first."""
        found = self._found
        async for version in _versions(self._view, HistoryQuery(count=PAGE, total=False)):
            if version.reference == self._itself:
                self._files |= self._pointed(version)
                continue
            if version.reference in found.shared:
                continue
            if version.reference not in found.references:
                if not self._is_named(version):
                    continue
                if not await self._is_own(version):
                    await self._share(version)
                    continue
            found.add(version, self._hold)
            self._files |= self._pointed(version)
        await self._collect_files()

    def _pointed(self, version: Version) -> set[str]:
        """Return the ids of the Binaries of this server that a version points to."""
        own = (b"", f"{self._base_url}/".encode())
        return {match[2].decode() for match in _binaries(version.body) if match[1] in own}

    async def _collect_files(self) -> None:
        """Add the Binaries that nothing else points to."""
        if self._files:
            async for version in _versions(self._view, HistoryQuery(count=PAGE, total=False)):
                if version.reference != self._itself and version.reference not in self._found.references:
                    self._files -= self._pointed(version)
        for id in sorted(self._files):
            async for version in _versions(self._view, HistoryQuery("Binary", id, count=PAGE, total=False)):
                self._found.add(version, self._hold)

    def _is_named(self, version: Version) -> bool:
        if not self._people.isdisjoint(version.owners):
            return True
        is_bundled = version.type == "Bundle" and any(id in version.body for id in self._ids)
        if self._named.search(version.body) is None and not is_bundled:
            return False
        resource = gate.load(version.body)
        return without(resource, self._found.people, self._base_url, self._index) != resource

    async def _is_own(self, version: Version) -> bool:
        """Whether the resource belongs to the patient alone now; one that was corrected is another patient's."""
        newest = await self._view.read(version.type, version.id)
        if newest is None or newest.owners:
            return newest is not None and self._people.issuperset(newest.owners)
        if newest.type != "Bundle" or not newest.body:
            return False
        owners = owners_within(gate.load(newest.body), self._index)
        return bool(owners) and all(self._people.issuperset(one) for one in owners)

    async def _share(self, version: Version) -> None:
        newest = await self._view.read(version.type, version.id)
        self._found.shared[version.reference] = None
        if newest is not None and newest.body and is_held(gate.load(newest.body), self._hold):
            self._found.held[version.reference] = True


def owners_within(bundle: Resource, index: Callable[[Resource], Indexed]) -> list[tuple[str, ...]]:
    """Return whose the resources of a Bundle are that belong to patients."""
    resources = [entry["resource"] for entry in _items(bundle.get("entry")) if isinstance(entry.get("resource"), dict)]
    return [owners for resource in resources if (owners := index(resource).owners)]


def without(
    resource: Resource, people: Collection[str], base_url: str, index: Callable[[Resource], Indexed]
) -> Resource:
    """Return a resource of others without a person: no reference names them, a Bundle has none of their resources."""
    if resource.get("resourceType") == "Bundle":
        entries = [
            entry
            for entry in _items(resource.get("entry"))
            if not isinstance(entry.get("resource"), dict) or not _are(people, index(entry["resource"]).owners)
        ]
        resource = {**resource, "entry": entries}
        if not entries:
            del resource["entry"]
    for patient in people:
        resource = anonymised(resource, f"Patient/{patient}", base_url)
    return resource


def _are(people: Collection[str], owners: Collection[str]) -> bool:
    return bool(owners) and all(owner in people for owner in owners)


async def _versions(view: View, query: HistoryQuery) -> AsyncIterator[Version]:
    while True:
        versions, _ = await view.history(query)
        for version in versions:
            yield version
        if len(versions) < query.count:
            return
        query = replace(query, before_seq=versions[-1].seq)
