"""Whether a device or gateway is there: what its `status` topic says, and its last will when it is gone.

Back online it was heard of, as by a reading. Gone, there is a signal (a DetectedIssue) for each patient for whom
somebody waits for it; an alert opens only when what is waited for is overdue (`watch`): home networks come and go.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from adapters.devices.alert import Alarm, build_issue
from adapters.devices.assignment import find_device
from adapters.devices.instant import written
from adapters.devices.reading import DeviceName
from adapters.devices.topic import Topic
from adapters.devices.watch import OPEN, RANK, SILENT, WATCH, hear
from fhir_server import gate
from fhir_server.errors import Malformed
from fhir_server.interface import Asking, Core, Erasure, Writing
from fhir_server.model import Entry, Record

KIND: Final = "device-presence"
ONLINE: Final = "online"
OFFLINE: Final = "offline"
CLEARED: Final = "cleared"  # an empty retained message: nothing is said any more
GATEWAY: Final = "urn:predmp:devices:gateway"
"""Identifier system of the Device of a gateway: its value is the topic's second name."""

ITSELF: Final = "-"  # in place of a device: the gateway itself
QUIET_US: Final = 3_600_000_000  # microseconds between two signals of one device: networks flap (own)
MAX_WATCHES: Final = 20  # that one device's status speaks to
_LONGEST: Final = 4_096  # bytes of a status


def read_state(payload: bytes) -> str | None:
    """Return what a status says: the word, or {"status": the word}; None where it says neither."""
    if not payload:
        return CLEARED
    if len(payload) > _LONGEST:
        return None
    word: Any = payload.decode("utf-8", "replace").strip()
    if word.startswith(("{", '"')):
        try:
            value = gate.parse(payload)
        except Malformed:
            return None
        word = value.get("status") if isinstance(value, dict) else value
    word = word.lower() if isinstance(word, str) else ""
    return word if word in (ONLINE, OFFLINE) else None


async def note(core: Core, topic: Topic, state: str, *, room: str) -> bool:
    """Keep what a status says; return whether that is news. A retained one comes again at each start.

    Args:
        core: The door.
        topic: Where it came by.
        state: `online`, `offline` or `cleared`.
        room: Who writes the signal.
    """

    async def work(writing: Writing) -> bool:
        before = await writing.record(KIND, topic.lane)
        if before is not None and before.state == state:
            return False
        told = gate.load(before.body)["told"] if before is not None else 0
        device = await _device(writing, topic)
        if state == ONLINE and device:
            await hear(writing, [device])
        if state == OFFLINE and device and writing.now - told > QUIET_US:
            entries = await _signals(writing, device)
            if entries:
                told = writing.now
                await writing.submit(entries, actor=core.internal(writing.tenant, room), interaction="device")
        body = {"gateway": topic.gateway, "device": topic.device, "since": writing.now, "told": told}
        await writing.put_record(KIND, topic.lane, state, gate.write(body), lane=topic.gateway)
        return True

    is_news: bool = await core.transact(topic.tenant, work)
    return is_news


async def _device(asking: Asking, topic: Topic) -> str:
    """Return `Device/ID` of what a status is about; "" where the hub knows none, or several."""
    if topic.device in (ITSELF, topic.gateway):
        return await find_device(asking, DeviceName(GATEWAY, topic.gateway))
    found = await asking.find(f"Device?identifier={quote(topic.device, safe='')}&_count=2")
    return f"Device/{found[0]['id']}" if len(found) == 1 else ""


async def _signals(writing: Writing, device: str) -> list[Entry]:
    """Return a signal for each patient for whom somebody waits for the device."""
    made: list[Entry] = []
    for row in await writing.records(WATCH, state=OPEN, lane=device, limit=MAX_WATCHES):
        body = gate.load(row.body)
        title = "Appareil hors ligne"
        line = f"{title} : {body['text']}, depuis le {written(writing.now)[:16].replace('T', ' à ')} UTC."
        alarm = Alarm(body["patient"], SILENT, RANK, title, line, device, key=f"{row.key}|offline|{writing.now}")
        made.append(Entry("POST", "DetectedIssue", build_issue(alarm, writing.now)))
    return made


def holds(record: Record, erasure: Erasure) -> bool:
    """Whether a row names a device by an identifier that is erased (`interface.Eraser`)."""
    return gate.load(record.body)["device"] in erasure.identifiers
