"""The JSON shape of `POST /devices` to canonical readings.

The envelope must be right, or nothing of it is taken; a reading that is wrong is kept aside alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.devices import reason
from adapters.devices.reading import DeviceName, Reading, Sample
from adapters.devices.reason import Reason
from fhir_server import gate
from fhir_server.errors import BadRequest, TooLarge

MAX_READINGS: Final = 1_000
MAX_COMPONENTS: Final = 20
MAX_TEXT: Final = 256  # characters of an identifier, a code, a unit, an id

_DECIMAL: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_SINGLE: Final = frozenset({"system", "code", "value", "unit", "at", "id"})
_PANEL: Final = frozenset({"system", "code", "components", "at", "id"})
_COMPONENT: Final = frozenset({"code", "value", "unit"})


class Received(NamedTuple):
    """One reading as it came, and what it says or why that cannot be read."""

    raw: Mapping[str, Any]
    reading: Reading | Reason


class Message(NamedTuple):
    """What one request brings: readings of one device, in order."""

    device: DeviceName
    readings: tuple[Received, ...]


def read_message(body: Any) -> Message:
    """Read a parsed body.

    Args:
        body: JSON through the parser gate: decimals keep their digits.

    Raises:
        BadRequest: It is not `{"device": {"system", "value"}, "readings": [{…}]}`.
        TooLarge: It has more than 1,000 readings.
    """
    if not isinstance(body, dict) or body.keys() != {"device", "readings"}:
        raise BadRequest("The body is an object with device and readings, and nothing else.")
    device, readings = body["device"], body["readings"]
    if not isinstance(device, dict) or device.keys() != {"system", "value"}:
        raise BadRequest("device is an object with system and value, and nothing else.")
    if not all(_is_text(device[key]) for key in ("system", "value")):
        raise BadRequest("device.system and device.value are texts of 1 to 256 characters.")
    if not isinstance(readings, list) or not readings or not all(isinstance(item, dict) for item in readings):
        raise BadRequest("readings is a list of objects, at least one.")
    if len(readings) > MAX_READINGS:
        raise TooLarge(f"A message has at most {MAX_READINGS} readings.")
    name = DeviceName(device["system"], device["value"])
    return Message(name, tuple(Received(item, read_reading(item)) for item in readings))


def read_reading(raw: Mapping[str, Any]) -> Reading | Reason:
    """Return what one reading says, or why it cannot be read; a field that has no meaning here is a reason too."""
    is_panel = "components" in raw
    system, at, id = raw.get("system", "loinc"), raw.get("at", ""), raw.get("id", "")
    if raw.keys() - (_PANEL if is_panel else _SINGLE) or system not in ("loinc", "mdc"):
        return reason.MALFORMED
    if not _is_text(raw.get("code")) or ("id" in raw and not _is_text(id)):
        return reason.MALFORMED
    if not isinstance(at, str) or ("at" in raw and not at):
        return reason.TIME_UNREADABLE
    items = raw["components"] if is_panel else [{key: raw[key] for key in _COMPONENT & raw.keys()}]
    samples = _samples(items)
    if isinstance(samples, Reason):
        return samples
    return Reading(system, raw["code"], samples, is_panel, at, id)


def _samples(items: Any) -> tuple[Sample, ...] | Reason:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_COMPONENTS:
        return reason.MALFORMED
    made: list[Sample] = []
    for item in items:
        if not isinstance(item, dict) or item.keys() != _COMPONENT:
            return reason.MALFORMED
        if not _is_text(item["code"]) or not _is_text(item["unit"]):
            return reason.MALFORMED
        value = decimal_of(item["value"])
        if value is None:
            return reason.VALUE_UNREADABLE
        made.append(Sample(item["code"], value, item["unit"]))
    return tuple(made)


def decimal_of(value: Any) -> Decimal | None:
    """Return a number or the text of one as a Decimal that prints as it was written; None for anything else."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and len(value) <= gate.MAX_NUMBER and _DECIMAL.fullmatch(value):
        made = Decimal(value)
        return gate.number(value) if not made or abs(made.adjusted()) <= gate.MAX_EXPONENT else None
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_TEXT and value.isprintable()
