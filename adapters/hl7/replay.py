"""Stored messages again, with today's maps: what would change, then the change; alone, edited, or thousands of them.

Each is one transaction that does what the first time would do (`repetition.py`): so a dry run tells what the whole hub
would answer, not what the map alone would.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from adapters.hl7.arrival import Arrival, read
from adapters.hl7.channels import Channel
from adapters.hl7.hold import let_go
from adapters.hl7.record import APPLIED, FILTERED, KIND, QUARANTINED, RECEIVED, SUPERSEDED, raw_of, raw_part, when
from adapters.hl7.repetition import Repetition
from adapters.hl7.report import Difference, Mode, Report, Selection, Summary, Touched
from fhir_server import gate
from fhir_server.errors import BadRequest, Conflict, NotFound
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Record

__all__ = [
    "Difference", "Mode", "Report", "Selection", "Summary", "Touched", "apply", "dry_run", "edited", "leave_out",
    "many", "selected", "summarise",
]  # fmt: skip

PAGE: Final = 100  # messages that are read at once

Channels = Callable[[str], Channel]
"""Name of a channel -> the channel, with today's authorities."""

Body = dict[str, Any]
"""Of a record (`record.py`)."""

_OF_ORIGINAL: Final = frozenset({"raw", "raw64", "error", "replays", "settled", "hold", "history", "left_out"})


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
    own = f"{key}|edit-{hashlib.sha256(key.encode() + raw).hexdigest()[:16]}"
    copy = _copied(body, arrival, raw) | {"replay_of": key, "edited_by": by, "received": when(core.now())}
    return await Repetition(own, mode, arrival, tenant, copy, original=key).run(core)


def _copied(body: Body, arrival: Arrival, raw: bytes) -> Body:
    """Return the record of an edited copy, made from its original's: what the original came to is left out."""
    kept = {name: value for name, value in body.items() if name not in _OF_ORIGINAL}
    copy = {
        "control_id": arrival.control_id,
        "type": arrival.name,
        "sha256": arrival.sha256,
        "charset": arrival.codec,
        "code": "",
        "ack": [],
        "attempts": 0,
    }
    return kept | copy | raw_part(raw, arrival.codec)


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
            yield await Repetition(record.key, mode, arrival, tenant, body, before=record.state).run(core)


async def selected(core: Core, selection: Selection, *, tenant: str, keys: Sequence[str] = ()) -> AsyncIterator[Record]:
    """Yield the stored messages of a selection, oldest first, as they are when their page is read.

    What a person left out stays so, unless it is asked for by its state; so does an original whose corrected copy
    was applied: both of them would have their effect.
    """
    after, wanted = 0, frozenset(keys)

    async def work(asking: Asking) -> list[Record]:
        return await asking.records(KIND, state=selection.state or None, after=after, limit=PAGE)

    end = await _newest(core, tenant)
    while page := await core.ask(tenant, work):
        for record in page:
            if record.seq > end:  # came, or was copied, after the start
                return
            body = gate.load(record.body)
            if (not wanted or record.key in wanted) and selection.fits(record, body):
                is_left = record.state == FILTERED and selection.state != FILTERED
                if not is_left and not await _is_replaced(core, tenant, body):
                    yield record
        after = page[-1].seq
        await asyncio.sleep(0)  # reading waits for nothing: others are served between two pages


async def _is_replaced(core: Core, tenant: str, body: Body) -> bool:
    """Whether a corrected copy of a message has its effect."""
    keys: list[str] = body.get("replays", [])

    async def find(asking: Asking) -> bool:
        found = [await asking.record(KIND, key) for key in keys]
        return any(record is not None and record.state in (APPLIED, SUPERSEDED) for record in found)

    return bool(keys) and bool(await core.ask(tenant, find))


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
    return await Repetition(key, mode, arrival, tenant, body, before=record.state).run(core)
