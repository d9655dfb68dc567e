"""A session of a telemedicine cart: one Encounter, and the cart's devices in one patient's hands for its time.

A cart stands in a consultation room and is nobody's. Who opens the session says whose it is; the hub writes that down
as DeviceUseStatements for the session's time, and each reading is given to its patient by those, like any other.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/encounter.html (class VR), .../deviceusestatement.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapters.devices.assignment import SESSION, find_assigned, patient_at
from adapters.devices.correction import AHEAD, FIRST, offset_of
from adapters.devices.instant import exact, moved, written
from adapters.devices.message import Message, read_message, read_name
from adapters.devices.ownership import patient_of
from adapters.devices.reading import DeviceName, Reading
from adapters.devices.reading_json import is_text
from adapters.devices.reason import UNASSIGNED, Reason
from fhir_server.errors import BadRequest, Conflict, TooLarge
from fhir_server.interface import Asking, Writing
from fhir_server.model import Actor, Entry, Resource

CLASS: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
MAX_MESSAGES: Final = 50  # devices of one cart
_SECOND: Final = 1_000_000  # microseconds
_FIELDS: Final = frozenset({"id", "patient", "start", "end", "location", "reason", "open", "messages"})


class Session(NamedTuple):
    """A session as the store has it."""

    encounter: str  # Encounter/ID
    patient: str  # Patient/ID
    status: str = "in-progress"  # of the Encounter
    start: str = ""  # of its period
    end: str = ""


class Opening(NamedTuple):
    """What a request says of a session."""

    id: str
    patient: DeviceName | str  # an identifier, or Patient/ID
    start: str  # FHIR dateTime, "" not told
    end: str
    location: str
    reason: str
    stays_open: bool
    messages: tuple[Message, ...]


def read_opening(body: Any) -> Opening:
    """Read a parsed body; raise BadRequest or TooLarge."""
    if not isinstance(body, dict) or not body.keys() >= {"id", "patient", "messages"} or body.keys() - _FIELDS:
        optional = ", ".join(sorted(_FIELDS - {"id", "patient", "messages"}))
        raise BadRequest(f"A session is an object with id, patient and messages; it may have {optional}.")
    for field in ("id", "location", "reason"):
        if field in body and not is_text(body[field]):
            raise BadRequest(f"{field} is a text of 1 to 256 characters.")
    for field in ("start", "end"):
        if field in body and (not isinstance(body[field], str) or exact(body[field]) is None):
            raise BadRequest(f"{field} is a FHIR dateTime with seconds and offset.")
    if "start" in body and "end" in body and (exact(body["end"]) or 0) < (exact(body["start"]) or 0):
        raise BadRequest("The end of a session is not before its start.")
    if not isinstance(body.get("open", False), bool) or ("end" in body and body.get("open")):
        raise BadRequest("open is true or false, and a session with an end is not open.")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise BadRequest("messages is a list; it may be empty.")
    if len(messages) > MAX_MESSAGES:
        raise TooLarge(f"A session has at most {MAX_MESSAGES} messages in one request.")
    return Opening(
        body["id"],
        _patient(body["patient"]),
        body.get("start", ""),
        body.get("end", ""),
        body.get("location", ""),
        body.get("reason", ""),
        body.get("open", False),
        tuple(_of_session(read_message(item, may_be_empty=True), body["id"]) for item in messages),
    )


def _patient(value: Any) -> DeviceName | str:
    if isinstance(value, dict) and value.keys() == {"reference"}:
        reference = patient_of(value)
        if not reference or reference != value["reference"]:
            raise BadRequest("patient.reference is Patient/ID.")
        return reference
    return read_name(value, "patient")


def _of_session(message: Message, id: str) -> Message:
    if message.session not in ("", id):
        raise BadRequest("A message names another session than the one it is in.")
    return message._replace(session=id, is_of_opening=True)


async def find_session(asking: Asking, id: str) -> Session | None:
    """Return the session of an id."""
    encounter = await _encounter(asking, id)
    if encounter is None:
        return None
    period = encounter.get("period", {})
    return Session(
        f"Encounter/{encounter['id']}",
        patient_of(encounter.get("subject")),
        encounter["status"],
        period.get("start", ""),
        period.get("end", ""),
    )


async def open_session(
    writing: Writing, opening: Opening, patient: str, *, actor: Actor, own: Actor, zone: tzinfo, base: str = ""
) -> Session:
    """Make the Encounter and give the devices to the patient, where that is not done yet.

    Args:
        writing: The transaction.
        opening: What was asked.
        patient: Patient/ID, whom the caller may see.
        actor: Who opens it.
        own: Who the room is; it writes what stands beside the Encounter.
        zone: Of bare dates.
        base: Of the hub's own references.

    Raises:
        Conflict: The session is another patient's.
        BadRequest: It would begin or end in the future, or end before it began.
    """
    start = _start(opening, writing.now)
    held = await find_session(writing, opening.id)
    if held is not None and held.patient != patient:
        raise Conflict("A session of this id is another patient's.")
    if held is not None and opening.end and _is_before(opening.end, held.start):
        raise BadRequest("The end of a session is not before its start.")
    if held is None:
        encounter = build_encounter(opening, patient, start, actor)
        (made,) = await writing.submit([Entry("POST", "Encounter", encounter)], actor=own, interaction="device")
        assert made.version is not None
        held = Session(made.version.reference, patient, start=start)
    names = dict.fromkeys(item.device for item in opening.messages)
    devices = [await _free(writing, name, patient, start, zone, base) for name in names]
    uses = [
        use
        for device in dict.fromkeys(filter(None, devices))
        if (use := await _use(writing, device, opening, held, start))
    ]
    if uses:
        await writing.submit(uses, actor=own, interaction="device")
    return held


async def close_session(writing: Writing, opening: Opening, *, own: Actor) -> None:
    """End the Encounter and the use of its devices; nothing where that is done."""
    encounter = await _encounter(writing, opening.id)
    if encounter is None or encounter["status"] != "in-progress":
        return
    end = opening.end or written(writing.now)
    period = _ended(encounter.get("period", {}), end)
    entries = [Entry("PUT", f"Encounter/{encounter['id']}", {**encounter, "status": "finished", "period": period})]
    for use in await writing.find(f"DeviceUseStatement?identifier={_token(opening.id)}&_count=200&_total=none"):
        if use["status"] == "active":
            ended = {**use, "status": "completed", "timingPeriod": _ended(use["timingPeriod"], end)}
            entries.append(Entry("PUT", f"DeviceUseStatement/{use['id']}", ended))
    await writing.submit(entries, actor=own, interaction="device")


def build_encounter(opening: Opening, patient: str, start: str, actor: Actor) -> Resource:
    """Return the Encounter of a session that is under way."""
    made: Resource = {
        "resourceType": "Encounter",
        "identifier": [{"system": SESSION, "value": opening.id}],
        "status": "in-progress",
        "class": {"system": CLASS, "code": "VR", "display": "virtual"},
        "type": [{"text": "Téléconsultation avec dispositif médical"}],
        "subject": {"reference": patient},
        "period": {"start": start},
    }
    if actor.reference.startswith("Practitioner"):
        made["participant"] = [{"individual": {"reference": actor.reference}}]
    elif actor.reference.startswith("Organization/"):
        made["serviceProvider"] = {"reference": actor.reference}
    if opening.location:
        made["location"] = [{"location": {"display": opening.location}}]
    if opening.reason:
        made["reasonCode"] = [{"text": opening.reason}]
    return made


async def _use(writing: Writing, reference: str, opening: Opening, session: Session, start: str) -> Entry | None:
    """Return the use of a device (`Device/ID`) in a session, where it is not there yet.

    A session that is over gives no device away any more but for the time that it lasted: nobody would end that use.
    """
    token = _token(opening.id)
    for use in await writing.find(f"DeviceUseStatement?device={reference}&identifier={token}&_count=2&_total=none"):
        return _widened(use, start)
    is_over = session.status != "in-progress"
    if is_over and not (session.end and _is_before(start, session.end)):
        return None
    statement = {
        "resourceType": "DeviceUseStatement",
        "identifier": [{"system": SESSION, "value": opening.id}],
        "status": "completed" if is_over else "active",
        "subject": {"reference": session.patient},
        "timingPeriod": {"start": start, "end": session.end} if is_over else {"start": start},
        "device": {"reference": reference},
    }
    return Entry("POST", "DeviceUseStatement", statement)


async def _free(asking: Asking, name: DeviceName, patient: str, at: str, zone: tzinfo, base: str) -> str:
    """Return `Device/ID` of a device that a session may give away; "" where there is none, or it is another's own.

    A session takes no device from whom it is assigned to: what it measures at home would be nobody's meanwhile.
    """
    assigned = await find_assigned(asking, name, zone, base)
    if isinstance(assigned, Reason):
        return ""
    beside = assigned._replace(uses=tuple(use for use in assigned.uses if not use.session))
    whose = patient_at(beside, exact(at) or 0)
    return assigned.device if whose in (patient, UNASSIGNED) else ""


def _start(opening: Opening, now: int) -> str:
    """Return when a session begins: as told, with its first reading, or in this second; raise BadRequest.

    Devices tell times to the second: what one measures right after the session was opened is not before it.
    """
    for text in (opening.start, opening.end):
        if text and (exact(text) or 0) > now + AHEAD:
            raise BadRequest("A session does not begin or end in the future: look at the clock that it is told by.")
    start = opening.start or _earliest(opening.messages, now) or written(now // _SECOND * _SECOND)
    return opening.end if opening.end and _is_before(opening.end, start) else start


def _ended(period: dict[str, Any], end: str) -> dict[str, Any]:
    """Return a period with its end: with its start where a clock ran ahead, so that the end would be before it."""
    start = period.get("start", "")
    return {**period, "end": start if _is_before(end, start) else end}


def _is_before(text: str, other: str) -> bool:
    """Whether an exact dateTime is before another one; False where one of them is none."""
    one, two = exact(text), exact(other)
    return one is not None and two is not None and one < two


def _widened(use: Resource, start: str) -> Entry | None:
    """Return the use begun earlier, where a message brings an older reading."""
    before = exact(use.get("timingPeriod", {}).get("start", ""))
    wanted = exact(start)
    if before is None or wanted is None or before <= wanted:
        return None
    made = {**use, "timingPeriod": {**use["timingPeriod"], "start": start}}
    return Entry("PUT", f"DeviceUseStatement/{use['id']}", made)


def _earliest(messages: Sequence[Message], now: int) -> str:
    """Return the time of the first reading, by its device's clock put right; of times that are believed."""
    texts: dict[int, str] = {}
    for message in messages:
        offset = offset_of(message.clock) if message.clock else 0
        for item in message.readings:
            at = exact(item.reading.at) if isinstance(item.reading, Reading) else None
            if at is not None and FIRST <= at + offset <= now + AHEAD and isinstance(item.reading, Reading):
                like = message.clock.gateway if message.clock else ""
                texts[at + offset] = moved(item.reading.at, offset, like) if offset else item.reading.at
    return texts[min(texts)] if texts else ""


async def _encounter(asking: Asking, id: str) -> Resource | None:
    found = await asking.find(f"Encounter?identifier={_token(id)}&_count=1&_total=none")
    return found[0] if found else None


def _token(id: str) -> str:
    for character in "\\,|$":
        id = id.replace(character, "\\" + character)
    return quote(f"{SESSION}|{id}", safe="")
