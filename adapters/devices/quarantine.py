"""Readings that are kept aside: durable rows that say why, until the reading is taken or a person sets it aside.

A row's body is JSON: reason, detail, device, reading as it was sent, context (gateway, clock …), sender, patient (whom
the sender's token was bound to), source, first and times. Its lane is its device, so that what an assignment frees is
found at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from adapters.devices import allowance
from adapters.devices.identity import raw_key
from adapters.devices.reading import DeviceName
from adapters.devices.reason import Reason
from fhir_server import gate
from fhir_server.interface import Asking, Core, Erasure, Writing
from fhir_server.model import Actor, Record

KIND: Final = "device-quarantine"
OPEN: Final = "open"
RELEASED: Final = "released"  # it was tried again and is in the record; its sender has not been told yet
TAKEN: Final = "taken"  # the reading came again and is in the record
DISMISSED: Final = "dismissed"  # a person said that it stays out
RELEASE: Final = "release"  # the source of a reading that is tried again
MOST_SHOWN: Final = 2_000  # characters of a media or a wave in a list
MOST_READ: Final = 8_388_608  # bytes of rows after which a list ends: the next one goes on from there
AT_ONCE: Final = 5  # rows read in one go: each may hold a picture


def lane_of(device: DeviceName) -> str:
    """Return the lane of a device's rows."""
    return hashlib.sha256(f"{len(device.system)}:{device.system}{device.value}".encode()).hexdigest()[:32]


async def keep(
    writing: Writing,
    device: DeviceName,
    raw: Mapping[str, Any],
    why: Reason,
    *,
    sender: str,
    detail: str = "",
    patient: str = "",
    source: str = "",
    context: Mapping[str, Any] | None = None,
) -> bool:
    """Keep a reading aside; one that is there already counts once more. False: there is no room, it is not kept.

    Args:
        writing: The transaction.
        device: As the sender named it.
        raw: The reading as it was sent.
        why: The reason.
        sender: Subject of the caller.
        detail: Issue codes of a refusal by the record; no value.
        patient: Id of the Patient whom the sender's token is bound to.
        source: Which feed; RELEASE where it was tried again and not sent again.
        context: `message.context_of` what it came in; without it, it is not tried again by itself.
    """
    key = raw_key(device, raw)
    before = await writing.record(KIND, key)
    known = gate.load(before.body) if before is not None else {}
    again = source == RELEASE and before is not None
    body = {
        "reason": why.code,
        "detail": detail,
        "device": {"system": device.system, "value": device.value},
        "reading": dict(raw),
        "context": known.get("context") if again else context and dict(context),
        "sender": sender,
        "patient": patient,
        "source": known.get("source", "") if again else source,
        "first": known.get("first", writing.now),
        "times": known.get("times", 0) + (not again),
    }
    if again and body == known:
        return True
    was_dismissed = before is not None and before.state == DISMISSED and known["reason"] == why.code
    made, lane, was_open = gate.write(body), lane_of(device), before is not None and before.state == OPEN
    if not (was_open or was_dismissed or await allowance.enter(writing, key, lane, len(made))):
        return False
    await writing.put_record(KIND, key, DISMISSED if was_dismissed else OPEN, made, lane=lane)
    return True


async def state_of(asking: Asking, device: DeviceName, raw: Mapping[str, Any]) -> str:
    """Return what became of this very reading since it was kept aside; "" where it never was."""
    record = await asking.record(KIND, raw_key(device, raw))
    return record.state if record is not None else ""


async def kept_since(asking: Asking, device: DeviceName, raw: Mapping[str, Any]) -> int:
    """Return when this very reading was first kept aside, microseconds since 1970; 0 where it never was."""
    record = await asking.record(KIND, raw_key(device, raw))
    return int(gate.load(record.body)["first"]) if record is not None else 0


async def release(writing: Writing, device: DeviceName, raw: Mapping[str, Any], *, is_told: bool) -> None:
    """Mark a reading that was kept aside as in the record; `is_told`: its sender is there to hear of it."""
    await settle(writing, raw_key(device, raw), TAKEN if is_told else RELEASED)


async def settle(writing: Writing, key: str, state: str) -> None:
    """Take a row off the list, as taken, released or dismissed."""
    record = await writing.record(KIND, key)
    if record is not None and record.state in (OPEN, RELEASED):
        if record.state == OPEN:
            await allowance.leave(writing, key, record.lane, len(record.body))
        await writing.put_record(KIND, key, state, record.body, lane=record.lane)


async def kept(asking: Asking, *, device: DeviceName | None = None, after: int = 0, limit: int = 100) -> list[Record]:
    """Return open rows with seq > after, oldest first; those of a device, or all. Long ones come in fewer rows."""
    lane = lane_of(device) if device is not None else None
    found: list[Record] = []
    while len(found) < limit and sum(len(row.body) for row in found) < MOST_READ:
        start, some = found[-1].seq if found else after, min(limit - len(found), AT_ONCE)
        rows = await asking.records(KIND, state=OPEN, lane=lane, after=start, limit=some)
        found += rows
        if len(rows) < some:
            break
    return found


def shown_to(core: Core, actor: Actor, action: str, request_id: str) -> None:
    """Have it audited that someone looked at rows (`action` R) or changed one (U); no patient is known of them."""
    core.audit(actor, action, "device-quarantine", "", (), 0, request_id)


def names(record: Record, erasure: Erasure) -> bool:
    """Whether a row names the Patient that is erased (`interface.Eraser`)."""
    body = gate.load(record.body)
    if erasure.patient and body.get("patient") == erasure.patient:
        return True
    text = record.body.decode()
    return any(gate.write(identifier).decode() in text for identifier in erasure.identifiers)


def shown(record: Record) -> dict[str, Any]:
    """Return a row as it is listed: long data by their length."""
    body: dict[str, Any] = gate.load(record.body)
    return {"seq": record.seq, "at": record.at, "key": record.key, **body, "reading": _short(body["reading"])}


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, str) and len(value) > MOST_SHOWN:
        return f"({len(value)} characters)"
    if isinstance(value, list) and len(value) > MOST_SHOWN:
        return f"({len(value)} items)"
    return [_short(item) for item in value] if isinstance(value, list) else value
