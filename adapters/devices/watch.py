"""What somebody waits for and does not come: a measurement that was ordered, a device or gateway that was to be used.

A ServiceRequest (active, `occurrenceTiming`) says which measurement is expected and how often; a DeviceUseStatement
(active, `timingTiming`) how often a device, or a gateway, is used. Either becomes a durable row in its own transaction.
Nothing is scored: what is missing opens an alert of its own, once, and ends it when it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from adapters.devices.alert import EPISODE, Alarm, alarmed, build_issue, episode, open_task, settled
from adapters.devices.instant import end, exact, spoken, start, written
from adapters.devices.measure import measures_of, panel_of
from adapters.devices.observation import LOINC, REASON
from adapters.devices.ownership import local_of, patient_of
from fhir_server import gate
from fhir_server.interface import Asking, Core, Erasure, Writing
from fhir_server.model import Change, Entry, Record, Resource

WATCH: Final = "device-watch"
HEARD: Final = "device-heard"
OPEN: Final = "open"
MEASURES: Final = "measures"  # lane of what is no device's
MISSING: Final = "measurement-missing"
SILENT: Final = "device-silent"
RANK: Final = "4"
GRACE: Final = Decimal("1.5")  # intervals that may go by (own)
HEAR_EVERY: Final = 30_000_000  # microseconds between two notes of the same device
TYPES: Final = frozenset({"ServiceRequest", "DeviceUseStatement"})
MEASURED: Final = f"status:not=entered-in-error,cancelled&data-absent-reason:missing=true&_security:not={REASON}|HTEST"
"""Search parameters of what came indeed: a test, a withdrawn measurement or one without a value is still missing."""
_SECOND: Final = 1_000_000
_UNITS: Final = {"s": 1, "min": 60, "h": 3_600, "d": 86_400, "wk": 604_800, "mo": 2_629_746, "a": 31_556_952}


class Watch:
    """Looks every so often for what is missing; enriches the transactions that say what is expected.

    Args:
        core: The door.
        zone: Of dates without a zone.
        room: Who it is when it writes.
        every_s: Seconds between two looks.
    """

    def __init__(self, core: Core, zone: tzinfo, room: str, every_s: int) -> None:
        self._core, self._zone, self._room, self._every_s = core, zone, room, every_s
        self._calm: dict[tuple[str, str], tuple[int, int]] = {}  # (tenant, row) -> (its time, until when it is calm)

    async def enrich(self, writing: Writing, changes: Sequence[Change]) -> Sequence[Entry]:
        """Write down what is expected from now on; forget what is no more, with its alert if nobody took that."""
        entries: list[Entry] = []
        for change in changes:
            type, reference = change.version.type, change.version.reference
            made = (
                None
                if change.version.is_deleted
                else expected(type, change.resource, self._zone, writing.now, self._core.base_url)
            )
            if made is None:
                entries += await _forgotten(writing, reference)
            else:
                made["text"] = made["text"] or await _called(writing, made["device"])
                held = await writing.record(WATCH, reference)
                made["is_told"] = held is not None and bool(gate.load(held.body).get("is_told"))
                await writing.put_record(WATCH, reference, OPEN, gate.write(made), lane=made["device"] or MEASURES)
        return entries

    async def run(self) -> None:
        """Look as long as the hub runs."""
        while True:
            for tenant in self._core.tenants():
                await self.look(tenant)
            await asyncio.sleep(self._every_s)

    async def look(self, tenant: str) -> None:
        """Judge everything that is expected in a tenant."""
        after = 0
        while rows := await self._rows(tenant, after):
            after = rows[-1].seq
            for row in rows:
                await self._judge(tenant, row)

    async def _rows(self, tenant: str, after: int) -> list[Record]:
        async def work(asking: Asking) -> list[Record]:
            return await asking.records(WATCH, state=OPEN, after=after, limit=100)

        found: list[Record] = await self._core.ask(tenant, work)
        return found

    async def _judge(self, tenant: str, row: Record) -> None:
        body, now = gate.load(row.body), self._core.now()
        known, calm = self._calm.get((tenant, row.key), (0, 0))
        if known == row.at and now <= calm and not body.get("is_told"):
            return

        async def last(asking: Asking) -> int:
            return await self._last(asking, body)

        since = int(await self._core.ask(tenant, last))
        is_due = is_overdue(body, since, now)
        self._calm[tenant, row.key] = (row.at, latest(body, since))
        if is_due != body.get("is_told", False):
            await self._core.transact(tenant, lambda writing: self._tell(writing, row, since, is_due))

    async def _last(self, asking: Asking, body: Resource) -> int:
        """Return when what is expected came last, or since when it is expected."""
        heard = await asking.record(HEARD, body["device"]) if body["device"] else None
        since = max(int(gate.load(heard.body)["at"]) if heard is not None else 0, int(body["since"]))
        what = f"device={body['device']}" if body["device"] else f"code={quote(','.join(body['codes']))}&{MEASURED}"
        query = f"Observation?patient={body['patient']}&{what}&_sort=-date&_count=1&_total=none"
        found = await asking.find(query)
        at = measured_at(found[0], self._zone) if found else None
        return max(at or 0, since)

    async def _tell(self, writing: Writing, row: Record, since: int, is_due: bool) -> None:
        body = gate.load(row.body)
        alarm = self._alarm(row.key, body, since)
        own = self._core.internal(writing.tenant, self._room)
        held = await open_task(writing, alarm.patient, alarm.family, alarm.about)
        entries: list[Entry] = []
        if not is_due and held is not None:
            entries = await settled(writing, held, "La mesure attendue est arrivée.")
        elif is_due and held is None and not await _was_told(writing, alarm):
            entries = [Entry("POST", "DetectedIssue", build_issue(alarm, writing.now)), *await alarmed(writing, alarm)]
        if entries:
            await writing.submit(entries, actor=own, interaction="device")
        await writing.put_record(WATCH, row.key, OPEN, gate.write({**body, "is_told": is_due}), lane=row.lane)

    def _alarm(self, reference: str, body: Resource, since: int) -> Alarm:
        silent = bool(body["device"])
        title = "Appareil silencieux" if silent else "Mesure attendue manquante"
        line = f"{title} : {body['text']}. Rien depuis {spoken(written(since))}."
        return Alarm(
            body["patient"], SILENT if silent else MISSING, RANK, title, line, body["device"], about=reference,
            key=f"{reference}|{since}",
        )  # fmt: skip


def expected(type: str, resource: Resource, zone: tzinfo, now: int, base: str = "") -> Resource | None:
    """Return what a resource makes the hub wait for, as the row's body; None where that is nothing."""
    timing = resource.get("occurrenceTiming" if type == "ServiceRequest" else "timingTiming", {})
    repeat: dict[str, Any] = timing.get("repeat", {})
    interval, patient = interval_of(repeat), patient_of(resource.get("subject"), base)
    device = local_of(resource.get("device"), base) if type == "DeviceUseStatement" else ""
    codes = _codes(resource) if type == "ServiceRequest" else []
    if resource.get("status") != "active" or not interval or not patient or not (codes or device.startswith("Device/")):
        return None
    bounds = repeat.get("boundsPeriod", {})
    told = bounds.get("start") or resource.get("authoredOn") or ""
    text = resource.get("code", {}).get("text", "") or resource.get("device", {}).get("display", "")
    return {
        "patient": patient,
        "device": device,
        "codes": codes,
        "interval": interval,
        "since": (start(told, zone) if told else None) or now,
        "until": end(bounds["end"], zone) if bounds.get("end") else None,
        "text": text or _named(codes),
    }


