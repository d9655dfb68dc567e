"""Whose reading it is: the patient a device was assigned to at a moment, never what a payload says.

A DeviceUseStatement has a period and so knows the past; `Device.patient` knows only the present, so it speaks for
moments after the last period that ended. Whom it named before is known from when that was changed (`ownership`).
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/deviceusestatement.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapters.devices import reason
from adapters.devices.identity import EUI_64
from adapters.devices.instant import end, start
from adapters.devices.message import REFERENCE
from adapters.devices.ownership import Use, owned, patient_of
from adapters.devices.reading import DeviceName
from adapters.devices.reason import Reason
from fhir_server.interface import Asking
from fhir_server.model import Resource

SESSION: Final = "urn:predmp:devices:session"
"""Identifier system of the Encounter and the DeviceUseStatements of a cart's session."""

MOST_USES: Final = 1_000
"""Statements of one device that are looked at, those written last: a cart has one for each session, for years."""

_PAST: Final = frozenset({"completed", "stopped"})  # used then, no longer: counts where it says until when


class Assigned(NamedTuple):
    """A device in service and who used it when."""

    device: str  # Device/ID
    owner: str  # Device.patient, "" none
    uses: tuple[Use, ...]
    names: Mapping[str, tuple[DeviceName, ...]] = MappingProxyType({})  # identifiers of each Patient/ID
    before: tuple[Use, ...] = ()  # when Device.patient named another
    has_names: bool = False  # whether it has several identifiers, so that gateways may name it differently


async def find_assigned(asking: Asking, name: DeviceName, zone: tzinfo, base: str = "") -> Assigned | Reason:
    """Return the one device in service that has this identifier, or why there is none.

    Args:
        asking: What to ask.
        name: The identifier.
        zone: Of bare dates.
        base: Of this hub's own references, where they are absolute.
    """
    token = quote(f"{_escaped(name.system)}|{_escaped(name.value)}", safe="")
    found = [device for device in await asking.find(f"Device?identifier={token}") if _is_in_service(device)]
    if not found:
        return reason.DEVICE_UNKNOWN
    if len(found) > 1:
        return reason.DEVICE_AMBIGUOUS
    reference = f"Device/{found[0]['id']}"
    newest = f"_sort=-_lastUpdated&_count={MOST_USES}&_total=none"
    statements = await asking.find(f"DeviceUseStatement?device={reference}&{newest}")
    uses = [use for statement in statements if (use := use_of(statement, zone, base)) is not None]
    owner = patient_of(found[0].get("patient"), base)
    before = await owned(asking, found[0])
    known = {patient for patient in {owner, *(use.patient for use in (*uses, *before))} if patient}
    names = {patient: _names(person) for patient in sorted(known) if (person := await asking.resource(patient))}
    held = tuple(use for use in uses if use.patient in names)
    past = tuple(use for use in before if use.patient in names)
    return Assigned(
        reference, owner if owner in names else "", held, names, past, len(found[0].get("identifier", ())) > 1
    )


async def identified(asking: Asking, name: DeviceName) -> DeviceName:
    """Return the identifier of a device that is named by `Device/ID`, a system id first; any other name as it is."""
    if name.system != REFERENCE or not name.value.startswith("Device/"):
        return name
    found = _names(await asking.resource(name.value) or {})
    return next(iter(sorted((one for one in found if one.system), key=lambda one: one.system != EUI_64)), name)


async def find_device(asking: Asking, name: DeviceName) -> str:
    """Return `Device/ID` of the one device in service that has an identifier; "" where there is none, or several."""
    token = quote(f"{_escaped(name.system)}|{_escaped(name.value)}", safe="")
    found = [device for device in await asking.find(f"Device?identifier={token}") if _is_in_service(device)]
    return f"Device/{found[0]['id']}" if len(found) == 1 else ""


def patient_at(assigned: Assigned, instant: int, *, session: str = "") -> str | Reason:
    """Return `Patient/ID` of who used the device at an instant, or why that cannot be said.

    Args:
        assigned: The device.
        instant: Microseconds since 1970.
        session: Of the cart's session in whose own request the reading came, "" none: of sessions that follow one
            another within the same second, or one that was never closed, it is this one's. It says nothing against
            who has the device beside any session.
    """
    covering = [use for use in assigned.uses if _covers(use, instant)]
    ended = [use.after for use in assigned.uses if use.after is not None]
    claims = {use.patient for use in covering}
    past = next((use for use in assigned.before if _covers(use, instant)), None)
    owner = past.patient if past else assigned.owner
    is_its = all(instant >= after for after in ended if past is None or after <= (past.after or 0))
    if owner and is_its and all(use.after is None for use in covering):
        claims.add(owner)
    if not claims:
        return reason.UNASSIGNED
    named = {use.patient for use in covering if session and use.session == session}
    beside = claims - {use.patient for use in covering if use.session}
    if len(named) == 1 and not beside:
        return named.pop()
    return claims.pop() if len(claims) == 1 else reason.PATIENT_AMBIGUOUS


def use_of(statement: Resource, zone: tzinfo, base: str = "") -> Use | None:
    """Return the use that a DeviceUseStatement states; None where it assigns the device to no patient."""
    patient = patient_of(statement.get("subject"), base)
    status = statement.get("status")
    if not patient or not (status == "active" or status in _PAST):
        return None
    first, after = _bounds(statement, zone)
    if status in _PAST and after is None:
        return None
    ids = [item.get("value", "") for item in statement.get("identifier", ()) if item.get("system") == SESSION]
    return Use(patient, first, after, ids[0] if ids else "")


def _bounds(statement: Resource, zone: tzinfo) -> tuple[int | None, int | None]:
    if "timingDateTime" in statement:
        return start(statement["timingDateTime"], zone), None
    period: Any = statement.get("timingPeriod")
    if period is None:
        period = statement.get("timingTiming", {}).get("repeat", {}).get("boundsPeriod", {})
    first, last = period.get("start"), period.get("end")
    return (start(first, zone) if first else None, end(last, zone) if last else None)


def _names(person: Resource) -> tuple[DeviceName, ...]:
    pairs = ((item.get("system", ""), item.get("value", "")) for item in person.get("identifier", ()))
    return tuple(DeviceName(system, value) for system, value in pairs if value)


def _covers(use: Use, instant: int) -> bool:
    return (use.first is None or use.first <= instant) and (use.after is None or instant < use.after)


def _is_in_service(device: Resource) -> bool:
    return bool(device.get("status", "active") == "active")


def _escaped(text: str) -> str:
    """Escape what has a meaning in a token parameter (https://hl7.org/fhir/R4/search.html#escaping)."""
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text
