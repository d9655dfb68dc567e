"""Erasing for good: every version of a record, its index, and what rooms keep of it; with a proof.

Source: Regulation (EU) 2016/679, Art. 17 (right to erasure; paragraph 3 lets what the law orders to keep stay: legal
holds, and the rows of the audit chain, which name no more than ids).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fhir_server import gate
from fhir_server.errors import Conflict
from fhir_server.identity.record import PAGE, Found, find, is_held, without
from fhir_server.interactions.body import stamped
from fhir_server.interactions.core import Hub
from fhir_server.interface import Erasure
from fhir_server.model import Actor
from fhir_server.profiles.library import move_mark
from fhir_server.store.protocol import AuditRow, Transaction, Write


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
            found = await find(view, type, id, self._hold, base_url=self._hub.base_url, index=self._hub.index)
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
            await self._anonymise(actor, part, before.people)
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
            await tx.audit(AuditRow(*who, before.people, 0, actor.purpose, request_id, about))

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

    async def _anonymise(self, actor: Actor, references: Sequence[str], people: Sequence[str]) -> None:
        """Take a person out of resources that are others' too, and forget their earlier versions."""

        async def work(tx: Transaction) -> None:
            for reference in references:
                type, _, id = reference.partition("/")
                current = await tx.read(type, id)
                if current is None:
                    continue
                resource = gate.load(current.body) if current.body else {}
                made = without(resource, people, self._hub.base_url, self._hub.index)
                if made != resource:
                    complete = stamped(made, id, current.version + 1, tx.now)
                    body, indexed = gate.write(complete), self._hub.index(complete)
                    await tx.put(Write(type, id, current.version + 1, tx.now, "PUT", body, indexed))
                await tx.forget(type, id)

        await self._hub.store.transact(actor.tenant, work)

    async def _rows(self, tenant: str, type: str, id: str, found: Found) -> list[tuple[str, str]]:
        """Return (kind, key) of the rows of rooms that hold what is erased."""
        gone = (frozenset(found.references), frozenset(found.identifiers))
        erasures = [Erasure(person, *gone) for person in found.people or ("",)]
        made: list[tuple[str, str]] = []
        for eraser in self._hub.erasers:
            after = 0
            while True:
                async with self._hub.store.view(tenant) as view:
                    records = await view.records(eraser.kind, after=after, limit=PAGE)
                made += [
                    (eraser.kind, record.key)
                    for record in records
                    if any(eraser.holds(record, one) for one in erasures)
                ]
                if len(records) < PAGE:
                    break
                after = records[-1].seq
        places = [f"Patient/{person}" for person in found.people] or [f"{type}/{id}"]
        marks = [mark for at in places for mark in (at.encode(), b'"id":"%b"' % at.partition("/")[2].encode())]
        marks += [value.encode() for value in sorted(found.identifiers)]
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
            "merged": [f"Patient/{person}" for person in before.people[1:]],
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
