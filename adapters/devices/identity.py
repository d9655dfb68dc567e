"""What makes a reading the same reading: the keys by which a copy is known.

A sender's own id names the reading of its device. Device, patient, type and the device's own time do too: that is the
identifier for conditional creates of the Personal Health Device guide (https://hl7.org/fhir/uv/phd/), the same through
whichever gateway a reading comes. Where one sender gives two ids to readings of one moment, it means two readings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from adapters.devices.reading import DeviceName, Measured, Reading
from fhir_server import gate

READING: Final = "urn:predmp:devices:reading"  # identifier system: which reading of which device
CONTENT: Final = "urn:predmp:devices:content"  # identifier system: digest of what it says
PHD: Final = "http://hl7.org/fhir/uv/phd/StructureDefinition/PhdBaseObservation"  # identifier system
EUI_64: Final = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"  # identifier system of a PHD's system id

_SAME: Final = MappingProxyType(
    {"2708-6": "2708-6+59408-5", "14743-9": "41653-7", "15074-8": "2339-0", "14749-6": "2345-7", "105272-9": "99504-3"}
)
"""LOINC codes of a reading -> those of another row of the table that a gateway may give the same reading: a saturation
with or without its method, glucose in moles or in mass."""

_START: Final = 946_684_800_000_000  # 2000-01-01T00:00Z, microseconds since 1970
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]{2}(?:[-:]?[0-9A-Fa-f]{2}){5}(?:(?:[-:]?[0-9A-Fa-f]{2}){2})?", re.ASCII)
_FRACTION: Final = re.compile(r"\.(\d+)", re.ASCII)


def key_of(device: DeviceName, reading: Reading, measured: Measured) -> str:
    """Return the key of a reading: equal for a copy, whichever gateway brings it and in whatever zone it writes."""
    return _digest("id", *device, reading.id) if reading.id else moment_of(device, measured)


def moment_of(device: DeviceName, measured: Measured) -> str:
    """Return the key of what a device measures at a moment of its own clock; "" where it has none."""
    if measured.instant is None:
        return ""
    # Sleep and steps may begin at the same instant and last one hour, or the day.
    lasted = [str(measured.lasted)] if measured.lasted else []
    # A body has one pulse at a moment; of its two ears there may be two pictures.
    seen = [hashlib.sha256(measured.media.data).hexdigest()] if measured.media is not None else []
    return _digest("time", *device, _type(measured), str(measured.instant), *lasted, *measured.types, *seen)


def content_of(measured: Measured) -> str:
    """Return a digest of what a reading says, in canonical units: another value under the same key differs."""
    parts = sorted((part.key, part.ucum, _number(part.value, part.absent)) for part in measured.parts)
    more = [repr(item) for item in (measured.coded, measured.medication) if item is not None]
    if measured.wave is not None:
        wave = measured.wave
        more += [wave.unit, *(str(n) for n in (wave.origin, wave.period, wave.factor)), " ".join(wave.data)]
    if measured.media is not None:
        more += [measured.media.content_type, hashlib.sha256(measured.media.data).hexdigest()]
    return _digest(_type(measured), str(measured.instant), *(text for part in parts for text in part), *more)


def phd_identifier(device: DeviceName, patient: str, measured: Measured, *, has_offset: bool = False) -> str:
    """Return `device-patient-type-timestamp[..duration][-types]`; "" for a reading without the device's own time.

    The guide knows no pictures and sounds, of which there may be several at one time: they have none either.

    Args:
        device: As it is named: a system id without dashes, or whatever else names it.
        patient: `value-system` of the Patient's identifier, or its id.
        measured: With the device's own time, never the corrected one.
        has_offset: Whether the device counts base-offset time: then its offset stands after the seconds.
    """
    if measured.instant is None or measured.media is not None:
        return ""
    offset = _quarters(measured.at) if has_offset else ""
    if has_offset and not offset:
        return ""
    name = device.value
    if device.system == EUI_64 or "eui-" in device.system:
        name = re.sub(r"[-:]", "", name).upper() if _HEXADECIMAL.fullmatch(name) else name
    return "-".join((name, patient, measured.code, _timestamp(measured, offset), *measured.types))


def _timestamp(measured: Measured, offset: str) -> str:
    """Return seconds since 2000 at the device's resolution, its offset where it is wanted, and the duration.

    The seconds are those of UTC, so that two gateways that write one instant in two zones name one reading.
    """
    assert measured.instant is not None
    fraction = _FRACTION.search(measured.at)
    decimals = min(len(fraction[1].rstrip("0")), 6) if fraction else 0
    text = _seconds(measured.instant - _START, decimals) + offset
    return f"{text}..{_seconds(measured.lasted, decimals)}" if measured.lasted else text


def _quarters(at: str) -> str:
    """Return the offset of an exact dateTime in quarters of an hour (`+4`, `-14`); "" where it is none of those."""
    if at.endswith("Z"):
        return "+0"
    minutes = int(at[-5:-3]) * 60 + int(at[-2:])
    return f"{at[-6]}{minutes // 15}" if not minutes % 15 else ""


def _seconds(microseconds: int, decimals: int) -> str:
    whole, rest = divmod(microseconds, 1_000_000)
    return f"{whole}.{rest:06}"[: len(str(whole)) + 1 + decimals].rstrip(".")


def raw_key(device: DeviceName, raw: Mapping[str, Any]) -> str:
    """Return the key of a reading as it was sent: a copy of one that was kept aside finds its place again."""
    return _digest("raw", *device, gate.write(dict(sorted(raw.items()))).decode())


def _type(measured: Measured) -> str:
    codes = "+".join(measured.loinc)
    return _SAME.get(codes, codes) or measured.mdc or measured.local


def _number(value: Any, absent: str) -> str:
    return absent if value is None else str(Fraction(value))


def _digest(*texts: str) -> str:
    """Return 40 hexadecimal digits; texts are parted by their lengths, so that no two lists meet."""
    joined = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(joined.encode()).hexdigest()[:40]
