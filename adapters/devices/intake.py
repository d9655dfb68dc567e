"""The way of a reading into the record: assessed, given to its patient, stored once, or kept aside with a reason.

Every feed comes here. Each reading is its own transaction, so that a bad one does not hurt others, and passes the
ordinary door, so that triage runs in that same transaction.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import tzinfo
from typing import Final, NamedTuple

from adapters.devices import reason
from adapters.devices.assessment import assess
from adapters.devices.assignment import Assigned, find_assigned, patient_at
from adapters.devices.identity import CONTENT, READING, content_of, key_of
from adapters.devices.message import Message, Received
from adapters.devices.observation import build_observation
from adapters.devices.quarantine import is_kept, keep, release
from adapters.devices.reading import DeviceName, Measured
from adapters.devices.reason import Reason
from fhir_server.errors import FhirError
from fhir_server.interface import Asking, Core, Writing
from fhir_server.model import Actor, Entry, Resource

PARALLEL: Final = 32  # readings of one message under way at once


class Result(NamedTuple):
    """What became of a reading."""

    status: str  # stored duplicate quarantined
    reference: str = ""  # Observation/ID
    reason: Reason | None = None


class Known(NamedTuple):
    """What the hub knows before it takes a message."""

    assigned: Assigned | Reason
    kept: tuple[bool, ...]  # for each reading: whether it is kept aside


class Intake:
    """Takes readings of any feed.

    Args:
        core: The door.
        zone: In which a bare date of a DeviceUseStatement is meant.
    """

    def __init__(self, core: Core, zone: tzinfo) -> None:
        self._core = core
        self._zone = zone
        self.counts: Counter[tuple[str, str]] = Counter()  # (status, reason code or "") -> readings

    async def take(self, message: Message, *, actor: Actor, source: str = "http") -> list[Result]:
        """Take the readings of one device; one result each, in order.

        Args:
            message: As `message.read_message` makes it of the canonical JSON; each feed brings its own into that.
            actor: Who sends; it must be let create Observations (the feed has looked).
            source: Which feed: http, mqtt, senml, omh, webhook …

        Raises:
            FhirError: The store cannot answer now; what was stored stays, sending again doubles nothing.
        """
        device, readings = message.device, message.readings

        async def look(asking: Asking) -> Known:
            assigned = await find_assigned(asking, device, self._zone)
            return Known(assigned, tuple([await is_kept(asking, device, item.raw) for item in readings]))

        known: Known = await self._core.ask(actor.tenant, look)
        room = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> Result:
            async with room:
                return await self._take_one(device, readings[number], known, known.kept[number], actor)

        answers = await asyncio.gather(*(one(n) for n in range(len(readings))), return_exceptions=True)
        results = []
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            self.counts[answer.status, answer.reason.code if answer.reason else ""] += 1
            results.append(answer)
        return results

    async def _take_one(self, device: DeviceName, item: Received, known: Known, was_kept: bool, actor: Actor) -> Result:
        judged = self._judge(item, known.assigned, actor)
        if isinstance(judged, Reason):
            return await self._keep(device, item, judged, actor)
        measured, patient, place = judged
        assert not isinstance(item.reading, Reason)
        key, content = key_of(device, item.reading, measured), content_of(measured)
        resource = build_observation(
            measured, key=key, content=content, patient=patient, device=place, received=self._core.now()
        )

        async def store(writing: Writing) -> Result:
            found = await writing.find(f"Observation?identifier={READING}|{key}&_count=1")
            if found and _content(found[0]) != content:
                return Result("quarantined", reason=reason.CONFLICT)
            if not found:
                entry = Entry("POST", "Observation", resource)
                made = await writing.submit([entry], actor=actor, interaction="device")
                assert made[0].version is not None
                result = Result("stored", made[0].version.reference)
            else:
                result = Result("duplicate", f"Observation/{found[0]['id']}")
            if was_kept:
                await release(writing, device, item.raw)
            return result

        try:
            result: Result = await self._core.transact(actor.tenant, store)
        except FhirError as error:
            if error.status >= 500 or error.status == 429:
                raise
            return await self._keep(device, item, reason.REFUSED, actor, detail=_codes(error))
        if result.reason is not None:
            return await self._keep(device, item, result.reason, actor)
        return result

    def _judge(self, item: Received, assigned: Assigned | Reason, actor: Actor) -> tuple[Measured, str, str] | Reason:
        """Return what was measured, of whom, by which device, or why the reading stays aside."""
        if isinstance(item.reading, Reason):
            return item.reading
        measured = assess(item.reading)
        if isinstance(measured, Reason):
            return measured
        if isinstance(assigned, Reason):
            return assigned
        at = measured.instant if measured.instant is not None else self._core.now()
        patient = patient_at(assigned, at)
        if isinstance(patient, Reason):
            return patient
        if actor.patient and patient != f"Patient/{actor.patient}":
            return reason.DEVICE_UNKNOWN  # a patient's own token learns nothing of others' devices
        return measured, patient, assigned.device

    async def _keep(self, device: DeviceName, item: Received, why: Reason, actor: Actor, *, detail: str = "") -> Result:
        async def work(writing: Writing) -> None:
            await keep(writing, device, item.raw, why, sender=actor.subject, detail=detail)

        await self._core.transact(actor.tenant, work)
        return Result("quarantined", reason=why)


def _content(observation: Resource) -> str:
    """Return the digest that a stored Observation keeps of its reading."""
    found = (i.get("value", "") for i in observation.get("identifier", ()) if i.get("system") == CONTENT)
    return next(found, "")


def _codes(error: FhirError) -> str:
    """Return the issue codes and expressions of a refusal: never a value."""
    return "; ".join(f"{issue.code} {issue.expression}".strip() for issue in error.issues[:10])
