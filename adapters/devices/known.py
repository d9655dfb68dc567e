"""What the hub knows before it takes a message, of one consistent state."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any, NamedTuple

from adapters.devices import quarantine
from adapters.devices.assignment import Assigned, find_assigned, find_device
from adapters.devices.correction import Effective
from adapters.devices.filing import Name
from adapters.devices.message import REFERENCE, Message
from adapters.devices.reading import DeviceName, Measured
from adapters.devices.reason import Reason
from adapters.devices.session import Session, find_session
from adapters.devices.watch import is_awaited
from fhir_server.interface import Asking
from fhir_server.model import Actor


class Known(NamedTuple):
    """What the hub knows before it takes a message."""

    assigned: Assigned | Reason
    gateway: dict[str, Any] | None  # a Reference
    session: Session | None
    awaited: tuple[str, ...]  # Device/ID of those whom somebody waits to hear of
    kept: tuple[int, ...]  # for each reading: when it was first kept aside, microseconds since 1970; 0 it never was
    patient: DeviceName | None = None  # whom the message names; None too where it refers to somebody not known here


class Sending(NamedTuple):
    """A message under way."""

    message: Message
    known: Known
    actor: Actor
    source: str


class Fit(NamedTuple):
    """A reading that may be filed."""

    measured: Measured
    patient: str  # Patient/ID
    device: str  # Device/ID
    when: Effective
    name: Name


async def look(asking: Asking, message: Message, zone: tzinfo, now: int, base: str = "") -> Known:
    """Return what there is to know now; `zone` is that of bare dates, `base` that of the hub's own references."""
    assigned = await find_assigned(asking, message.device, zone, base)
    gateway, devices = None, [] if isinstance(assigned, Reason) else [assigned.device]
    if message.gateway is not None:
        is_ours = message.gateway.system == REFERENCE and await asking.resource(message.gateway.value) is not None
        reference = message.gateway.value if is_ours else await find_device(asking, message.gateway)
        devices += [reference] if reference else []
        gateway = {"reference": reference} if reference else {"identifier": message.gateway._asdict()}
    session = await find_session(asking, message.session) if message.session else None
    awaited = tuple([device for device in devices if await is_awaited(asking, device, now)])
    patient = message.patient
    if patient is not None and patient.system == REFERENCE and await asking.resource(patient.value) is None:
        patient = None  # an id of the sender's own
    aside = [await quarantine.kept_since(asking, message.device, item.raw) for item in message.readings]
    return Known(assigned, gateway, session, awaited, tuple(aside), patient)