def interval_of(repeat: dict[str, Any]) -> int:
    """Return the microseconds between two occurrences of a Timing's repeat; 0 where it does not say."""
    period, unit = repeat.get("period"), repeat.get("periodUnit")
    frequency = repeat.get("frequency", 1)
    if not period or unit not in _UNITS or not frequency:
        return 0
    return int(Decimal(period) * _UNITS[unit] * _SECOND / frequency)


def is_overdue(body: Resource, last: int, now: int) -> bool:
    """Whether what is expected has not come for longer than it may."""
    if body["until"] is not None and last + body["interval"] > body["until"]:
        return False
    return now > latest(body, last)


def latest(body: Resource, last: int) -> int:
    """Return until when it may still come, after it came last."""
    return last + int(body["interval"] * GRACE)


def measured_at(observation: Resource, zone: tzinfo) -> int | None:
    """Return when an Observation was made; of a period its end."""
    period = observation.get("effectivePeriod", {})
    for text in (
        observation.get("effectiveDateTime"),
        observation.get("effectiveInstant"),
        *(period.get(name) for name in ("end", "start")),
    ):
        if text and (at := exact(text) if "T" in text else start(text, zone)) is not None:
            return at
    return None


async def is_awaited(asking: Asking, device: str, now: int) -> bool:
    """Whether somebody waits to hear of a device that was not heard of just before."""
    if not await asking.records(WATCH, state=OPEN, lane=device, limit=1):
        return False
    held = await asking.record(HEARD, device)
    return held is None or now - int(gate.load(held.body)["at"]) >= HEAR_EVERY


async def hear(writing: Writing, devices: Sequence[str]) -> None:
    """Write down that devices were heard of, now."""
    for device in devices:
        await writing.put_record(HEARD, device, "", gate.write({"at": writing.now}))


async def _forgotten(writing: Writing, reference: str) -> list[Entry]:
    """Drop a row; return what ends its alert."""
    row = await writing.record(WATCH, reference)
    if row is None:
        return []
    await writing.drop_record(WATCH, reference)
    body = gate.load(row.body)
    family = SILENT if body["device"] else MISSING
    held = await open_task(writing, body["patient"], family, reference) if body.get("is_told") else None
    return await settled(writing, held, "N'est plus attendu.") if held is not None else []


async def _was_told(asking: Asking, alarm: Alarm) -> bool:
    token = quote(f"{EPISODE}|{episode(alarm)}")
    return bool(await asking.find(f"Task?identifier={token}&_count=1&_total=none"))


def watches(record: Record, erasure: Erasure) -> bool:
    """Whether a row waits for something of the Patient that is erased (`interface.Eraser`)."""
    return bool(gate.load(record.body)["patient"] == f"Patient/{erasure.patient}")


def _codes(resource: Resource) -> list[str]:
    """Return the LOINC codes of an order that devices measure."""
    found = [item.get("code", "") for item in resource.get("code", {}).get("coding", ()) if item.get("system") == LOINC]
    return [f"{LOINC}|{code}" for code in found if measures_of("loinc", code) or panel_of("loinc", code)]


async def _called(asking: Asking, reference: str) -> str:
    """Return what people call a device: its name, or its identifier."""
    device = await asking.resource(reference) or {}
    names = [item["name"] for item in device.get("deviceName", ())]
    values = [item.get("value", "") for item in device.get("identifier", ())]
    return str(next(iter([*names, *values]), "") or reference)


def _named(codes: Sequence[str]) -> str:
    for code in codes:
        plain = code.partition("|")[2]
        panel = panel_of("loinc", plain)
        if panel is not None:
            return panel.fr
        return measures_of("loinc", plain)[0].fr
    return ""
