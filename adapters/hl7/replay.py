"""Stored messages again, with today's maps: what would change, then the change; alone, edited, or thousands of them.

Each is one transaction that does what the first time would do. A dry run is the same transaction, undone at its
end: so it tells what the whole hub would answer, not what the map alone would.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from adapters.hl7.arrival import Arrival, read
from adapters.hl7.channels import Channel
from adapters.hl7.effect import Effect, reason_of, take_effect, told
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.hold import let_go
from adapters.hl7.record import (
    FILTERED,
    KIND,
    NOT_APPLIED,
    QUARANTINED,
    RECEIVED,
    error_part,
    raw_of,
    raw_part,
    when,
)
from adapters.hl7.report import Difference, Mode, Report, Selection, Summary, Touched, differences
from fhir_server import gate
from fhir_server.errors import BadRequest, Conflict, FhirError, NotFound, Unavailable
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Entry, Record, Resource

__all__ = [
    "Difference", "Mode", "Report", "Selection", "Summary", "Touched", "apply", "dry_run", "edited", "leave_out",
    "many", "selected", "summarise",
]  # fmt: skip

PAGE: Final = 100  # messages that are read at once
MOST_DIFFERENCES: Final = 50  # of one resource that a report lists

Channels = Callable[[str], Channel]
"""Name of a channel -> the channel, with today's authorities."""


_PRECISION: Final = timedelta(milliseconds=1)  # of the times that records hold


