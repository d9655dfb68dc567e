"""Erasing for good: every version of a record, its index, and what rooms keep of it; with a proof.

Source: Regulation (EU) 2016/679, Art. 17 (right to erasure; paragraph 3 lets what the law orders to keep stay: legal
holds, and the rows of the audit chain, which name no more than ids).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import Conflict, NotFound
from fhir_server.identity.merge import referring
from fhir_server.identity.references import anonymised
from fhir_server.interactions.body import stamped
from fhir_server.interactions.core import Hub
from fhir_server.interface import Erasure
from fhir_server.model import Actor, Resource, Version, Visibility
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
    held: list[str] = field(default_factory=list)  # resources under a legal hold
    shared: list[str] = field(default_factory=list)  # resources of others that name the patient

    def add(self, version: Version, hold: tuple[str, str]) -> None:
        """Note one version."""
        self.versions[version.type] = self.versions.get(version.type, 0) + 1
        self.hashes.setdefault(version.type, []).append(hashlib.sha256(version.body).hexdigest())
        self.references[version.reference] = None
        if version.body:
            resource = gate.load(version.body)
            values = [item.get("value", "") for item in _items(resource.get("identifier"))]
            self.identifiers.update(value for value in values if len(value) >= _SHORTEST)
            if is_held(resource, hold) and version.reference not in self.held:
                self.held.append(version.reference)

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


async def find(view: View, type: str, id: str, hold: tuple[str, str]) -> Found:
    """Return what erasing a resource removes: of a Patient all that belongs to nobody else.

    Raises:
        NotFound: There never was such a resource.
    """
    found = Found()
    if await view.read(type, id) is None:
        raise NotFound("There is no such resource.")
    if type == "Patient":
        await _collect(view, found, HistoryQuery(count=PAGE, total=False), hold, patient=id)
        found.shared = [v.reference async for v in referring(view, id, left=()) if v.owners != (id,)]
    await _collect(view, found, HistoryQuery(type, id, count=PAGE, total=False), hold)
    own = f"{type}/{id}"
    found.references.pop(own, None)
    found.references[own] = None  # itself last
    return found


async def _collect(
    view: View, found: Found, query: HistoryQuery, hold: tuple[str, str], *, patient: str | None = None
) -> None:
    see = Visibility(None if patient is None else frozenset({patient}))
    while True:
        versions, _ = await view.history(query, see=see)
        for version in versions:
            if patient is None or (version.owners == (patient,) and version.reference != f"Patient/{patient}"):
                found.add(version, hold)
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
            found = await find(view, type, id, self._hold)
        return found, await self._rows(tenant, type, id, found)

    async def erase(self, actor: Actor, type: str, id: str, reason: str, request_id: str) -> dict[str, Any]:
        """Erase, and return the report that proves it.

        Raises:
            NotFound: There never was such a resource.
            Conflict: Something of it is under a legal hold.
        """
        before, rows = await self.look(actor.tenant, type, id)
        if before.held:
            raise Conflict(f"A legal hold forbids it: {', '.join(before.held[:20])}.")
        jobs = [key for kind, key in rows if kind == "job"]
        for job in jobs:  # those that run write no more
            await self._hub.jobs.stop(actor.tenant, job)
        for start in range(0, len(before.shared), PAGE):
            await self._anonymise(actor, before.shared[start : start + PAGE], id)
        references = list(before.references)
        *first, last = _parts(references)
        for part in first:
            await self._remove(actor.tenant, part)
        report = self._report(type, id, before, rows, reason)
        digest = hashlib.sha256(gate.write(report)).hexdigest()

        async def end(tx: Transaction) -> None:
            for reference in last:
                await tx.erase(*reference.split("/"))
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
            for reference in references:
                await tx.erase(*reference.split("/"))

        await self._hub.store.transact(tenant, work)

    async def _anonymise(self, actor: Actor, references: Sequence[str], patient: str) -> None:
        """Take a patient out of resources that are others' too, and forget their earlier versions."""

        async def work(tx: Transaction) -> None:
            for reference in references:
                type, _, id = reference.partition("/")
                current = await tx.read(type, id)
                if current is None or current.is_deleted:
                    continue
                made = anonymised(gate.load(current.body), f"Patient/{patient}", self._hub.base_url)
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


def _parts(references: Sequence[str]) -> list[Sequence[str]]:
    return [references[start : start + PAGE] for start in range(0, len(references), PAGE)]
