"""The canonical JSON of every feed, as `POST /devices` takes it, to canonical readings.

The envelope must be right, or nothing of it is taken; a reading that is wrong is kept aside alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from adapters.devices.instant import exact
from adapters.devices.reading import Clock, DeviceName, Reading
from adapters.devices.reading_json import is_text, read_reading
from adapters.devices.reason import Reason
from fhir_server.errors import BadRequest, TooLarge

MAX_READINGS: Final = 1_000  # of one request
MAX_MESSAGES: Final = 500  # devices of one request
REFERENCE: Final = "urn:predmp:devices:reference"
"""System of a patient or a gateway named by a reference into this hub: the value is `Patient/ID` or `Device/ID`."""

_FIELDS: Final = frozenset({"device", "readings", "gateway", "clock", "patient", "session", "test"})
_NAME: Final = frozenset({"system", "value"})


class Received(NamedTuple):
    """One reading as it came, and what it says or why that cannot be read."""

    raw: Mapping[str, Any]
    reading: Reading | Reason


class Message(NamedTuple):
    """Readings of one device, in order, and what its gateway says beside them."""

    device: DeviceName
    readings: tuple[Received, ...]
    gateway: DeviceName | None = None  # what brought it here
    clock: Clock | None = None
    patient: DeviceName | None = None  # identifier of whom the payload names: compared, never believed
    session: str = ""  # id of the session (`POST /devices/sessions`) that it belongs to
    is_test: bool = False  # no patient's data: stored as HTEST, without triage
    is_retained: bool = False  # whether it came some unknown time after it was sent
    is_of_opening: bool = False  # whether it came in the session's own request, which says whose the session is


def read_messages(body: Any) -> list[Message]:
    """Read a parsed body: one message, a list of them, or {"messages": […]}.

    Raises:
        BadRequest: It has another shape.
        TooLarge: It has more than 500 messages or 1,000 readings.
    """
    if isinstance(body, dict) and body.keys() == {"messages"}:
        body = body["messages"]
    if not isinstance(body, list):
        return [read_message(body)]
    if not body:
        raise BadRequest("A batch has at least one message.")
    if len(body) > MAX_MESSAGES:
        raise TooLarge(f"A request has at most {MAX_MESSAGES} messages.")
    return bounded([read_message(item) for item in body])


def bounded(messages: list[Message]) -> list[Message]:
    """Return the messages where they are few enough for one request; else raise TooLarge."""
    if len(messages) > MAX_MESSAGES or sum(len(message.readings) for message in messages) > MAX_READINGS:
        raise TooLarge(f"A request has at most {MAX_MESSAGES} messages and {MAX_READINGS} readings.")
    return messages


def read_message(body: Any, *, may_be_empty: bool = False) -> Message:
    """Read a parsed message.

    Args:
        body: JSON through the parser gate: decimals keep their digits.
        may_be_empty: Whether it may have no readings: then it only names a device.

    Raises:
        BadRequest: It is not `{"device": {"system", "value"}, "readings": [{…}]}` with what may stand beside them.
        TooLarge: It has more than 1,000 readings.
    """
    if not isinstance(body, dict) or not body.keys() >= {"device", "readings"} or body.keys() - _FIELDS:
        raise BadRequest(f"A message is an object with device and readings; it may have {_optional()}.")
    readings = body["readings"]
    if not isinstance(readings, list) or not all(isinstance(item, dict) for item in readings):
        raise BadRequest("readings is a list of objects, at least one.")
    if not (readings or may_be_empty):
        raise BadRequest("readings is a list of objects, at least one.")
    if len(readings) > MAX_READINGS:
        raise TooLarge(f"A message has at most {MAX_READINGS} readings.")
    if not isinstance(body.get("test", False), bool):
        raise BadRequest("test is true or false.")
    if "session" in body and not is_text(body["session"]):
        raise BadRequest("session is a text of 1 to 256 characters.")
    return Message(
        read_name(body["device"], "device"),
        received(readings),
        gateway=read_name(body["gateway"], "gateway") if "gateway" in body else None,
        clock=read_clock(body["clock"]) if "clock" in body else None,
        patient=read_name(body["patient"], "patient") if "patient" in body else None,
        session=body.get("session", ""),
        is_test=body.get("test", False),
    )


def context_of(message: Message) -> dict[str, Any]:
    """Return what stands beside the readings, as JSON that `read_message` takes again."""
    made: dict[str, Any] = {"device": message.device._asdict()}
    for field, value in (("gateway", message.gateway), ("clock", message.clock), ("patient", message.patient)):
        if value is not None:
            made[field] = {key: text for key, text in value._asdict().items() if text}
    if message.session:
        made["session"] = message.session
    return {**made, "test": True} if message.is_test else made


def received(readings: Sequence[Mapping[str, Any]]) -> tuple[Received, ...]:
    """Return readings of the canonical JSON with what they say."""
    return tuple(Received(item, read_reading(item)) for item in readings)


def read_name(value: Any, field: str) -> DeviceName:
    """Read an identifier; raise BadRequest."""
    if not isinstance(value, dict) or value.keys() != _NAME:
        raise BadRequest(f"{field} is an object with system and value, and nothing else.")
    if not all(is_text(value[key]) for key in _NAME):
        raise BadRequest(f"{field}.system and {field}.value are texts of 1 to 256 characters.")
    return DeviceName(value["system"], value["value"])


def read_clock(value: Any) -> Clock:
    """Read what the device's clock showed at a moment of the gateway's; raise BadRequest."""
    if not isinstance(value, dict) or not value.keys() >= {"device", "gateway"} or value.keys() - Clock._fields:
        raise BadRequest("clock is an object with device and gateway, and sync if it is known.")
    if not all(is_text(text) for text in value.values()):
        raise BadRequest("The fields of clock are texts.")
    if exact(value["device"]) is None or exact(value["gateway"]) is None:
        raise BadRequest("clock.device and clock.gateway are FHIR dateTimes with seconds and offset.")
    if not value.get("sync", "0").isdigit():
        raise BadRequest("clock.sync is an MDC code.")
    return Clock(value["device"], value["gateway"], value.get("sync", ""))


def _optional() -> str:
    return ", ".join(sorted(_FIELDS - {"device", "readings"}))
