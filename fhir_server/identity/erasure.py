"""Erasing for good: every version of a record, its index, and what rooms keep of it; with a proof.

Source: Regulation (EU) 2016/679, Art. 17 (right to erasure; paragraph 3 lets what the law orders to keep stay: legal
holds, and the rows of the audit chain, which name no more than ids).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import Conflict, NotFound
from fhir_server.identity.references import anonymised
from fhir_server.interactions.body import stamped
from fhir_server.interactions.core import Hub
from fhir_server.interface import Erasure
from fhir_server.model import Actor, Resource, Version
from fhir_server.profiles.library import move_mark
from fhir_server.store.protocol import AuditRow, HistoryQuery, Transaction, View, Write

PAGE: Final = 500  # versions read, and resources erased in one transaction
_SHORTEST: Final = 4  # characters of an identifier that is looked for in rooms' rows


@dataclass(slots=True)
class Found:
    """What there is to erase, or what is left of it."""

    versions: dict[str, int] = field(default_factory=dict)  # by type
    hashes: dict[str, list[str]] = field(default_factory=dict)  # of bodies, by type
    references: dict[str, None] = field(default_factory=dict)  # in the order in which they go
    identifiers: set[str] = field(default_factory=set)
    held: dict[str, bool] = field(default_factory=dict)  # whether the newest body is under a legal hold
    shared: dict[str, None] = field(default_factory=dict)  # resources of others, a version of which names the patient

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


async def find(view: View, type: str, id: str, hold: tuple[str, str], base_url: str) -> Found:
    """Return what erasing a resource removes: of a Patient all that belongs to nobody else.

    For a Patient every version that is stored is looked at: one that was replaced may name the patient, too.

    Raises:
        NotFound: There never was such a resource.
    """
    found = Found()
    if await view.read(type, id) is None:
        raise NotFound("There is no such resource.")
    if type == "Patient":
        await _Record(view, found, hold, id, base_url).collect()
    async for version in _versions(view, HistoryQuery(type, id, count=PAGE, total=False)):
        found.add(version, hold)
    own = f"{type}/{id}"
    found.references.pop(own, None)
    found.references[own] = None  # itself last
    return found


class _Record:
    """Finds what belongs to a patient alone, and what of others names the patient."""

    def __init__(self, view: View, found: Found, hold: tuple[str, str], patient: str, base_url: str) -> None:
        self._view, self._found, self._hold, self._patient, self._base_url = view, found, hold, patient, base_url
        self._named = re.compile(rb"Patient/%b(?![A-Za-z0-9.-])" % re.escape(patient.encode()))

    async def collect(self) -> None:
        """Look at every version, the newest first."""
        itself, found = f"Patient/{self._patient}", self._found
        async for version in _versions(self._view, HistoryQuery(count=PAGE, total=False)):
            if version.reference == itself or version.reference in found.shared:
                continue
            if version.reference not in found.references:
                if not self._is_named(version):
                    continue
                if not await self._is_own(version):
                    await self._share(version)
                    continue
            found.add(version, self._hold)

    def _is_named(self, version: Version) -> bool:
        if self._patient in version.owners:
            return True
        if self._named.search(version.body) is None:
            return False
        resource = gate.load(version.body)
        return anonymised(resource, f"Patient/{self._patient}", self._base_url) != resource

    async def _is_own(self, version: Version) -> bool:
        """Whether the resource belongs to the patient alone now; one that was corrected is another patient's."""
        newest = await self._view.read(version.type, version.id)
        return newest is not None and newest.owners == (self._patient,)

    async def _share(self, version: Version) -> None:
        newest = await self._view.read(version.type, version.id)
        self._found.shared[version.reference] = None
        if newest is not None and newest.body and is_held(gate.load(newest.body), self._hold):
            self._found.held[version.reference] = True


async def _versions(view: View, query: HistoryQuery) -> AsyncIterator[Version]:
    while True:
        versions, _ = await view.history(query)
        for version in versions:
            yield version
        if len(versions) < query.count:
            return
        query = replace(query, before_seq=versions[-1].seq)


