"""A reading that is fit, written into the record with all that goes with it, in one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from adapters.devices.alarm import told
from adapters.devices.artefact import Suspicion
from adapters.devices.correction import build_coincident, coincident
from adapters.devices.filing import build
from adapters.devices.known import Fit, Sending
from adapters.devices.message import Message
from adapters.devices.metric import missing_metric
from adapters.devices.observation import Filing
from adapters.devices.register import note
from fhir_server.interface import Core, Writing
from fhir_server.model import Actor, Entry, Scope

CLOCK: Final = "device-clock"  # durable rows: which Observation tells of a clock


class Deposit:
    """Writes readings.

    Args:
        core: The door.
        room: Who writes what stands beside a reading; the reading itself is its sender's.
    """

    def __init__(self, core: Core, room: str) -> None:
        self._core, self._room = core, room
        self._metrics: set[tuple[str, str, str]] = set()  # (tenant, Device/ID, code) whose DeviceMetric is there

    async def file(self, writing: Writing, sending: Sending, fit: Fit, suspicion: Suspicion | None) -> str:
        """Write a reading and what goes with it; return the reference of its first resource."""
        message, known, actor, _ = sending
        own = self._core.internal(actor.tenant, self._room)
        filing = Filing(
            fit.measured, fit.name.identifiers, fit.patient, fit.device, fit.when, self._core.now(), known.gateway,
            encounter=known.session.encounter if known.session else "", is_test=message.is_test,
        )  # fmt: skip
        if fit.when.offset and message.clock is not None:
            filing = replace(filing, coincident=await _clocked(writing, message, filing, own))
        is_new = (actor.tenant, fit.device, fit.measured.code) not in self._metrics
        if is_new and (made := await missing_metric(writing, fit.device, fit.measured)):
            await writing.submit(made, actor=own, interaction="device")
        entries = [Entry("POST", resource["resourceType"], resource) for resource in build(filing)]
        acting = replace(actor, scopes=tuple(Scope("system", entry.url, "c") for entry in entries))
        outcomes = await writing.submit(entries, actor=acting, interaction="device", enrich=not filing.is_of_test)
        references = [outcome.version.reference for outcome in outcomes if outcome.version is not None]
        await note(writing, fit.name, references[0])
        if alarms := await told(writing, filing, references, suspicion):
            await writing.submit(alarms, actor=own, interaction="device")
        return references[0]

    def did(self, tenant: str, fit: Fit) -> None:
        """Keep in mind that a reading was committed: the DeviceMetric of its channel is there."""
        self._metrics.add((tenant, fit.device, fit.measured.code))


async def _clocked(writing: Writing, message: Message, filing: Filing, own: Actor) -> str:
    """Return the reference of the Observation that tells of a clock, made once for each reading of it."""
    assert message.clock is not None
    key = coincident(message.clock, message.device)
    held = await writing.record(CLOCK, key)
    if held is not None and await writing.resource(held.body.decode()) is not None:
        return held.body.decode()
    gateway = (filing.gateway or {}).get("reference", "")
    resource = build_coincident(message.clock, key=key, device=filing.device, gateway=gateway, issued=filing.received)
    made = await writing.submit([Entry("POST", "Observation", resource)], actor=own, interaction="device")
    assert made[0].version is not None
    await writing.put_record(CLOCK, key, "", made[0].version.reference.encode())
    return made[0].version.reference
