"""Prepared resources written in one transaction: new ones created, known ones updated, equal ones left alone.

All that holds for any other write holds here: profiles, checks of rooms, subscriptions, audit; triage only where it
is asked for, since what is imported is history.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fhir_server import gate
from fhir_server.bulk import wire
from fhir_server.bulk.prepare import Prepared, complete
from fhir_server.errors import Issue, Unprocessable
from fhir_server.interactions.apply import Applied
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.model import EVERYTHING, Actor, Change, Entry
from fhir_server.search.values import NOTHING, Indexed
from fhir_server.store.protocol import AuditRow, Draft, Transaction, Write

_TURN: Final = 20  # lines between two pauses


@dataclass(slots=True)
class Tally:
    """What came of some lines."""

    stored: Counter[str] = field(default_factory=Counter)  # by type
    same: int = 0  # were there already, as they are
    refused: list[tuple[int, tuple[Issue, ...]]] = field(default_factory=list)  # (line, what is wrong)

    def add(self, other: Tally) -> None:
        """Add what came of other lines."""
        self.stored.update(other.stored)
        self.same += other.same
        self.refused += other.refused


class Ready(NamedTuple):
    """A line with its values at hand."""

    line: Prepared
    indexed: Indexed


class Upsert:
    """Writes prepared resources.

    Args:
        hub: The core.
        actor: Whose writes they are; the operator, or a part of the hub.
        interaction: As audit names it.
        triage: Whether triage looks at them.
    """

    def __init__(self, hub: Hub, actor: Actor, interaction: str, *, triage: bool) -> None:
        self._hub, self._actor, self._interaction, self._triage = hub, actor, interaction, triage

    async def unpack(self, lines: Sequence[Prepared]) -> list[Ready]:
        """Make lines ready to be written, with pauses: best while the lines before them are committed."""
        made = []
        for number, line in enumerate(lines):
            if not number % _TURN:
                await asyncio.sleep(0)
            if line.type and not line.waits:
                indexed = wire.unpack(line.indexed) if line.indexed else Indexed({}, line.owners)
                made.append(Ready(line, indexed))
            else:
                made.append(Ready(line, NOTHING))
        return made

    async def write(self, tx: Transaction, lines: Sequence[Ready]) -> tuple[Tally, list[Change]]:
        """Write lines inside a transaction, all or none; those that are refused already are told.

        Raises:
            FhirError: One of them may not be written as it is; nothing is written then.
        """
        tally, done = Tally(), Applied(self._actor, EVERYTHING)
        instant = write_instant(tx.now)
        owners: set[str] = set()
        resolved: list[Change] = []
        await tx.look_up([(line.type, line.id) for line, _ in lines if line.given and not line.waits])
        for line, indexed in lines:
            if not line.type:
                tally.refused.append((line.line, tuple(Issue(*issue) for issue in line.issues)))
                continue
            if line.waits:
                resolved += await self._resolved(tx, line, tally)
                continue
            current = await tx.read(line.type, line.id) if line.given else None  # a new id is nobody's
            if current is not None and not current.is_deleted:
                as_it_is = complete(line.type, line.id, line.body, current.version, write_instant(current.at))
                if as_it_is == current.body:
                    tally.same += 1
                    continue
            number = 1 if current is None else current.version + 1
            body = complete(line.type, line.id, line.body, number, instant)
            draft = Draft(line.shared, line.draft, instant if number == 1 else "") if line.draft else None
            if self._hub.registry.defines(line.type):  # who prepared it knew R4's parameters only
                indexed, draft = self._hub.index(gate.load(body)), None
            method = "PUT" if line.given else "POST"
            version = await tx.put(Write(line.type, line.id, number, tx.now, method, body, indexed, draft))
            before = gate.load(current.body) if current is not None and not current.is_deleted else None
            done.changes.append(Change(version, gate.load, before, line.profiles))
            owners.update(indexed.owners)
            tally.stored[line.type] += 1
        await self._conclude(tx, done, owners)
        return tally, done.changes + resolved

    async def _resolved(self, tx: Transaction, line: Prepared, tally: Tally) -> list[Change]:
        """Write a line whose conditional references the store must answer, with all that follows a write."""
        resource = gate.load(line.body)
        entry = Entry("PUT", f"{line.type}/{line.id}", resource) if line.given else Entry("POST", line.type, resource)
        applier = self._hub.applier
        steps = applier.prepare([entry], self._actor, bundled=False)
        made = await applier.apply(tx, steps, self._actor, self._interaction, enrich=self._triage)
        changed = made.outcomes[0].changed
        tally.stored[line.type] += changed
        tally.same += not changed
        return made.changes

    async def _conclude(self, tx: Transaction, done: Applied, owners: set[str]) -> None:
        if not done.changes:
            return
        applier = self._hub.applier
        if refused := await applier.judged(tx, done.changes):
            issues = [issue for _, found in refused for issue in found]
            raise Unprocessable("The resource does not conform to a profile.", issues=issues)
        await applier.conclude(tx, done, enrich=self._triage)
        actor = self._actor
        row = (tx.now, actor.subject, actor.reference, "E", self._interaction, "", tuple(sorted(owners)), 0)
        await tx.audit(AuditRow(*row, actor.purpose, ""))
