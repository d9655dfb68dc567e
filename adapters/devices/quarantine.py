"""Readings that are kept aside: durable rows that say why, until the reading comes again and is taken.

A row's body is JSON: reason, device, reading as it was sent, sender, first and times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.devices.identity import raw_key
from adapters.devices.reading import DeviceName
from adapters.devices.reason import Reason
from fhir_server import gate
from fhir_server.interface import Asking, Writing
from fhir_server.model import Record

KIND: Final = "device-quarantine"
OPEN: Final = "open"
TAKEN: Final = "taken"  # the reading came again and is in the record


async def keep(
    writing: Writing, device: DeviceName, raw: Mapping[str, Any], why: Reason, *, sender: str, detail: str = ""
) -> None:
    """Keep a reading aside; one that is there already counts once more.

    Args:
        writing: The transaction.
        device: As the sender named it.
        raw: The reading as it was sent.
        why: The reason.
        sender: Subject of the caller.
        detail: Issue codes of a refusal by the record; no value.
    """
    key = raw_key(device, raw)
    before = await writing.record(KIND, key)
    known = gate.load(before.body) if before is not None else {}
    body = {
        "reason": why.code,
        "detail": detail,
        "device": {"system": device.system, "value": device.value},
        "reading": dict(raw),
        "sender": sender,
        "first": known.get("first", writing.now),
        "times": known.get("times", 0) + 1,
    }
    await writing.put_record(KIND, key, OPEN, gate.write(body), lane=why.code)


async def is_kept(asking: Asking, device: DeviceName, raw: Mapping[str, Any]) -> bool:
    """Whether this very reading is kept aside."""
    record = await asking.record(KIND, raw_key(device, raw))
    return record is not None and record.state == OPEN


async def release(writing: Writing, device: DeviceName, raw: Mapping[str, Any]) -> None:
    """Mark a reading that was kept aside as taken into the record."""
    record = await writing.record(KIND, raw_key(device, raw))
    if record is not None:
        await writing.put_record(KIND, record.key, TAKEN, record.body, lane=record.lane)


async def kept(asking: Asking, *, after: int = 0, limit: int = 100) -> list[Record]:
    """Return open rows with seq > after, oldest first."""
    return await asking.records(KIND, state=OPEN, after=after, limit=limit)
