"""Readings that were kept aside are tried again when what they waited for is there: a device, or its assignment.

Who writes a Device or a DeviceUseStatement leaves a durable mark in the same transaction, for devices that have
readings aside; a task takes the marks. So a crash between the two loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from adapters.devices import ownership, quarantine, reason
from adapters.devices.assignment import Assigned, find_assigned
from adapters.devices.message import Message, read_message
from adapters.devices.reading import DeviceName
from adapters.devices.reason import Reason
from fhir_server import gate
from fhir_server.errors import BadRequest
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Change, Entry, Record, Resource

if TYPE_CHECKING:
    from adapters.devices.intake import Intake, Result

MARK: Final = "device-release"
TYPES: Final = frozenset({"Device", "DeviceUseStatement"})
WAITING: Final = frozenset(
    item.code for item in (reason.DEVICE_UNKNOWN, reason.DEVICE_AMBIGUOUS, reason.UNASSIGNED, reason.PATIENT_AMBIGUOUS)
)
FINAL: Final = frozenset(
    item.code
    for item in (
        *(reason.FORMAT_UNKNOWN, reason.PAYLOAD_MALFORMED, reason.PAYLOAD_TOO_LARGE, reason.TOPIC_UNKNOWN),
        *(reason.IDENTITY_MISMATCH, reason.SCHEMA_UNKNOWN, reason.STATISTIC),
        *(reason.USER_AMBIGUOUS, reason.NOT_MEASURED, reason.RETAINED),
    )
)
"""Reasons that trying again cannot change: what was sent is no reading, or came by a way that is not its own."""

EVERY_S: Final = 5.0  # seconds between two looks at marks that another process left


class Release:
    """Tries again what was kept aside.

    Args:
        core: The door.
        intake: The way in.
        room: Who it is.
    """

    def __init__(self, core: Core, intake: Intake, room: str) -> None:
        self._core, self._intake, self._room = core, intake, room
        self._woken = asyncio.Event()

    async def enrich(self, writing: Writing, changes: Sequence[Change]) -> Sequence[Entry]:
        """Mark devices whose readings may no longer have to wait."""
        for change in changes:
            if change.version.type == "Device":
                await ownership.note(writing, change, self._core.base_url)
            for resource in (change.resource, change.before):
                for name in await _names(writing, resource or {}, self._core.base_url):
                    if await quarantine.kept(writing, device=name, limit=1):
                        await mark(writing, name)
        return []

    async def listen(self, tenant: str, changes: Sequence[Change]) -> None:
        """Wake the task: what it waits for may have been committed."""
        self._woken.set()

    async def run(self) -> None:
        """Take marks as long as the hub runs."""
        while True:
            self._woken.clear()
            for tenant in self._core.tenants():
                await self.sweep(tenant)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), EVERY_S)

    async def sweep(self, tenant: str) -> None:
        """Take every mark of a tenant."""

        async def marks(asking: Asking) -> list[Record]:
            return await asking.records(MARK, limit=100)

        while rows := await self._core.ask(tenant, marks):
            for row in rows:
                await self.device(tenant, DeviceName(**gate.load(row.body)))
                await self._core.transact(tenant, partial(_unmark, row=row))

    async def device(self, tenant: str, name: DeviceName) -> None:
        """Try again the readings of a device that waited for an assignment."""
        after = 0
        while rows := await self._rows(tenant, name, after):
            after = rows[-1].seq
            for row in rows:
                if gate.load(row.body)["reason"] in WAITING:
                    await self.again(tenant, row)

    async def again(self, tenant: str, row: Record) -> Result | None:
        """Try one row again, as who sent it; None where it cannot be read again."""
        body = gate.load(row.body)
        message = None if body["reason"] in FINAL else message_of(body)
        if message is None:
            return None
        actor = replace(self._core.internal(tenant, self._room), subject=body["sender"], patient=body["patient"])
        (result,) = await self._intake.take(message, actor=actor, source=quarantine.RELEASE)
        return result

    async def _rows(self, tenant: str, name: DeviceName, after: int) -> list[Record]:
        found: list[Record] = await self._core.ask(
            tenant, lambda asking: quarantine.kept(asking, device=name, after=after)
        )
        return found


async def mark(writing: Writing, device: DeviceName) -> None:
    """Mark a device: its readings are to be tried again."""
    await writing.put_record(MARK, quarantine.lane_of(device), "", gate.write(device._asdict()))


async def overtaken(
    writing: Writing, device: DeviceName, judged: Assigned | Reason, zone: tzinfo, base: str = ""
) -> None:
    """Mark a device whose assignment changed while a reading was on its way to be kept aside.

    Args:
        writing: The transaction that keeps it.
        device: Its name.
        judged: By which assignment it was judged.
        zone: Of bare dates.
        base: Of the hub's own references.
    """
    if await find_assigned(writing, device, zone, base) != judged:
        await mark(writing, device)


async def _unmark(writing: Writing, row: Record) -> None:
    """Drop a mark, unless it was made anew meanwhile."""
    held = await writing.record(MARK, row.key)
    if held is not None and held.at == row.at:
        await writing.drop_record(MARK, row.key)


def message_of(body: Resource) -> Message | None:
    """Return a row's reading in the message it came in; None where that is not known."""
    context: dict[str, Any] = body.get("context") or {}
    if not context:
        return None
    try:
        return read_message({**context, "readings": [body["reading"]]})
    except BadRequest:
        return None


async def _names(asking: Asking, resource: Resource, base: str) -> list[DeviceName]:
    """Return the identifiers of the device that a resource is, or is about."""
    if resource.get("resourceType") == "DeviceUseStatement":
        reference = ownership.local_of(resource.get("device"), base)
        resource = (await asking.resource(reference) or {}) if reference.startswith("Device/") else {}
    pairs = ((item.get("system", ""), item.get("value", "")) for item in resource.get("identifier", ()))
    return [DeviceName(system, value) for system, value in pairs if system and value]
