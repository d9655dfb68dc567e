"""A device's clock put right: what its gateway read of it gives the difference, and the Observation that tells of it.

The gateway reads the device's time t_d at its own time t_g; a measurement is corrected by t_g - t_d. Source:
HL7 Personal Health Device guide, "Coincident Timestamp", https://hl7.org/fhir/uv/phd/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from adapters.devices import reason
from adapters.devices.instant import exact, moved, written
from adapters.devices.reading import Clock, DeviceName, Measured
from adapters.devices.reason import Reason
from fhir_server.model import Resource

MDC: Final = "urn:iso:std:iso:11073:10101"
REFERENCE: Final = "http://hl7.org/fhir/uv/phd/StructureDefinition/CoincidentTimeStampReference"
CODE: Final = "67975"  # MDC_ATTR_TIME_ABS
CODE_WITH_OFFSET: Final = "68226"  # MDC_ATTR_TIME_BO
SYNC: Final = "68220"  # MDC_TIME_SYNC_PROTOCOL
COINCIDENT: Final = "urn:predmp:devices:coincident-time-stamp"  # identifier system
TOLERANCE: Final = 2_000_000  # microseconds: a difference up to this is reading the clock, not a wrong clock (own)
AHEAD: Final = 300_000_000  # microseconds that a time may be after the hub's own (own)
FIRST: Final = 946_771_200_000_000  # 2000-01-02: before it stands a clock that was never set (own)


class Effective(NamedTuple):
    """When a measurement was taken, once its device's clock is put right."""

    at: str  # FHIR dateTime
    instant: int  # microseconds since 1970
    end: str = ""
    offset: int = 0  # microseconds that were added to the device's own time


def effective(measured: Measured, clock: Clock | None, now: int, *, came: int = 0) -> Effective | Reason:
    """Return when it was measured: corrected, or as the device says, or when it came where it has no clock.

    Args:
        measured: With the device's own time.
        clock: What its gateway read of its clock.
        now: Of the hub, microseconds since 1970.
        came: When it came first, where that was before now; 0: now.
    """
    if measured.instant is None:
        return Effective(written(came or now), came or now)
    offset = offset_of(clock) if clock is not None else 0
    at = measured.instant + offset
    if at + lasts(measured) > now + AHEAD:
        return reason.TIME_FUTURE
    if at < FIRST:
        return reason.TIME_IMPLAUSIBLE
    if not offset or clock is None:
        return Effective(measured.at, at, measured.end)
    end = moved(measured.end, offset, clock.gateway) if measured.end else ""
    return Effective(moved(measured.at, offset, clock.gateway), at, end, offset)


def by_a_clock(measured: Measured, when: Effective) -> Measured:
    """Return what was measured with times that tell it apart: of a clock that was never set those put right.

    Such a clock begins anew each time it is switched on: its times come again with other measurements.
    """
    if measured.instant is None or measured.instant >= FIRST:
        return measured
    end = measured.end_instant + when.offset if measured.end_instant is not None else None
    return replace(measured, instant=when.instant, end_instant=end)


def lasts(measured: Measured) -> int:
    """Return the microseconds from the beginning of a measurement to its end: of a wave its samples' if they last."""
    wave = measured.wave
    sampled = int(wave.period * (len(wave.data) // wave.dimensions) * 1000) if wave is not None else 0
    return max(sampled, measured.lasted or 0)


def offset_of(clock: Clock) -> int:
    """Return what is to be added to the device's time, in microseconds; 0 where the clocks agree."""
    device, gateway = exact(clock.device), exact(clock.gateway)
    assert device is not None and gateway is not None, "message.read_clock looked"
    return gateway - device if abs(gateway - device) > TOLERANCE else 0


def coincident(clock: Clock, device: DeviceName) -> str:
    """Return the identifier of the Observation that tells of a clock: the same for each message that brings it."""
    text = "|".join((*device, clock.device, clock.gateway))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def read_coincident(resource: Mapping[str, Any]) -> Clock | None:
    """Return what an Observation tells of a device's clock; None where it is another, or its times are not exact."""
    if not {CODE, CODE_WITH_OFFSET} & set(_codes(resource.get("code"))):
        return None
    device, gateway = resource.get("valueDateTime"), resource.get("effectiveDateTime")
    if not (isinstance(device, str) and isinstance(gateway, str)) or exact(device) is None or exact(gateway) is None:
        return None
    components = resource.get("component")
    for component in components if isinstance(components, list) else ():
        if isinstance(component, dict) and SYNC in _codes(component.get("code")):
            ways = [code for code in _codes(component.get("valueCodeableConcept")) if code.isdigit()]
            return Clock(device, gateway, ways[0] if ways else "")
    return Clock(device, gateway)


def _codes(concept: Any) -> list[str]:
    """Return the MDC codes of a concept."""
    codings = concept.get("coding") if isinstance(concept, dict) else None
    found = [item for item in codings if isinstance(item, dict)] if isinstance(codings, list) else []
    return [str(item.get("code")) for item in found if item.get("system") == MDC]


def build_coincident(clock: Clock, *, key: str, device: str, gateway: str, issued: int) -> Resource:
    """Return the Observation that puts the device's time beside its gateway's.

    Args:
        clock: Both times.
        key: `coincident` of it.
        device: `Device/ID`, whose clock it is.
        gateway: `Device/ID` of what read it; "" where the hub does not know it.
        issued: Microseconds since 1970.
    """
    made: Resource = {
        "resourceType": "Observation",
        "identifier": [{"system": COINCIDENT, "value": key}],
        "status": "final",
        "code": {"coding": [{"system": MDC, "code": CODE, "display": "MDC_ATTR_TIME_ABS"}], "text": "Horloge"},
        "subject": {"reference": device},
        "effectiveDateTime": clock.gateway,
        "issued": written(issued),
        "valueDateTime": clock.device,
    }
    if gateway:
        made["device"] = {"reference": gateway}
    sync = {"coding": [{"system": MDC, "code": clock.sync}]} if clock.sync else {"text": "non indiquée"}
    code = {"coding": [{"system": MDC, "code": SYNC, "display": "MDC_TIME_SYNC_PROTOCOL"}]}
    made["component"] = [{"code": code, "valueCodeableConcept": sync}]
    return made