class Eraser:
    """Erases a resource, or a patient's record.

    Args:
        hub: The core.
        hold: System and code of the label of what may not go.
    """

    def __init__(self, hub: Hub, hold: tuple[str, str]) -> None:
        self._hub, self._hold = hub, hold

    async def look(self, tenant: str, type: str, id: str) -> tuple[Found, list[tuple[str, str]]]:
        """Return what there is to erase, and the rows of rooms that hold some of it."""
        async with self._hub.store.view(tenant) as view:
            found = await find(view, type, id, self._hold, self._hub.base_url)
        return found, await self._rows(tenant, type, id, found)

    async def erase(self, actor: Actor, type: str, id: str, reason: str, request_id: str) -> dict[str, Any]:
        """Erase, and return the report that proves it.

        Raises:
            NotFound: There never was such a resource.
            Conflict: Something of it is under a legal hold.
        """
        before, rows = await self.look(actor.tenant, type, id)
        if held := before.holds():
            raise _forbidden(held)
        jobs = [key for kind, key in rows if kind == "job"]
        for job in jobs:  # those that run write no more
            await self._hub.jobs.stop(actor.tenant, job)
        for part in _parts(list(before.shared)):
            await self._anonymise(actor, part, id)
        references = list(before.references)
        *first, last = _parts(references)
        for part in first:
            await self._remove(actor.tenant, part)
        report = self._report(type, id, before, rows, reason)
        digest = hashlib.sha256(gate.write(report)).hexdigest()

        async def end(tx: Transaction) -> None:
            await self._take(tx, last)
            for kind, key in rows:
                await tx.drop_record(kind, key)
            await tx.bump_epoch()
            await move_mark(tx)
            who = (tx.now, actor.subject, actor.reference, "D", "$erase", f"{type}/{id}")
            about = f"reason={reason}&report-sha256={digest}"
            await tx.audit(AuditRow(*who, (id,) if type == "Patient" else (), 0, actor.purpose, request_id, about))

        await self._hub.store.transact(actor.tenant, end)
        after = await self._left(actor.tenant, references)
        return report | {"after": after, "sha256": digest}

    async def _remove(self, tenant: str, references: Sequence[str]) -> None:
        async def work(tx: Transaction) -> None:
            await self._take(tx, references)

        await self._hub.store.transact(tenant, work)

    async def _take(self, tx: Transaction, references: Sequence[str]) -> None:
        """Erase, but for what came under a hold since it was looked at."""
        for reference in references:
            type, _, id = reference.partition("/")
            current = await tx.read(type, id)
            if current is not None and current.body and is_held(gate.load(current.body), self._hold):
                raise _forbidden([reference])
            await tx.erase(type, id)

    async def _anonymise(self, actor: Actor, references: Sequence[str], patient: str) -> None:
        """Take a patient out of resources that are others' too, and forget their earlier versions."""

        async def work(tx: Transaction) -> None:
            for reference in references:
                type, _, id = reference.partition("/")
                current = await tx.read(type, id)
                if current is None:
                    continue
                resource = gate.load(current.body) if current.body else {}
                made = anonymised(resource, f"Patient/{patient}", self._hub.base_url)
                if made != resource:
                    complete = stamped(made, id, current.version + 1, tx.now)
                    body, indexed = gate.write(complete), self._hub.index(complete)
                    await tx.put(Write(type, id, current.version + 1, tx.now, "PUT", body, indexed))
                await tx.forget(type, id)

        await self._hub.store.transact(actor.tenant, work)

    async def _rows(self, tenant: str, type: str, id: str, found: Found) -> list[tuple[str, str]]:
        """Return (kind, key) of the rows of rooms that hold what is erased."""
        patient = id if type == "Patient" else ""
        erasure = Erasure(patient, frozenset(found.references), frozenset(found.identifiers))
        made: list[tuple[str, str]] = []
        for eraser in self._hub.erasers:
            after = 0
            while True:
                async with self._hub.store.view(tenant) as view:
                    records = await view.records(eraser.kind, after=after, limit=PAGE)
                made += [(eraser.kind, record.key) for record in records if eraser.holds(record, erasure)]
                if len(records) < PAGE:
                    break
                after = records[-1].seq
        marks = [f"{type}/{id}".encode(), b'"id":"%b"' % id.encode(), *(v.encode() for v in sorted(found.identifiers))]
        for job in await self._hub.jobs.holding(tenant, marks):
            made += await self._hub.jobs.rows(job)
        return made

    async def _left(self, tenant: str, references: Sequence[str]) -> int:
        """Return how many of the resources are still there."""
        async with self._hub.store.view(tenant) as view:
            return sum([await view.read(*reference.split("/")) is not None for reference in references])

    def _report(
        self, type: str, id: str, before: Found, rows: Sequence[tuple[str, str]], reason: str
    ) -> dict[str, Any]:
        kinds: dict[str, int] = {}
        for kind, _ in rows:
            kinds[kind] = kinds.get(kind, 0) + 1
        return {
            "resource": f"{type}/{id}",
            "reason": reason,
            "at": self._hub.now(),
            "versions": dict(sorted(before.versions.items())),
            "hashes": before.digests(),
            "resources": len(before.references),
            "rows": dict(sorted(kinds.items())),
            "shared": len(before.shared),
        }


def _forbidden(references: Sequence[str]) -> Conflict:
    return Conflict(f"A legal hold forbids it: {', '.join(references[:20])}.")


def _parts(references: Sequence[str]) -> list[Sequence[str]]:
    return [references[start : start + PAGE] for start in range(0, len(references), PAGE)]
