"""One message applied again, in a transaction of its own; a dry run is the same transaction, undone at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.hl7.arrival import Arrival
from adapters.hl7.effect import Effect, reason_of, take_effect, told
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.hold import let_go
from adapters.hl7.record import KIND, NOT_APPLIED, QUARANTINED, error_part
from adapters.hl7.report import Mode, Report, Touched, differences
from fhir_server import gate
from fhir_server.errors import FhirError, NotFound, Unavailable
from fhir_server.interface import Core, Writing
from fhir_server.model import Entry, Resource

MOST_DIFFERENCES: Final = 50  # of one resource that a report lists

_PRECISION: Final = timedelta(milliseconds=1)  # of the times that records hold


class _Undo(Exception):
    """Ends a dry run: carries its report out of the transaction, which is undone."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


@dataclass(frozen=True, slots=True)
class Repetition:
    """A stored message, or an edited copy of one, that is to be applied again."""

    key: str
    mode: Mode
    arrival: Arrival  # as today's channel reads it
    tenant: str
    body: dict[str, Any]  # of its record
    before: str = ""  # state of the message until now
    original: str = ""  # of an edited copy: the key of the message that it was made from

    async def run(self, core: Core) -> Report:
        """Apply it and store what it came to; a fault is reported and kept, not raised.

        Raises:
            NotFound: The message was erased meanwhile.
            Unavailable: The store does not answer.
        """

        async def work(writing: Writing) -> Report:
            return await self._take_effect(core, writing)

        try:
            made: Report = await core.transact(self.tenant, work)
            return made
        except _Undo as undo:
            return undo.report
        except (NotFound, Unavailable):
            raise
        except Refused as refused:
            return await self._keep_fault(core, refused.fault, {})
        except FhirError as error:
            return await self._keep_fault(core, NOT_APPLIED, reason_of(error))

    async def _take_effect(self, core: Core, writing: Writing) -> Report:
        own = await self._own(writing)
        watch = _Watch(own, self.arrival, is_as_of=self.mode is Mode.AS_OF)
        effect = await take_effect(core, writing, self.arrival, watch.choose)
        report = self._report(effect, watch)
        if self.mode is Mode.DRY_RUN:
            raise _Undo(report)
        if effect.state != QUARANTINED:
            await let_go(writing, own)
        lane = self.arrival.lanes[0] if self.arrival.lanes else ""
        own = told(own, self.arrival, effect, writing.now)
        await writing.put_record(KIND, self.key, effect.state, gate.write(own), lane=lane)
        if self.original:
            await _name_copy(writing, self.original, self.key, effect.state)
        return report

    async def _own(self, writing: Writing) -> dict[str, Any]:
        """Return the record's body as it is now; a copy has none the first time, but its original must be there."""
        stored = await writing.record(KIND, self.key)
        if stored is not None:
            return gate.load(stored.body)
        if not self.original or await writing.record(KIND, self.original) is None:  # it was erased meanwhile
            raise NotFound("There is no such message.")
        return dict(self.body)

    def _report(self, effect: Effect, watch: _Watch) -> Report:
        return Report(
            self.key,
            self.mode,
            self.before,
            effect.state,
            tuple(watch.touched(effect)),
            effect.fault,
            rules=tuple(f"{problem.path} {problem.rule}" for problem in effect.problems),
        )

    async def _keep_fault(self, core: Core, fault: Fault, reason: dict[str, Any]) -> Report:
        """Keep with the message why it was not applied, unless nothing is to be written."""

        async def work(writing: Writing) -> None:
            own = await self._own(writing)
            own |= {"attempts": own.get("attempts", 0) + 1, "error": {**error_part(fault), **reason}}
            record = await writing.record(KIND, self.key)
            lane = record.lane if record is not None else ""
            await writing.put_record(KIND, self.key, QUARANTINED, gate.write(own), lane=lane)
            if self.original:
                await _name_copy(writing, self.original, self.key, QUARANTINED)

        if self.mode is not Mode.DRY_RUN:
            await core.transact(self.tenant, work)
        return Report(self.key, self.mode, self.before, QUARANTINED, fault=fault, reason=reason)


async def _name_copy(writing: Writing, original: str, copy: str, state: str) -> None:
    """Name a copy in its original; one that is applied ends the original's hold on its patient's lane."""
    record = await writing.record(KIND, original)
    if record is None:
        return
    body = gate.load(record.body)
    body["replays"] = list(dict.fromkeys([*body.get("replays", ()), copy]))
    if state != QUARANTINED:
        await let_go(writing, body)
    await writing.put_record(KIND, original, record.state, gate.write(body), lane=record.lane)


class _Watch:
    """Notes how the resources were that a message touches, and keeps those that are newer than it."""

    def __init__(self, body: dict[str, Any], arrival: Arrival, *, is_as_of: bool) -> None:
        self._arrival, self._is_as_of = arrival, is_as_of
        self._own = frozenset(body.get("resources", ()))
        self._settled = _time(body.get("settled", ""))
        self._before: list[Resource | None] = []
        self._kept: list[str] = []

    async def choose(self, writing: Writing, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries that may be written."""
        chosen = []
        for entry in entries:
            before = await _current(writing, entry)
            if self._is_as_of and before is not None and self._is_newer(before):
                self._kept.append(f"{before['resourceType']}/{before['id']}")
                continue
            chosen.append(entry)
            self._before.append(before)
        return chosen

    def _is_newer(self, resource: Resource) -> bool:
        """Whether a resource was changed after what the message tells of, by something else than the message."""
        changed = _time(resource.get("meta", {}).get("lastUpdated", ""))
        told_at = self._arrival.draft.at if self._arrival.draft else None
        if changed is None:
            return False
        reference = f"{resource['resourceType']}/{resource['id']}"
        if reference in self._own and self._settled is not None and changed - self._settled < _PRECISION:
            return False
        return told_at is None or changed > told_at

    def touched(self, effect: Effect) -> Iterator[Touched]:
        """Yield what became of each resource."""
        for before, entry, outcome in zip(self._before, effect.entries, effect.outcomes, strict=True):
            if outcome.version is None:
                continue
            after = gate.load(outcome.version.body) if outcome.version.body else {}
            if not outcome.changed:
                yield Touched(outcome.version.reference, "unchanged")
                continue
            action = "deleted" if entry.method == "DELETE" else "created" if before is None else "updated"
            was = before if before is not None else {"resourceType": after.get("resourceType")}
            found = () if action == "deleted" else tuple(differences(was, after))[:MOST_DIFFERENCES]
            yield Touched(outcome.version.reference, action, found)
        for reference in self._kept:
            yield Touched(reference, "kept")


async def _current(writing: Writing, entry: Entry) -> Resource | None:
    """Return the resource that an entry of a plan is about, as it is now."""
    if "?" in entry.url:
        found = await writing.find(f"{entry.url}&_count=1")
        return found[0] if found else None
    return await writing.resource(entry.url) if "/" in entry.url else None


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
