"""The way of a reading into the record: assessed, given to its patient, stored once, or kept aside with a reason.

Every feed comes here. Each reading is its own transaction, so that a bad one does not hurt others, and passes the
ordinary door, so that triage runs in that same transaction. Events (a fall, an alarm) go before all else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import tzinfo
from functools import partial
from typing import Any, Final, NamedTuple

from adapters.devices import quarantine, reason
from adapters.devices.artefact import Memory
from adapters.devices.assessment import assess
from adapters.devices.assignment import identified, patient_at
from adapters.devices.correction import by_a_clock, effective
from adapters.devices.deposit import Deposit
from adapters.devices.filing import Name, name_of, type_of
from adapters.devices.identity import EUI_64
from adapters.devices.known import Fit, Known, Sending, look
from adapters.devices.measure import measures_of
from adapters.devices.message import REFERENCE, Message, Received, context_of
from adapters.devices.reading import DeviceName, Measured, Reading
from adapters.devices.reason import Reason
from adapters.devices.register import Match, find_filed, find_written
from adapters.devices.release import WAITING, overtaken
from adapters.devices.watch import hear
from fhir_server.errors import FhirError
from fhir_server.interface import Core, Writing
from fhir_server.model import Actor

PARALLEL: Final = 32  # readings of one message under way at once
CALM: Final = 48  # messages without an event under way at once: a fall never waits behind more
DEVICES: Final = 8  # devices of one request under way at once
ROOM: Final = "devices"  # who this room is when it acts by itself

log = logging.getLogger("predmp.devices")


class Result(NamedTuple):
    """What became of a reading."""

    status: str  # stored duplicate quarantined; refused: unfit, and there is no room to keep it aside
    reference: str = ""  # Type/ID of its first resource
    reason: Reason | None = None


class Intake:
    """Takes readings of any feed.

    Args:
        core: The door.
        zone: In which a bare date of a DeviceUseStatement is meant.
    """

    def __init__(self, core: Core, zone: tzinfo) -> None:
        self._core = core
        self.zone = zone
        self._memory = Memory()
        self._calm = asyncio.Semaphore(CALM)
        self._deposit = Deposit(core, ROOM)
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
        if any(is_urgent(item) for item in message.readings):
            return await self._take(message, actor, source)
        async with self._calm:
            return await self._take(message, actor, source)

    async def _take(self, message: Message, actor: Actor, source: str) -> list[Result]:
        if message.device.system == REFERENCE:
            device: DeviceName = await self._core.ask(actor.tenant, partial(identified, name=message.device))
            message = message._replace(device=device)
        known: Known = await self._core.ask(
            actor.tenant, lambda asking: look(asking, message, self.zone, self._core.now(), self._core.base_url)
        )
        room = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> Result:
            item = message.readings[number]
            place: AbstractAsyncContextManager[Any] = nullcontext() if is_urgent(item) else room
            async with place:
                return await self._take_one(message, item, known, known.kept[number], actor, source)

        order = sorted(range(len(message.readings)), key=lambda number: not is_urgent(message.readings[number]))
        answers = await asyncio.gather(*(one(number) for number in order), return_exceptions=True)
        results = {}
        for number, answer in zip(order, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            self.counts[answer.status, answer.reason.code if answer.reason else ""] += 1
            results[number] = answer
        if known.awaited:
            await self._core.transact(actor.tenant, lambda writing: hear(writing, known.awaited))
        return [results[number] for number in range(len(message.readings))]

    async def take_all(self, messages: Sequence[Message], *, actor: Actor, source: str = "http") -> list[list[Result]]:
        """Take messages of several devices at once, those of one device in their order, and events before all else."""
        of_device: dict[DeviceName, list[int]] = {}
        for number, message in enumerate(messages):
            of_device.setdefault(message.device, []).append(number)
        results: dict[int, list[Result]] = {}
        room = asyncio.Semaphore(DEVICES)

        async def one(numbers: Sequence[int]) -> None:
            async with room:
                for number in numbers:
                    results[number] = await self.take(messages[number], actor=actor, source=source)

        def is_calm(numbers: Sequence[int]) -> bool:
            return not any(is_urgent(item) for number in numbers for item in messages[number].readings)

        groups = sorted(of_device.values(), key=is_calm)
        for ended in await asyncio.gather(*(one(numbers) for numbers in groups), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
        return [results[number] for number in range(len(messages))]

    async def _take_one(
        self, message: Message, item: Received, known: Known, since: int, actor: Actor, source: str
    ) -> Result:
        sending = Sending(message, known, actor, source)
        fit = self._judge(sending, item, since)
        if isinstance(fit, Reason):
            return await self._came_before(sending, item, fit) or await self._keep(sending, item, fit)
        # Before it is stored, so that the readings of one message are judged in their order.
        suspicion = self._memory.judge(_line(actor, fit), fit.measured, fit.when.instant)

        written = await self._written(sending, fit)

        async def store(writing: Writing) -> Result:
            # A reading without a time of its own is whose it was when it came.
            is_timed = fit.measured.instant is not None
            found = await find_filed(writing, fit.name, patient=fit.patient if is_timed else "")
            if found is None and written:
                return Result("duplicate", written)
            if found is not None and not found.is_same:
                return Result("quarantined", reason=reason.CONFLICT)
            state = await quarantine.state_of(writing, message.device, item.raw) if found or since else ""
            if found is None:
                result = Result("stored", await self._deposit.file(writing, sending, fit, suspicion))
            else:
                # One that was released by itself is news to its sender, once.
                result = Result("stored" if state == quarantine.RELEASED else "duplicate", found.reference)
            if state in (quarantine.OPEN, quarantine.RELEASED):
                is_told = source != quarantine.RELEASE
                await quarantine.release(writing, message.device, item.raw, is_told=is_told)
            return result

        try:
            result: Result = await self._core.transact(actor.tenant, store)
        except FhirError as error:
            if error.status >= 500 or error.status == 429:
                raise
            return await self._keep(sending, item, reason.REFUSED, detail=_codes(error))
        if result.reason is not None:
            return await self._keep(sending, item, result.reason)
        if result.status == "stored":
            self._deposit.did(actor.tenant, fit)
        return result

    def _judge(self, sending: Sending, item: Received, since: int) -> Fit | Reason:
        """Return what was measured, of whom, by which device, or why the reading stays aside.

        Args:
            sending: What it came in.
            item: The reading.
            since: When it came first, if it was kept aside then: the time of a reading that has none of its own.
        """
        message, known, actor, _ = sending
        if isinstance(item.reading, Reason):
            return item.reading
        measured = assess(item.reading)
        if isinstance(measured, Reason):
            return measured
        if measured.instant is None and message.is_retained and not since:
            return reason.RETAINED
        when = effective(measured, message.clock, self._core.now(), came=since)
        if isinstance(when, Reason):
            return when
        if isinstance(known.assigned, Reason):
            return known.assigned
        patient = patient_at(known.assigned, when.instant, session=message.session if message.is_of_opening else "")
        if isinstance(patient, Reason):
            return patient
        if actor.patient and patient != f"Patient/{actor.patient}":
            return reason.DEVICE_UNKNOWN  # a patient's own token learns nothing of others' devices
        names = known.assigned.names.get(patient, ())
        if known.patient is not None and known.patient not in (*names, DeviceName(REFERENCE, patient)):
            return reason.PATIENT_MISMATCH
        if message.session and (known.session is None or known.session.patient != patient):
            is_anothers = message.is_of_opening and known.session is not None
            return reason.PATIENT_AMBIGUOUS if is_anothers else reason.SESSION_UNKNOWN
        name = self._name(sending, item.reading, by_a_clock(measured, when), patient, names)
        return Fit(measured, patient, known.assigned.device, when, name)

    def _name(
        self, sending: Sending, reading: Reading, measured: Measured, patient: str, names: Sequence[DeviceName]
    ) -> Name:
        message = sending.message
        person = f"{names[0].value}-{names[0].system}" if names else patient.partition("/")[2]
        sender = message.gateway.value if message.gateway is not None else sending.actor.subject
        assigned = sending.known.assigned
        shared = "" if isinstance(assigned, Reason) or not assigned.has_names else assigned.device
        return name_of(message.device, reading, measured, patient=person, sender=sender, shared=shared)

    async def _written(self, sending: Sending, fit: Fit) -> str:
        """Return what a gateway wrote itself of a reading, by the guide's identifier; "" where there is nothing."""
        if sending.message.device.system != EUI_64 or not fit.name.phd:
            return ""
        look: str = await self._core.ask(
            sending.actor.tenant, lambda asking: find_written(asking, fit.name, type_of(fit.measured))
        )
        return look

    async def _came_before(self, sending: Sending, item: Received, why: Reason) -> Result | None:
        """Return what became of a reading without a time that came before, when its device was in other hands.

        Such a reading has the time it came: sent again, it would be judged by a later assignment.
        """
        if why not in (reason.UNASSIGNED, reason.PATIENT_AMBIGUOUS, reason.RETAINED) or isinstance(
            item.reading, Reason
        ):
            return None
        measured = assess(item.reading)
        if isinstance(measured, Reason) or measured.instant is not None or sending.actor.patient:
            return None
        name = self._name(sending, item.reading, measured, "", ())

        found: Match | None = await self._core.ask(sending.actor.tenant, lambda asking: find_filed(asking, name))
        return Result("duplicate", found.reference) if found is not None and found.is_same else None

    async def _keep(self, sending: Sending, item: Received, why: Reason, *, detail: str = "") -> Result:
        message, actor, source = sending.message, sending.actor, sending.source

        async def work(writing: Writing) -> bool:
            is_kept = await quarantine.keep(
                writing,
                message.device,
                item.raw,
                why,
                sender=actor.subject,
                patient=actor.patient,
                detail=detail,
                source=source,
                context=context_of(message),
            )
            if is_kept and why.code in WAITING and source != quarantine.RELEASE:
                await overtaken(writing, message.device, sending.known.assigned, self.zone, self._core.base_url)
            return is_kept

        is_kept: bool = await self._core.transact(actor.tenant, work)
        if source != quarantine.RELEASE and is_urgent(item):
            log.error("an event of a device was kept aside (%s): it alerts nobody", why.code)
        return Result("quarantined" if is_kept else "refused", reason=why)


def is_urgent(item: Received) -> bool:
    """Whether a reading is an event that somebody waits for."""
    if isinstance(item.reading, Reason):
        return False
    return any(measure.alert for measure in measures_of(item.reading.system, item.reading.code))


def _line(actor: Actor, fit: Fit) -> tuple[str, ...]:
    return (actor.tenant, fit.patient, fit.device, fit.measured.code)


def _codes(error: FhirError) -> str:
    """Return the issue codes and expressions of a refusal: never a value."""
    return "; ".join(f"{issue.code} {issue.expression}".strip() for issue in error.issues[:10])