class _Undo(Exception):
    """Ends a dry run: carries its report out of the transaction, which is undone."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


async def dry_run(core: Core, key: str, *, channels: Channels, tenant: str = "") -> Report:
    """Return what a replay of a message would change; nothing is written.

    Raises:
        NotFound: No message has that key.
    """
    return await _again(core, key, Mode.DRY_RUN, channels, tenant or core.tenants()[0])


async def apply(core: Core, key: str, *, channels: Channels, tenant: str = "", as_of: bool = False) -> Report:
    """Apply a stored message again and store what it came to; a fault is reported, not raised.

    Args:
        core: The door.
        key: Of the record.
        channels: Gives the channel that the message came by.
        tenant: Whose message; "" for the hub's own tenant.
        as_of: Whether resources that something later than the message has changed are left as they are.

    Raises:
        NotFound: No message has that key.
        Unavailable: The store does not answer.
    """
    mode = Mode.AS_OF if as_of else Mode.APPLY
    return await _again(core, key, mode, channels, tenant or core.tenants()[0])


async def edited(
    core: Core,
    key: str,
    raw: bytes,
    *,
    channels: Channels,
    tenant: str = "",
    mode: Mode = Mode.DRY_RUN,
    by: str = "",
) -> Report:
    """Replay an edited copy of a message; the original stays as it came.

    The copy is a message of its own, under a key made from both (the same edit is the same copy), with `replay_of`
    its original; the original then names it in `replays`.

    Args:
        core: The door.
        key: Of the original.
        raw: The copy, without framing.
        channels: Gives the channel that the original came by.
        tenant: Whose message; "" for the hub's own tenant.
        mode: A dry run stores no copy.
        by: Who edited it.

    Raises:
        NotFound: No message has that key.
        BadRequest: The copy is the original.
    """
    tenant = tenant or core.tenants()[0]
    original = await _stored(core, tenant, key)
    body = gate.load(original.body)
    if raw_of(body) == raw:
        raise BadRequest("The copy is the same as the original: replay that.")
    arrival = read(channels(body["channel"]), raw)
    copy = {
        **body,
        "control_id": arrival.control_id,
        "type": arrival.name,
        "sha256": arrival.sha256,
        "charset": arrival.codec,
        "code": "",
        "ack": [],
        "attempts": 0,
        "replay_of": key,
        "edited_by": by,
        "received": when(core.now()),
    }
    for name in ("raw", "raw64", "error", "replays", "settled", "hold"):
        copy.pop(name, None)
    copy |= raw_part(raw, arrival.codec)
    own = f"{key}|edit-{hashlib.sha256(key.encode() + raw).hexdigest()[:16]}"
    return await _run(core, own, mode, arrival, tenant, copy, original=key)


async def many(
    core: Core,
    selection: Selection,
    *,
    channels: Channels,
    tenant: str = "",
    mode: Mode = Mode.DRY_RUN,
    keys: Sequence[str] = (),
) -> AsyncIterator[Report]:
    """Replay all messages of a selection, in the order in which they came; memory does not grow with their number.

    A dry run of many shows each by itself, over what is stored now: not what the earlier ones of the same run
    would have changed before.

    Args:
        core: The door.
        selection: Which.
        channels: Gives the channel that a message came by.
        tenant: Whose messages; "" for the hub's own tenant.
        mode: What may change.
        keys: Only these, where some are given.
    """
    tenant = tenant or core.tenants()[0]
    async for record in selected(core, selection, tenant=tenant, keys=keys):
        body = gate.load(record.body)
        if record.state != RECEIVED:  # those are still to be applied for the first time
            arrival = read(channels(body["channel"]), raw_of(body))
            yield await _run(core, record.key, mode, arrival, tenant, body, before=record.state)


async def selected(core: Core, selection: Selection, *, tenant: str, keys: Sequence[str] = ()) -> AsyncIterator[Record]:
    """Yield the stored messages of a selection, oldest first, as they are when their page is read."""
    after, wanted = 0, frozenset(keys)

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, state=selection.state or None, after=after, limit=PAGE)

    end = await _newest(core, tenant)
    while page := await core.ask(tenant, work):
        for record in page:
            if record.seq > end:  # came, or was copied, after the start
                return
            if (not wanted or record.key in wanted) and selection.fits(record, gate.load(record.body)):
                yield record
        after = page[-1].seq


async def summarise(reports: AsyncIterator[Report]) -> Summary:
    """Count reports."""
    made = Summary()
    async for report in reports:
        made.add(report)
    return made


async def leave_out(core: Core, key: str, reason: str, *, by: str = "", tenant: str = "") -> None:
    """Take a message in quarantine out of the work to do, for a reason that is kept with it (state `filtered`).

    Raises:
        NotFound: No message has that key.
        Conflict: It is not in quarantine.
    """
    tenant = tenant or core.tenants()[0]

    async def work(writing: Writing) -> None:
        record = await writing.record(KIND, key)
        if record is None:
            raise NotFound("There is no such message.")
        if record.state != QUARANTINED:
            raise Conflict("Only a message in quarantine can be left out.")
        body = gate.load(record.body) | {"left_out": {"reason": reason, "by": by, "at": when(writing.now)}}
        await let_go(writing, body)
        await writing.put_record(KIND, key, FILTERED, gate.write(body), lane=record.lane)

    await core.transact(tenant, work)


async def _newest(core: Core, tenant: str) -> int:
    """Return a number that no record stored until now exceeds: that of a mark that is put in now, and taken out."""

    async def work(writing: Writing) -> int:
        mark = await writing.put_record("hl7-mark", "now", "", b"")
        await writing.drop_record("hl7-mark", "now")
        return mark.seq

    seq: int = await core.transact(tenant, work)
    return seq


async def _stored(core: Core, tenant: str, key: str) -> Record:
    async def find(asking: Asking) -> Record | None:
        return await asking.record(KIND, key)

    found: Record | None = await core.ask(tenant, find)
    if found is None:
        raise NotFound("There is no such message.")
    return found


async def _again(core: Core, key: str, mode: Mode, channels: Channels, tenant: str) -> Report:
    record = await _stored(core, tenant, key)
    body = gate.load(record.body)
    arrival = read(channels(body["channel"]), raw_of(body))
    return await _run(core, key, mode, arrival, tenant, body, before=record.state)


async def _run(
    core: Core,
    key: str,
    mode: Mode,
    arrival: Arrival,
    tenant: str,
    body: dict[str, Any],
    *,
    before: str = "",
    original: str = "",
) -> Report:
    """Replay one message in a transaction of its own."""

    async def work(writing: Writing) -> Report:
        stored = await writing.record(KIND, key)
        if original == "" and stored is None:  # it was erased meanwhile
            raise NotFound("There is no such message.")
        own = gate.load(stored.body) if stored is not None else body
        watch = _Watch(own, arrival, is_as_of=mode is Mode.AS_OF)
        effect = await take_effect(core, writing, arrival, watch.choose)
        report = Report(
            key,
            mode,
            before,
            effect.state,
            tuple(watch.touched(effect)),
            effect.fault,
            rules=tuple(f"{problem.path} {problem.rule}" for problem in effect.problems),
        )
        if mode is Mode.DRY_RUN:
            raise _Undo(report)
        if effect.state != QUARANTINED:
            await let_go(writing, own)
        lane = arrival.lanes[0] if arrival.lanes else ""
        own = told(own, arrival, effect, writing.now)
        await writing.put_record(KIND, key, effect.state, gate.write(own), lane=lane)
        if original:
            await _name_copy(writing, original, key, effect.state)
        return report

    try:
        made: Report = await core.transact(tenant, work)
        return made
    except _Undo as undo:
        return undo.report
    except (NotFound, Unavailable):
        raise
    except Refused as refused:
        fault, reason = refused.fault, {}
    except FhirError as error:
        fault, reason = NOT_APPLIED, reason_of(error)
    report = Report(key, mode, before, QUARANTINED, fault=fault, reason=reason)
    if mode is not Mode.DRY_RUN:
        await _keep_fault(core, tenant, key, body, fault, reason)
    return report


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


async def _keep_fault(
    core: Core, tenant: str, key: str, body: dict[str, Any], fault: Fault, reason: dict[str, Any]
) -> None:
    async def work(writing: Writing) -> None:
        record = await writing.record(KIND, key)
        own = gate.load(record.body) if record is not None else body
        own |= {"attempts": own.get("attempts", 0) + 1, "error": {**error_part(fault), **reason}}
        lane = record.lane if record is not None else ""
        await writing.put_record(KIND, key, QUARANTINED, gate.write(own), lane=lane)

    await core.transact(tenant, work)


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
            found = tuple(differences(before or {}, after))[:MOST_DIFFERENCES] if action == "updated" else ()
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
